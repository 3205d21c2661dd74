package predicate_test

import (
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"freshet/internal/command/predicate"
)

// header makes the values of a stored response's fields.
func header(fields ...string) func(string) iter.Seq[string] {
	return func(name string) iter.Seq[string] {
		return func(yield func(string) bool) {
			for f := range slices.Chunk(fields, 2) {
				if strings.EqualFold(f[0], name) && !yield(f[1]) {
					return
				}
			}
		}
	}
}

func TestMatches(t *testing.T) {
	page := predicate.Subject{
		Hosts: []string{"www.example.com", "*.img.example.com"}, Path: "/a/b/c.jpg",
		Values: header("Content-Type", "image/jpeg", "X-Tag", "one", "x-tag", "two"),
	}
	long := page
	long.Path = "/" + strings.Repeat("x", predicate.MaxSubject)
	long.Values = header("X-Tag", strings.Repeat("y", predicate.MaxSubject+1))
	unseen := page
	unseen.Values = nil
	for name, test := range map[string]struct {
		m    predicate.Match
		of   predicate.Subject
		want bool
	}{
		"host":                    {predicate.Match{Host: "www.example.com"}, page, true},
		"another host":            {predicate.Match{Host: "example.com"}, page, false},
		"glob over hosts":         {predicate.Match{Host: "*.example.com"}, page, true},
		"host of a wildcard":      {predicate.Match{Host: "cat.img.example.com"}, page, true},
		"glob against wildcard":   {predicate.Match{Host: "cat*.example.com"}, page, true},
		"glob beside wildcard":    {predicate.Match{Host: "cat*.example.org"}, page, false},
		"site of every host":      {predicate.Match{Host: "any.example"}, predicate.Subject{Hosts: []string{"*"}}, true},
		"path":                    {predicate.Match{Path: "/a/b/c.jpg"}, page, true},
		"a part of the path":      {predicate.Match{Path: "/a/b/"}, page, false},
		"glob over slashes":       {predicate.Match{Path: "/a*.jpg"}, page, true},
		"several stars":           {predicate.Match{Path: "*/b*.j*g"}, page, true},
		"stars do not overlap":    {predicate.Match{Path: "/a/b/c.jpg*.jpg"}, page, false},
		"expression, anywhere":    {predicate.Match{PathRE: `b/c\.`}, page, true},
		"expression, anchored":    {predicate.Match{PathRE: `^b/c\.`}, page, false},
		"glob and expression":     {predicate.Match{Path: "/a/*", PathRE: `png$`}, page, false},
		"field is there":          {predicate.Match{Headers: []predicate.Header{{Name: "content-type"}}}, page, true},
		"field is not there":      {predicate.Match{Headers: []predicate.Header{{Name: "etag"}}}, page, false},
		"value":                   {predicate.Match{Headers: []predicate.Header{{Name: "Content-Type", Value: "image/*"}}}, page, true},
		"second line of a field":  {predicate.Match{Headers: []predicate.Header{{Name: "X-Tag", ValueRE: "^two$"}}}, page, true},
		"both in one line":        {predicate.Match{Headers: []predicate.Header{{Name: "X-Tag", Value: "o*", ValueRE: "two"}}}, page, false},
		"all fields":              {predicate.Match{Headers: []predicate.Header{{Name: "X-Tag"}, {Name: "Etag"}}}, page, false},
		"everything together":     {predicate.Match{Host: "www.*", Path: "/a/*", PathRE: "jpg", Headers: []predicate.Header{{Name: "X-Tag", Value: "one"}}}, page, true},
		"long path":               {predicate.Match{Path: "/nothing"}, long, true},
		"long value":              {predicate.Match{Headers: []predicate.Header{{Name: "X-Tag", Value: "nothing"}}}, long, true},
		"header is not known":     {predicate.Match{Path: "/a/*", Headers: []predicate.Header{{Name: "Etag"}}}, unseen, true},
		"header unknown, no path": {predicate.Match{Path: "/b/*", Headers: []predicate.Header{{Name: "Etag"}}}, unseen, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := test.m.Compile()
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Matches(test.of); got != test.want {
				t.Errorf("%s: %t", &test.m, got)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, m := range map[string]predicate.Match{
		"nothing":              {},
		"upper case host":      {Host: "Example.com"},
		"long host":            {Host: strings.Repeat("x", 254)},
		"relative path":        {Path: "a"},
		"query":                {Path: "/a?b"},
		"long glob":            {Path: "/" + strings.Repeat("x", predicate.MaxPattern)},
		"control":              {Path: "/\n"},
		"not UTF-8":            {Path: "/\xff"},
		"no expression":        {PathRE: "("},
		"back reference":       {PathRE: `(a)\1`},
		"large repetition":     {PathRE: "(a{30}){40}"},
		"many repetitions":     {PathRE: strings.Repeat(".{999}", 100)},
		"nested repetitions":   {PathRE: "((a{9}){9}){12}"},
		"field without a name": {Headers: []predicate.Header{{Value: "a"}}},
		"bad name":             {Headers: []predicate.Header{{Name: "a b"}}},
		"long name":            {Headers: []predicate.Header{{Name: strings.Repeat("x", 65)}}},
		"bad value":            {Headers: []predicate.Header{{Name: "a", Value: "\x00"}}},
		"bad value_re":         {Headers: []predicate.Header{{Name: "a", ValueRE: "["}}},
		"too many fields":      {Headers: make([]predicate.Header, predicate.MaxHeaders+1)},
	} {
		t.Run(name, func(t *testing.T) {
			if err := m.Validate(); !errors.Is(err, predicate.ErrInvalid) {
				t.Errorf("%v", err)
			}
		})
	}
}

// FuzzGlob holds globs against the regular expressions that they stand for.
func FuzzGlob(f *testing.F) {
	f.Add("/a*b*", "/aab")
	f.Add("*", "")
	f.Add("/a*a", "/a")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		m, err := (&predicate.Match{Path: pattern}).Compile()
		if err != nil || len(path) > predicate.MaxSubject {
			return
		}
		want := regexp.MustCompile(`\A(?s:` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `)\z`)
		if got := m.Matches(predicate.Subject{Path: path}); pattern != "" && got != want.MatchString(path) {
			t.Fatalf("%q of %q: %t", pattern, path, got)
		}
	})
}

// FuzzCompile: whatever is asked for is refused, or works, comes back from a record as it
// was, and covers what it cannot look at.
func FuzzCompile(f *testing.F) {
	f.Add("*.example.com", "/a*", `\.(jpe?g|png)$`, "Content-Type", "image/*", "x{3,9}", "/a/b.jpg")
	f.Add("", "", `((a{9}){9}){12}`, "", "", "", "")
	f.Add("", "*", `[\pL-[x]]{100}`, "a", "", `(?i)(((((x))))){5}`, "/")
	f.Fuzz(func(t *testing.T, host, path, pathRE, name, value, valueRE, target string) {
		m := predicate.Match{Host: host, Path: path, PathRE: pathRE}
		if name != "" {
			m.Headers = []predicate.Header{{Name: name, Value: value, ValueRE: valueRE}}
		}
		c, err := m.Compile()
		if err != nil {
			if !errors.Is(err, predicate.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		_ = m.String()
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var again predicate.Match
		if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
		s := predicate.Subject{Hosts: []string{host}, Path: target, Values: header(name, value)}
		got := c.Matches(s)
		if len(m.Headers) == 0 && got != c.Matches(predicate.Subject{Hosts: []string{host}, Path: target}) {
			t.Fatal("the header counts where none is asked for")
		}
		s.Values = nil
		if got && !c.Matches(s) {
			t.Fatal("it covers less where less is known")
		}
	})
}
