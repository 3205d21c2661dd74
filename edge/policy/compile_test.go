package policy

import (
	"os"
	"strings"
	"testing"

	"freshet/internal/header"
	"freshet/internal/site"
)

func TestCompileNamesTheRule(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		rule site.Rule
		want string
	}{
		{"path", site.Rule{Match: site.Match{Path: site.PathMatch{Regex: "("}}}, "site s: rules[0]: is no regular expression"},
		{"name", site.Rule{Name: "x", Match: site.Match{Path: site.PathMatch{Regex: "("}}}, "site s: x: is no regular expression"},
		{"redirect", site.Rule{Redirect: &site.Redirect{To: "$"}}, "site s: rules[0]: has a $"},
		{"rewrite", site.Rule{Rewrite: &site.Rewrite{To: "$"}}, "site s: rules[0]: has a $"},
		{"rewrite's expression", site.Rule{Rewrite: &site.Rewrite{To: "/", Regex: "("}}, "site s: rules[0]: is no regular expression"},
	}
	for _, tt := range tests {
		s, err := Compile(&site.Document{Site: "s", Hosts: []string{"s"}, Rules: []site.Rule{tt.rule}})
		if s != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s …", tt.name, err, tt.want)
		}
	}
}

// FuzzCompile: what passes as a document compiles, and decides.
func FuzzCompile(f *testing.F) {
	example, err := os.ReadFile("../../deploy/examples/site.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example, "/api/x?b&a")
	f.Add([]byte("site: s\n"+fullText), "/a/old/b")
	f.Add([]byte("site: s\nhosts: ['*']\nrules: [{match: {path: {glob: '**?'}}, redirect: {to: '${path}$1'}}]"), "//x")
	f.Fuzz(func(t *testing.T, text []byte, target string) {
		doc, err := site.Parse("f", text)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		s, err := Compile(doc)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		req := get(t, target, "Origin: https://a.example", "Cookie: a=b")
		d := s.Decide(req, false)
		if d.Refuse != "" {
			return
		}
		keys, err := site.CompileKeys(doc)
		if err != nil {
			t.Fatal(err)
		}
		if want := keys.Target(target); d.Target != want {
			t.Fatalf("stored under %q, purged as %q", d.Target, want)
		}
		if strings.HasPrefix(d.Redirect.Location, "//") || strings.ContainsAny(d.Redirect.Location, "\r\n ") {
			t.Fatalf("redirects to %q", d.Redirect.Location)
		}
		h := d.FillHeader(req)
		if err := d.EditForOrigin(h, false); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ClientHeader(h, new(header.Draft)); err != nil {
			t.Fatal(err)
		}
	})
}
