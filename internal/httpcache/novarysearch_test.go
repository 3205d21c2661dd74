package httpcache

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNoVarySearchField(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  NoVarySearch
	}{
		{"key-order", NoVarySearch{Set: true, AnyOrder: true}},
		{"key-order=?1", NoVarySearch{Set: true, AnyOrder: true}},
		{`params=("a")`, NoVarySearch{Set: true, Params: []string{"a"}}},
		{`params=("b" "a" "b"), key-order`, NoVarySearch{Set: true, AnyOrder: true, Params: []string{"a", "b"}}},
		{`except=("x")`, NoVarySearch{Set: true, Except: true, Params: []string{"x"}}},
		{`except=()`, NoVarySearch{Set: true, Except: true, Params: []string{}}},
		{`params=("%C3%A9+%E6%B0%97")`, NoVarySearch{Set: true, Params: []string{"é 気"}}},
		// As the draft was before it dropped the Boolean.
		{`params`, NoVarySearch{Set: true, Except: true}},
		{`params=?1, key-order`, NoVarySearch{Set: true, Except: true, AnyOrder: true}},
		{`params, except=("x")`, NoVarySearch{Set: true, Except: true, Params: []string{"x"}}},
		{`params=?0, key-order`, NoVarySearch{Set: true, AnyOrder: true}},
		{`except=("x");p=1, unknown=5`, NoVarySearch{Set: true, Except: true, Params: []string{"x"}}},
	} {
		if got := ParseNoVarySearch(fields(t, "No-Vary-Search: "+tc.value)); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", tc.value, got, tc.want)
		}
	}
	many := `params=(` + strings.Repeat(`"a" `, MaxVarySearchParams) + `"b")`
	for _, value := range []string{ // the draft's invalid inputs, and what says nothing
		`key-order="not a boolean"`, `params="not an inner list"`, `params=(not-a-string)`, `params=?0`, `params=?0, except=("x")`, `params=1, except=("x")`,
		`params=("a"), except=("x")`, `params=(), except=()`, `except="not an inner list"`, `except=(not-a-string)`, `except=?1`, `except`,
		`params=()`, `key-order=?0`, "", `params=("a`, `PARAMS=("a")`, `key-order=(1)`, many,
	} {
		if got := ParseNoVarySearch(fields(t, "No-Vary-Search: "+value)); got.Set {
			t.Errorf("%s: %+v, want the default", value, got)
		}
	}
	if ParseNoVarySearch(fields(t)).Set {
		t.Error("an absent field says something")
	}
}

func TestNoVarySearchQueries(t *testing.T) {
	for _, tc := range []struct {
		field, a, b string
		want        bool
	}{
		// The draft's table of what a parser makes equal.
		{"key-order", "", "", true},
		{"key-order", "a=x", "%61=%78", true},
		{"key-order", "a=\xc3\xa9", "a=%C3%A9", true},
		{"key-order", "a=%f6", "a=%ef%bf%bd", true},
		{"key-order", "a=x&&&&", "a=x", true},
		{"key-order", "a=", "a", true},
		{"key-order", "a=%20", "a= &", true},
		{"key-order", "a=+", "a= &", true},
		{"key-order", "a=%e2%82", "a=%ef%bf%bd", true}, // one broken sequence, one replacement
		{"key-order", "a=%f6%f6", "a=%ef%bf%bd", false},
		{"key-order", "a=%zz", "a=%25zz", true},
		{"key-order", "a=%", "a=%25", true},

		{"key-order", "a=1&b=2", "b=2&a=1", true},
		{"key-order", "a=1&b=2&a=3", "b=2&a=1&a=3", true},
		{"key-order", "a=1&b=2&a=3", "b=2&a=3&a=1", false},
		{"key-order", "a=1", "a=2", false},
		{"key-order", "a=1&b=", "a=1", false},
		{"key-order", "a=1%26b=2", "a=1&b=2", false},
		{"key-order", "a%3D1", "a=1", false},

		{`params=("utm_source" "x")`, "a=1&utm_source=q", "a=1", true},
		{`params=("utm_source" "x")`, "utm_source=q&x&x=2", "", true},
		{`params=("utm_source" "x")`, "utm%5Fsource=q", "", true},
		{`params=("utm_source" "x")`, "UTM_SOURCE=q", "", false},
		{`params=("utm_source" "x")`, "a=1&b=2", "b=2&a=1", false},
		{`params=("\"")`, `%22=1`, "", true},

		{`except=("id")`, "id=1&a=2", "b=3&id=1", true},
		{`except=("id")`, "id=1", "id=2", false},
		{`except=("id")`, "id=1", "", false},
		{`except=()`, "id=1", "", true},
		{`except=("a" "b"), key-order`, "a=1&c=9&b=2", "b=2&a=1", true},
		{`except=("a" "b")`, "a=1&c=9&b=2", "b=2&a=1", false},

		// "If variationConfig is … the default … If urlA's query equals urlB's query".
		{"params=()", "a=%61", "a=a", false},
		{"", "a=1&b=2", "b=2&a=1", false},
		{"", "a&&b", "a&b", false},
	} {
		n := ParseNoVarySearch(fields(t, "No-Vary-Search: "+tc.field))
		if a, b := n.Query(tc.a), n.Query(tc.b); (a == b) != tc.want {
			t.Errorf("%s: %q and %q are %q and %q", tc.field, tc.a, tc.b, a, b)
		}
	}
}

// WHATWG Encoding: the decoder puts one U+FFFD for each maximal part that could
// begin a sequence.
func TestBrokenRunes(t *testing.T) {
	for s, want := range map[string]int{"\x80": 1, "\xc0\x80": 1, "\xc2": 1, "\xc2a": 1, "\xe0\x80": 1, "\xe0\xa0": 2, "\xe2\x82": 2, "\xed\xa0\x80": 1, "\xf0\x80": 1, "\xf0\x9f\x98": 3, "\xf0\x9f\x98x": 3, "\xf4\x90": 1, "\xf5\x80": 1, "\xff": 1} {
		if got := brokenRune(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

// FuzzNoVarySearch: the canonical form is its own canonical form, and does not
// depend on how the query is spelled.
func FuzzNoVarySearch(f *testing.F) {
	f.Add(`params=("a" "%C3%A9"), key-order`, "a=1&b=%zz&%c3%a9=+")
	f.Add(`except=("x")`, "x=1&x=%ff%f6&y")
	f.Add("key-order", "&&=&==&%3d")
	f.Fuzz(func(t *testing.T, field, query string) {
		h := fields(t)
		if h.Add("No-Vary-Search", field) != nil {
			return
		}
		n := ParseNoVarySearch(h)
		if len(n.Params) > MaxVarySearchParams || n.Set == reflect.DeepEqual(n, NoVarySearch{}) {
			t.Fatalf("%+v", n)
		}
		canonical := n.Query(query)
		if again := n.Query(canonical); again != canonical {
			t.Fatalf("%q is %q, and that is %q", query, canonical, again)
		}
		if n.Set && n.Query("&"+query+"&&") != canonical {
			t.Fatalf("empty pairs change %q", query)
		}
		if decoded := decodeForm(query); !utf8.ValidString(decoded) {
			t.Fatalf("%q is decoded to %q", query, decoded)
		}
	})
}
