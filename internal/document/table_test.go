package document

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// open is a document with tables and with fields that may be absent.
type open struct {
	Words map[string]string `yaml:"words,omitempty" doc:"Words."`
	Waits map[int]Duration  `yaml:"waits,omitempty" min:"1s" max:"1h" doc:"Waits."`
	On    *bool             `yaml:"on,omitempty" doc:"Whether."`
	Wait  *Duration         `yaml:"wait,omitempty" min:"1s" doc:"How long."`
	Inner *inner            `yaml:"inner,omitempty" doc:"More."`
}

func TestDecodeTablesAndPointers(t *testing.T) {
	t.Parallel()
	yes, no, wait := true, false, Duration(time.Minute)
	tests := []struct {
		name, text string
		want       open
	}{
		{"nothing", "words:", open{}},
		{"tables", "words: {a: x, B-c: '', \"1\": y}\nwaits: {404: 10s, 200: 1m}", open{
			Words: map[string]string{"a": "x", "B-c": "", "1": "y"},
			Waits: map[int]Duration{404: Duration(10 * time.Second), 200: Duration(time.Minute)},
		}},
		{"empty tables", "words: {}", open{Words: map[string]string{}}},
		{"pointers", "on: true\nwait: 1m\ninner: {id: x}", open{On: &yes, Wait: &wait, Inner: &inner{ID: "x", Wait: Duration(3 * time.Second)}}},
		{"false is not absent", "on: false", open{On: &no}},
		{"null is absent", "on:\nwait: ~\ninner:", open{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got open
			if err := Decode("f", []byte(tt.text), &got, Options{}).Err(); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			text, err := Encode(got)
			if err != nil {
				t.Fatal(err)
			}
			var again open
			if string(text) != "{}\n" {
				if err := Decode("f", text, &again, Options{}).Err(); err != nil {
					t.Fatalf("%v in\n%s", err, text)
				}
			}
			if len(got.Words) > 0 && !reflect.DeepEqual(got, again) {
				t.Errorf("written and read back: %+v, want %+v", again, got)
			}
		})
	}
}

func TestMistakesInTablesAndPointers(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"list", "words: [a]", "f:1:1: words: want a mapping, not a list"},
		{"scalar", "words: a", `f:1:8: words: want a mapping, not the string "a"`},
		{"number", "words: {a: 1}", `f:1:9: words.a: want a string, not the number 1 (in quotes: "1")`},
		{"nothing", "words: {a: }", "f:1:9: words.a: must not be empty"},
		{"twice", "words: {a: x, a: y}", "f:1:15: words.a: is given twice"},
		{"twice as numbers", "waits: {1: 1s, 01: 1s}", "f:1:16: waits.01: is given twice"},
		{"key", "waits: {a: 1s}", `f:1:9: waits.a: "a" is not a whole number`},
		{"key of many parts", "words: {[a]: x}", "f:1:9: words: the key must be plain text, not a list"},
		{"bounds", "waits: {1: 2h}", `f:1:9: waits.1: "2h" must be at most 1h`},
		{"bounds behind a pointer", "wait: 1ms", `f:1:7: wait: "1ms" must be at least 1s`},
		{"type behind a pointer", "on: yes", `f:1:5: on: want true or false, not the string "yes"`},
		{"section behind a pointer", "inner: {}", "f:1:1: inner.id: is missing: Its id."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := Decode("f", []byte(tt.text), new(open), Options{}).Err()
			if err == nil || err.Error() != tt.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, tt.want)
			}
		})
	}
}

func TestSchemaOfTablesAndPointers(t *testing.T) {
	t.Parallel()
	text, err := Schema(open{}, SchemaConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var root struct{ Properties map[string]json.RawMessage }
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"words": `{"description":"Words.","type":"object","additionalProperties":{"type":"string"},"propertyNames":{"type":"string","minLength":1}}`,
		"waits": `{"description":"Waits.","type":"object","additionalProperties":{"$ref":"#/$defs/duration"},"propertyNames":{"pattern":"^[0-9]+$"}}`,
		"on":    `{"description":"Whether.","type":"boolean"}`,
		"wait":  `{"$ref":"#/$defs/duration","description":"How long. At least 1s."}`,
	} {
		var got strings.Builder
		for _, line := range strings.Split(string(root.Properties[name]), "\n") {
			got.WriteString(strings.TrimSpace(line))
		}
		if s := strings.ReplaceAll(got.String(), `": `, `":`); s != want {
			t.Errorf("%s is %s, want %s", name, s, want)
		}
	}
}
