package site

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"freshet/internal/wildcard"
)

func mustPath(t testing.TB, m PathMatch) *Path {
	t.Helper()
	p, err := CompilePath(m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPath(t *testing.T) {
	t.Parallel()
	tests := []struct {
		match PathMatch
		path  string
		want  []string // captures; nil: no match
	}{
		{PathMatch{}, "/any", []string{}},
		{PathMatch{Prefix: "/img/"}, "/img/a/b.png", []string{"a/b.png"}},
		{PathMatch{Prefix: "/img/"}, "/img/", []string{""}},
		{PathMatch{Prefix: "/img/"}, "/img", nil},
		{PathMatch{Prefix: "/img/"}, "/IMG/", nil},
		{PathMatch{Prefix: "/img/"}, "/%69mg/", nil},
		{PathMatch{Glob: "/img/*.jpg"}, "/img/a.jpg", []string{"a"}},
		{PathMatch{Glob: "/img/*.jpg"}, "/img/.jpg", []string{""}},
		{PathMatch{Glob: "/img/*.jpg"}, "/img/a/b.jpg", nil},
		{PathMatch{Glob: "/img/*.jpg"}, "/img/a.jpg.jpg", []string{"a.jpg"}},
		{PathMatch{Glob: "/img/*.jpg"}, "/img/a.jpgx", nil},
		{PathMatch{Glob: "**.css"}, "/a/b/c.css", []string{"/a/b/c"}},
		{PathMatch{Glob: "/**/x/*"}, "/a/b/x/c", []string{"a/b", "c"}},
		{PathMatch{Glob: "/**/x/*"}, "/x/c", nil},
		{PathMatch{Glob: "/**/x/*"}, "/a/x/b/x/c", []string{"a/x/b", "c"}},
		{PathMatch{Glob: "/v?/*"}, "/v1/a", []string{"1", "a"}},
		{PathMatch{Glob: "/v?/*"}, "/v//a", nil},
		{PathMatch{Glob: "/a"}, "/a", []string{}},
		{PathMatch{Glob: "/a.c"}, "/abc", nil},
		{PathMatch{Glob: "/*"}, "/\xff\xfe", []string{"\xff\xfe"}},
		{PathMatch{Regex: "^/v([0-9]+)/(.*)$"}, "/v12/a/b", []string{"12", "a/b"}},
		{PathMatch{Regex: "/x/"}, "/a/x/b", []string{}},
		{PathMatch{Regex: "^/a$"}, "/a\n", nil},
		{PathMatch{Regex: "(a)?b"}, "/b", []string{""}},
	}
	for _, tt := range tests {
		p := mustPath(t, tt.match)
		got := p.Captures(tt.path)
		if !slices.Equal(got, tt.want) || (got == nil) != (tt.want == nil) || p.Match(tt.path) != (tt.want != nil) {
			t.Errorf("%+v of %q: captures %q, match %v, want %q", tt.match, tt.path, got, p.Match(tt.path), tt.want)
		}
		if tt.want != nil && p.Groups() != len(tt.want) {
			t.Errorf("%+v has %d groups, want %d", tt.match, p.Groups(), len(tt.want))
		}
	}
}

func TestPathBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", MaxPattern+1)
	tests := []struct {
		name  string
		match PathMatch
		want  error
	}{
		{"prefix", PathMatch{Prefix: long}, errTooLong},
		{"glob", PathMatch{Glob: long}, errTooLong},
		{"regex", PathMatch{Regex: long}, errTooLong},
		{"program", PathMatch{Regex: "(x{500}){2}"}, errTooMuch},
		{"many repetitions", PathMatch{Regex: strings.Repeat("x{900}", 2)}, errTooMuch},
	}
	for _, tt := range tests {
		if _, err := CompilePath(tt.match); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, text := range []string{"(", `\1`, "(?=a)", "a**", "[z-a]", "x{2000}", "(x{1000}){1000}"} {
		if _, err := CompilePath(PathMatch{Regex: text}); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	for _, m := range []PathMatch{{Prefix: "/a/"}, {Glob: "/**/x/*.jpg"}, {Regex: "^/a/.*[.]jpg$"}} {
		if raceEnabled && m.Regex != "" {
			continue // package regexp keeps its machines in a pool
		}
		p := mustPath(t, m)
		if n := testing.AllocsPerRun(100, func() { p.Match("/a/b/x/c.jpg") }); n != 0 {
			t.Errorf("%+v: %v allocations", m, n)
		}
	}
}

// FuzzGlob: the matcher agrees with the regular expression of the same glob.
func FuzzGlob(f *testing.F) {
	f.Add("/**/x/*.jp?", "/a/x/b/x/c.jpg")
	f.Add("*a*/b", "xaxa/b")
	f.Add("**a*b**c", "/b/a/b/c/c")
	f.Add("***", "/")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		g, err := CompileGlob(pattern)
		if err != nil {
			return
		}
		if want := g.expr.MatchString(s); isASCII(s) && g.Match(s) != want {
			t.Fatalf("glob %q of %q: Match says %v, the expression %v", pattern, s, !want, want)
		}
	})
}

// FuzzWildcard: the matcher agrees with the glob for texts without slashes.
func FuzzWildcard(f *testing.F) {
	f.Add("a*b*c", "a-b-c")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if strings.ContainsAny(pattern+s, "/?") {
			return
		}
		g, err := CompileGlob(pattern)
		if err == nil && g.Match(s) != wildcard.Match(pattern, s) {
			t.Fatalf("wildcard %q of %q: %v", pattern, s, wildcard.Match(pattern, s))
		}
	})
}

// FuzzRegex: whatever text is an expression, its size is bounded, and Match and
// Captures agree.
func FuzzRegex(f *testing.F) {
	f.Add("^/(a|b)*c{1,30}$", "/abc")
	f.Fuzz(func(t *testing.T, text, path string) {
		p, err := CompilePath(PathMatch{Regex: text})
		if err != nil || text == "" {
			return
		}
		captures := p.Captures(path)
		if p.Match(path) != (captures != nil) || captures != nil && len(captures) != p.Groups() {
			t.Fatalf("%q of %q: match %v, captures %q of %d", text, path, p.Match(path), captures, p.Groups())
		}
	})
}

func BenchmarkPath(b *testing.B) {
	for _, m := range []PathMatch{{Prefix: "/static/"}, {Glob: "/**/*.jpg"}, {Regex: `^/v[0-9]+/.*\.jpg$`}} {
		p := mustPath(b, m)
		b.Run(m.Prefix+m.Glob+m.Regex, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Match("/products/2024/summer/shoe-12345.webp")
			}
		})
	}
}
