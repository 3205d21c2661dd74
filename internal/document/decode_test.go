package document

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type level string

// sample has a field of every kind.
type sample struct {
	Name  string   `yaml:"name" required:"true" doc:"Who it is."`
	Level level    `yaml:"level,omitempty" enum:"low,medium,high" default:"low" doc:"How much."`
	Count int      `yaml:"count" default:"2" min:"1" max:"8" doc:"How many."`
	On    bool     `yaml:"on" doc:"Whether."`
	Wait  Duration `yaml:"wait" default:"10s" min:"1s" max:"1h" doc:"How long."`
	Room  Size     `yaml:"room" default:"1MiB" min:"1KiB" doc:"How large."`
	Hosts []string `yaml:"hosts" doc:"Which."`
	Key   Secret   `yaml:"key" doc:"What nobody may know."`
	Inner inner    `yaml:"inner" doc:"More."`
	Items []inner  `yaml:"items" doc:"Even more."`
	Other string   `yaml:"-"`
}

type inner struct {
	ID   string   `yaml:"id" required:"true" doc:"Its id."`
	Wait Duration `yaml:"wait" default:"3s" doc:"How long."`
}

func environment(vars map[string]string) Options {
	return Options{Env: func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"key": "from file\r\n", "two": "a\n\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	defaults := sample{Name: "x", Level: "low", Count: 2, Wait: Duration(10 * time.Second), Room: 1 << 20, Inner: inner{Wait: Duration(3 * time.Second)}}
	with := func(change func(*sample)) sample {
		s := defaults
		change(&s)
		return s
	}
	env := environment(map[string]string{"NAME": "from env", "N": "4", "EMPTY": "", "YAML": "a: [b"})
	tests := []struct {
		name string
		text string
		opts Options
		want sample
	}{
		{"defaults", "name: x", env, defaults},
		{"JSON", `{"name": "x", "count": 3}`, env, with(func(s *sample) { s.Count = 3 })},
		{"keys without a value", "name: x\ncount:\nwait: ~\nhosts: null\ninner:\nkey:\n", env, defaults},
		{"every kind", "name: y\nlevel: high\ncount: 8\non: true\nwait: 1m\nroom: 2KiB\nhosts: [a, 'b']\ninner:\n  id: i\n  wait: 5s\n", env,
			with(func(s *sample) {
				*s = sample{Name: "y", Level: "high", Count: 8, On: true, Wait: Duration(time.Minute), Room: 2048, Hosts: []string{"a", "b"}, Inner: inner{"i", Duration(5 * time.Second)}}
			})},
		{"defaults within a list", "name: x\nitems:\n- id: a\n- {id: b, wait: 1s}\n", env,
			with(func(s *sample) { s.Items = []inner{{"a", Duration(3 * time.Second)}, {"b", Duration(time.Second)}} })},
		{"bytes without a unit", "name: x\nroom: 4096\n", env, with(func(s *sample) { s.Room = 4096 })},
		{"variable in a string", "name: a ${NAME} b", env, with(func(s *sample) { s.Name = "a from env b" })},
		{"variable in a number", "name: x\ncount: ${N}", env, with(func(s *sample) { s.Count = 4 })},
		{"variable in a quoted number", "name: x\ncount: '${N}'", env, with(func(s *sample) { s.Count = 4 })},
		{"variable in a list", "name: x\nhosts: ['${NAME}', '${N}']", env, with(func(s *sample) { s.Hosts = []string{"from env", "4"} })},
		{"default of a variable", "name: ${NONE:-x}", env, defaults},
		{"default of an empty variable", "name: ${EMPTY:-x}", env, defaults},
		{"empty default", "name: x${NONE:-}", env, defaults},
		{"escaped", "name: $${NAME} $NAME $5", env, with(func(s *sample) { s.Name = "${NAME} $NAME $5" })},
		{"a variable's value is no YAML", "name: ${YAML}", env, with(func(s *sample) { s.Name = "a: [b" })},
		{"no environment", "name: ${NAME} $${x", Options{}, with(func(s *sample) { s.Name = "${NAME} $${x" })},
		{"secret from a file", "name: x\nkey: {file: key}", env,
			with(func(s *sample) { s.Key = Secret{"from file", "file", filepath.Join(dir, "key")} })},
		{"only one newline is dropped", "name: x\nkey: {file: " + dir + "/two}", env,
			with(func(s *sample) { s.Key = Secret{"a\n", "file", filepath.Join(dir, "two")} })},
		{"secret from the environment", "name: x\nkey:\n  env: NAME", env, with(func(s *sample) { s.Key = Secret{"from env", "env", "NAME"} })},
		{"secret in the clear", "name: x\nkey: {value: 12}", Options{}, with(func(s *sample) { s.Key = NewSecret("12") })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got sample
			report := Decode(filepath.Join(dir, "doc.yaml"), []byte(tt.text), &got, tt.opts)
			if err := report.Err(); err != nil {
				t.Fatalf("Decode: %v", err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %#v\nwant %#v", got, tt.want)
			}
		})
	}
}

func TestDecodeMistakes(t *testing.T) {
	t.Parallel()
	env := environment(map[string]string{"WORD": "many", "EMPTY": ""})
	tests := []struct {
		name string
		text string
		opts Options
		want []string // without the file
	}{
		{"empty", "", env, []string{": the document is empty"}},
		{"only a comment", "# nothing\n", env, []string{": the document is empty"}},
		{"null", "---\n", env, []string{": the document is empty"}},
		{"no mapping", "- a\n- b\n", env, []string{":1:1: the document must be a mapping of fields, not a list"}},
		{"two documents", "name: x\n---\nname: y\n", env, []string{":3:1: a second YAML document begins here; there may be only one in a file"}},
		{"too large", "name: " + strings.Repeat("x", MaxText), env, []string{": the document is larger than 1048576 bytes"}},
		{"missing", "count: 3\n", env, []string{":1:1: name: is missing: Who it is."}},
		{"missing in a section", "name: x\ninner:\n  wait: 1s\n", env, []string{":2:1: inner.id: is missing: Its id."}},
		{"missing in a list", "name: x\nitems:\n  - wait: 1s\n", env, []string{":3:5: items[0].id: is missing: Its id."}},
		{"required but null", "name:\n", env, []string{":1:1: name: must not be empty"}},
		{"required but empty", "name: ''\n", env, []string{":1:7: name: must not be empty"}},
		{"required but empty variable", "name: ${EMPTY}\n", env, []string{":1:7: name: must not be empty"}},
		{"unknown", "name: x\ncuont: 3\n", env, []string{`:2:1: cuont: there is no such field (did you mean "count"?)`}},
		{"unknown by its case", "name: x\nCount: 3\n", env, []string{`:2:1: Count: there is no such field (did you mean "count"?)`}},
		{"unknown without a neighbour", "name: x\ninner: {id: i, zebra: 3}\n", env, []string{":2:16: inner.zebra: there is no such field (known here: id, wait)"}},
		{"unknown but known elsewhere", "name: x\nid: i\ninner:\n  id: i\n  hosts: []\n", env, []string{
			`:2:1: id: there is no such field (did you mean "inner.id" or "items[].id"?)`,
			`:5:3: inner.hosts: there is no such field (did you mean "hosts"?)`}},
		{"unprintable", "name: x\n\"a\\nb\\e\": 1\nlevel: \"\\L\"\n", env, []string{
			`:2:1: a\nb\x1b: there is no such field (known here: name, level, count, on, wait, room, hosts, key, inner, items)`,
			`:3:8: level: "\u2028" is not allowed (known here: low, medium, high)`}},
		{"twice", "name: x\ncount: 3\nname: y\n", env, []string{":3:1: name: is given twice, first in line 1"}},
		{"unknown twice", "name: x\nzz: 1\nzz: 2\n", env, []string{
			":2:1: zz: there is no such field (known here: name, level, count, on, wait, room, hosts, key, inner, items)",
			":3:1: zz: is given twice, first in line 2"}},
		{"key that is no text", "name: x\n? [a]\n: b\n", env, []string{":2:3: the name of a field must be plain text, not a list"}},
		{"merge key", "name: x\ninner: {<<: {id: i}, id: j}\n", env, []string{":2:9: inner.<<: there is no such field (known here: id, wait)"}},
		{"number for a string", "name: 12\n", env, []string{`:1:7: name: want a string, not the number 12 (in quotes: "12")`}},
		{"bool for a string", "name: true\n", env, []string{`:1:7: name: want a string, not true (in quotes: "true")`}},
		{"string for a number", "name: x\ncount: many\n", env, []string{`:2:8: count: want a whole number, not the string "many"`}},
		{"quoted number", "name: x\ncount: '3'\n", env, []string{`:2:8: count: want a whole number, not the string "3"`}},
		{"fraction", "name: x\ncount: 1.5\n", env, []string{":2:8: count: want a whole number, not the number 1.5"}},
		{"hexadecimal", "name: x\ncount: 0x3\n", env, []string{`:2:8: count: "0x3" is not a whole number`}},
		{"large number", "name: x\ncount: 18446744073709551615\n", env, []string{`:2:8: count: "18446744073709551615" is too large`}},
		{"word for a bool", "name: x\non: yes\n", env, []string{`:2:5: on: want true or false, not the string "yes"`}},
		{"list for a string", "name: [x]\n", env, []string{":1:1: name: want a string, not a list"}},
		{"string for a list", "name: x\nhosts: a\n", env, []string{`:2:8: hosts: want a list, not the string "a" (in brackets: ["a"])`}},
		{"mapping for a list", "name: x\nhosts: {a: b}\n", env, []string{":2:1: hosts: want a list, not a mapping"}},
		{"empty item", "name: x\nhosts:\n- a\n-\n", env, []string{":4:2: hosts[1]: must not be empty"}},
		{"string for a section", "name: x\ninner: a\n", env, []string{`:2:8: inner: want a mapping of fields, not the string "a"`}},
		{"string for an item", "name: x\nitems: [a]\n", env, []string{`:2:9: items[0]: want a mapping of fields, not the string "a"`}},
		{"enum", "name: x\nlevel: hihg\n", env, []string{`:2:8: level: "hihg" is not allowed (did you mean "high"?)`}},
		{"enum without a neighbour", "name: x\nlevel: extreme\n", env, []string{`:2:8: level: "extreme" is not allowed (known here: low, medium, high)`}},
		{"below the bound", "name: x\ncount: 0\n", env, []string{`:2:8: count: "0" must be at least 1`}},
		{"above the bound", "name: x\ncount: 9\n", env, []string{`:2:8: count: "9" must be at most 8`}},
		{"too short", "name: x\nwait: 10ms\n", env, []string{`:2:7: wait: "10ms" must be at least 1s`}},
		{"too long", "name: x\nwait: 2d\n", env, []string{`:2:7: wait: "2d" must be at most 1h`}},
		{"too small", "name: x\nroom: 5\n", env, []string{`:2:7: room: "5" must be at least 1KiB`}},
		{"bad duration", "name: x\nwait: 10\n", env, []string{`:2:7: wait: "10" is not a duration such as "10s", "5m", "1h30m" or "7d"`}},
		{"bad size", "name: x\nroom: 10 apples\n", env, []string{`:2:7: room: "10 apples" is not a size such as "512", "64KiB", "256MiB" or "1.5GB"`}},
		{"alias", "name: &a x\nhosts: [*a]\n", env, []string{":2:9: hosts[0]: aliases are not supported: write the value itself"}},
		{"tag", "name: !!binary aGk=\n", env, []string{":1:7: name: tags such as !!binary are not supported"}},
		{"variable not set", "name: x ${NONE}\n", env, []string{":1:7: name: the environment variable NONE is not set"}},
		{"variable of the wrong type", "name: x\ncount: ${WORD}\n", env, []string{`:2:8: count: "many" is not a whole number`}},
		{"unclosed variable", "name: ${WORD\n", env, []string{`:1:7: name: what follows ${ is no variable: write ${NAME} or ${NAME:-default}, and $${ for ${ itself`}},
		{"variable without a name", "name: ${}\n", env, []string{`:1:7: name: what follows ${ is no variable: write ${NAME} or ${NAME:-default}, and $${ for ${ itself`}},
		{"secret as a string", "name: x\nkey: hunter2\n", env, []string{":2:6: key: want a mapping with one of file, env and value (such as {file: secrets/token})"}},
		{"secret given in two ways", "name: x\nkey: {env: WORD, value: y}\n", env, []string{":2:1: key: want a mapping with one of file, env and value (such as {file: secrets/token})"}},
		{"secret from elsewhere", "name: x\nkey: {flie: y}\n", env, []string{`:2:7: key: want a mapping with one of file, env and value (did you mean "file"?)`}},
		{"secret of no string", "name: x\nkey: {value: [y]}\n", env, []string{":2:14: key.value: want a string"}},
		{"secret by alias", "name: &a x\nkey: {value: *a}\n", env, []string{":2:14: key.value: want a string"}},
		{"secret that is empty", "name: x\nkey: {env: EMPTY}\n", env, []string{":2:12: key.env: the secret is empty"}},
		{"secret's variable not set", "name: x\nkey: {env: NONE}\n", env, []string{":2:12: key.env: the environment variable NONE is not set"}},
		{"secret's file missing", "name: x\nkey: {file: none}\n", env, []string{":2:13: key.file: cannot read dir/none: no such file or directory"}},
		{"secret's file may not be read", "name: x\nkey: {file: none}\n", Options{}, []string{":2:13: key.file: this document may not read files or the environment"}},
		{"secret's variable may not be read", "name: x\nkey: {env: WORD}\n", Options{}, []string{":2:12: key.env: this document may not read files or the environment"}},
		{"all at once", "count: 99\nlevel: none\ninner:\n  wiat: 1s\nwait: long\n", env, []string{
			":1:1: name: is missing: Who it is.",
			`:1:8: count: "99" must be at most 8`,
			`:2:8: level: "none" is not allowed (known here: low, medium, high)`,
			":3:1: inner.id: is missing: Its id.",
			`:4:3: inner.wiat: there is no such field (did you mean "wait"?)`,
			`:5:7: wait: "long" is not a duration such as "10s", "5m", "1h30m" or "7d"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := Decode("dir/f", []byte(tt.text), new(sample), tt.opts).Err()
			mistakes, ok := err.(Errors)
			if !ok {
				t.Fatalf("Decode: %v, want Errors", err)
			}
			var got []string
			for _, m := range mistakes {
				got = append(got, strings.TrimPrefix(m.Error(), "dir/f"))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("mistakes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestDecodeSyntaxMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text   string
		line, column int
		want         string
	}{
		{"tab", "name: x\ninner:\n\tid: y\n", 3, 2, "found character that cannot start any token"},
		{"colon within a value", "name: x\nlevel: a: b\n", 2, 1, "mapping values are not allowed in this context"},
		{"no colon", "name: x\nlevel\ncount: 3\n", 2, 1, "could not find expected ':'"},
		{"open bracket", "name: x\nhosts: [a, b\ncount: 3\n", 2, 1, "did not find expected ',' or ']'"},
		{"open quote", "name: x\nlevel: \"low\ncount: 3\n", 2, 1, "found unexpected end of stream"},
		{"quote within quotes", "name: x\nlevel: 'it's'\n", 2, 1, "did not find expected key"},
		{"indented too little", "inner:\n  id: a\n  wait: 1s\n on: true\n", 4, 2, "did not find expected key"},
		{"item among fields", "name: x\ncount: 3\n- a\n", 3, 1, "did not find expected key"},
		{"item indented otherwise", "name: x\nitems:\n  - id: a\n    wait: 1s\n   - id: b\n", 5, 4, "did not find expected '-' indicator"},
		{"unknown anchor", "name: x\nlevel: *y\n", 2, 1, "unknown anchor 'y' referenced"},
		{"control character", "name: x\nlevel: \x01\n", 2, 1, "control characters are not allowed"},
		{"no UTF-8", "name: x\nlevel: \xff\n", 2, 1, "invalid leading UTF-8 octet"},
		{"in a second document", "name: x\n---\na: b: c\n", 3, 1, "mapping values are not allowed in this context"},
		{"too deep", "name: x\nhosts: " + strings.Repeat("[", 20000), 2, 1, "exceeded max depth of 10000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mistakes, _ := Decode("f", []byte(tt.text), new(sample), Options{}).Err().(Errors)
			if len(mistakes) != 1 {
				t.Fatalf("mistakes: %v, want one", mistakes)
			}
			m := mistakes[0]
			if m.Line != tt.line || m.Column != tt.column || m.Message != "this is not valid YAML: "+tt.want {
				t.Errorf("got %v\nwant %d:%d: %s", m, tt.line, tt.column, tt.want)
			}
			if hasHint := m.Hint != ""; hasHint != (tt.name == "tab") {
				t.Errorf("hint %q", m.Hint)
			}
		})
	}
}

func TestMistakesAreBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("name: x\n")
	for i := range 5000 {
		fmt.Fprintf(&text, "unknown%d: 1\n", i)
	}
	mistakes, _ := Decode("f", []byte(text.String()), new(sample), Options{}).Err().(Errors)
	if len(mistakes) != MaxMistakes+1 || mistakes[MaxMistakes].Message != "and 4900 more" {
		t.Errorf("%d mistakes, the last is %v", len(mistakes), mistakes[len(mistakes)-1])
	}
	long := strings.Repeat("ä", 10_000)
	err := Decode("f", []byte("name: x\nlevel: "+long+"\nx"+long+": y\n"), new(sample), Options{}).Err()
	r := Decode("f", []byte("name: x\n"), new(sample), Options{})
	r.Mistake("name", "%q", long)
	if len(err.Error()) > 1000 || len(r.Err().Error()) > 1000 {
		t.Errorf("a mistake repeats %d bytes of the document", len(err.Error()))
	}
}

func TestSecretsStayOutOfMistakes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"name: x\nkey: hunter2", "name: x\nkey: {value: [hunter2]}", "name: x\nkey: [hunter2]",
		"name: x\nkey: {value: hunter2, env: hunter2}", "name: x\nkey: {value: '${hunter2'}",
	} {
		err := Decode("f", []byte(text), new(sample), environment(nil)).Err()
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	text := "name: x\nhosts:\n  - a\n  - b\ninner:\n  id: i\ncount: many\n"
	r := Decode("f", []byte(text), new(sample), Options{})
	if !r.Has("inner.id") || !r.Has("hosts[1]") || r.Has("inner.wait") || r.Has("room") {
		t.Error("Has is wrong about what the document gives")
	}
	if r.Valid("count") || !r.Valid("name") || !r.Valid("room") {
		t.Error("Valid is wrong about what has a mistake")
	}
	r.Mistake("count", "dropped: %d", 1)
	r.Mistake("hosts[1]", "is %s", "taken")
	r.MistakeHint("inner.wait", "try 1s", "not given")
	r.Mistake("nowhere.at.all", "missing")
	r.Mistake("inner.id", "once")
	r.Mistake("inner.id", "twice")
	want := strings.Join([]string{
		"f:1:1: nowhere.at.all: missing",
		"f:4:5: hosts[1]: is taken",
		"f:5:1: inner.wait: not given (try 1s)",
		"f:6:7: inner.id: once",
		`f:7:8: count: want a whole number, not the string "many"`,
	}, "\n")
	if got := r.Err().Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestTopLevel(t *testing.T) {
	t.Parallel()
	keys, err := TopLevel("f", []byte("b: 1\na: [x]\nb: 2\n"))
	if err != nil || !slices.Equal(keys, []string{"b", "a", "b"}) {
		t.Errorf("got %v, %v", keys, err)
	}
	for _, text := range []string{"", "- a\n", "a: b: c\n"} {
		if _, err := TopLevel("f", []byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	many := strings.Fields(strings.Repeat("known ", 21))
	tests := []struct {
		word  string
		known []string
		want  string
	}{
		{"listne", []string{"listen", "admin"}, `did you mean "listen"?`},
		{"Region", []string{"region"}, `did you mean "region"?`},
		{"x", []string{"pop", "name"}, "known here: pop, name"},
		{"", []string{"pop"}, "known here: pop"},
		{"zzzzz", many, ""},
		{"zzzzz", nil, ""},
		{strings.Repeat("x", 1000), []string{"x"}, "known here: x"},
	}
	for _, tt := range tests {
		if got := suggest(tt.word, tt.known); got != tt.want {
			t.Errorf("suggest(%.10q, %v) = %q, want %q", tt.word, tt.known, got, tt.want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}} {
		if got := editDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: x\nlevel: high\ncount: ${N:-3}\nhosts: [a, '*']\nkey: {value: y}\nitems: [{id: a}]\n"), true)
	f.Add([]byte("a: &a [*a, *a]\n<<: *a\n? [x]\n: y\n"), false)
	f.Add([]byte("name: ${\n---\n%YAML 1.1\n!!str : |\n\t"), true)
	f.Add([]byte("name: !!float x\nwait: 9999999999d\nroom: 99999999999TiB\non: ~"), false)
	f.Fuzz(func(t *testing.T, text []byte, variables bool) {
		opts := Options{}
		if variables {
			opts.Env = func(name string) (string, bool) { return name, len(name)%2 == 0 }
		}
		var into sample
		// A secret's file would be one that the fuzzer names.
		if strings.Contains(string(text), "file") {
			return
		}
		err := Decode("f", text, &into, opts).Err()
		if mistakes, ok := err.(Errors); err != nil && (!ok || len(mistakes) == 0 || len(mistakes) > MaxMistakes+1) {
			t.Fatalf("not Errors: %v", err)
		}
		if err == nil && (into.Name == "" || into.Count < 1 || into.Wait < Duration(time.Second)) {
			t.Fatalf("%q passes with %+v", text, into)
		}
		_, _ = TopLevel("f", text)
	})
}
