package httpcache

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestVaryNames(t *testing.T) {
	many := func(n int) string {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("x-%d", i))
		}
		return "Vary: " + strings.Join(names, ", ")
	}
	for _, tc := range []struct {
		name  string
		lines []string
		want  string
		all   bool
	}{
		{"absent", nil, "", false},
		{"empty", []string{"Vary:"}, "", false},
		{"names in order, lower-cased, each once", []string{"Vary: Accept, ACCEPT-Encoding ,accept", "Vary: Cookie"}, "accept accept-encoding cookie", false},
		{"empty members", []string{"Vary: ,, A,"}, "a", false},
		{"§4.1: star", []string{"Vary: *"}, "", true},
		{"§4.1: star as a member", []string{"Vary: A, *"}, "", true},
		{"star on another line", []string{"Vary: A", "Vary: , *"}, "", true},
		{"no field name", []string{"Vary: A B"}, "", true},
		{"quoted", []string{`Vary: "A"`}, "", true},
		{"the bound", []string{many(MaxVary)}, strings.ReplaceAll(strings.TrimPrefix(many(MaxVary), "Vary: "), ",", ""), false},
		{"beyond the bound", []string{many(MaxVary + 1)}, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := fields(t, tc.lines...)
			if got := strings.Join(VaryNames(h), " "); got != tc.want || VaryAll(h) != tc.all {
				t.Errorf("%q all=%v, want %q all=%v", got, VaryAll(h), tc.want, tc.all)
			}
		})
	}
}

// §4.1: when two requests match, and when they do not.
func TestVariants(t *testing.T) {
	for _, tc := range []struct {
		name string
		vary string
		a, b []string
		want bool
	}{
		{"the same", "foo", []string{"Foo: 1"}, []string{"foo: 1"}, true},
		{"different", "foo", []string{"Foo: 1"}, []string{"Foo: 2"}, false},
		{"case of an unknown value", "foo", []string{"Foo: a"}, []string{"Foo: A"}, false},
		{"other fields do not matter", "foo", []string{"Foo: 1", "Bar: 1"}, []string{"Foo: 1", "Bar: 2"}, true},
		{"absent in both", "foo", nil, []string{"Bar: 1"}, true},
		{"'it can only match another request if it is also absent there'", "foo", nil, []string{"Foo:"}, false},
		{"one of two differs", "foo bar", []string{"Foo: 1", "Bar: 1"}, []string{"Foo: 1", "Bar: 2"}, false},
		{"values do not move to another field", "foo bar", []string{"Foo: 1"}, []string{"Bar: 1"}, false},
		{"the order of the fields in the request", "foo bar", []string{"Foo: 1", "Bar: 2"}, []string{"Bar: 2", "Foo: 1"}, true},
		{"'combining multiple header field lines'", "foo", []string{"Foo: 1", "Foo: 2"}, []string{"Foo: 1, 2"}, true},
		{"their order counts", "foo", []string{"Foo: 1", "Foo: 2"}, []string{"Foo: 2", "Foo: 1"}, false},
		{"'adding or removing whitespace'", "foo", []string{"Foo: 1,2"}, []string{"Foo: 1 \t,  2"}, true},
		{"white space inside a member", "foo", []string{"Foo: a b"}, []string{"Foo: a  b"}, false},
		{"white space inside quotes", "foo", []string{`Foo: "a,b"`}, []string{`Foo: "a, b"`}, false},
		{"white space beside quotes", "foo", []string{`Foo: "a" , "b"`}, []string{`Foo: "a","b"`}, true},
		{"an escaped quote does not end a quoted string", "foo", []string{`Foo: "\",b"`}, []string{`Foo: "\", b"`}, false},
		{"quotes that do not close", "foo", []string{`Foo: "a,b`}, []string{`Foo: "a, b`}, false},
		{"white space inside a comment", "foo", []string{"Foo: x (a,b)"}, []string{"Foo: x (a, b)"}, false},
		{"empty members", "foo", []string{"Foo: a,,b"}, []string{"Foo: a,b"}, false},
		{"a cookie is compared byte for byte", "cookie", []string{"Cookie: a=1,2"}, []string{"Cookie: a=1, 2"}, false},

		{"RFC 9110 §12.5.3: codings in any order", "accept-encoding", []string{"Accept-Encoding: gzip, br"}, []string{"Accept-Encoding: br,gzip"}, true},
		{"codings in any case", "accept-encoding", []string{"Accept-Encoding: GZIP"}, []string{"Accept-Encoding: gzip"}, true},
		{"weights in any spelling", "accept-encoding", []string{"Accept-Encoding: gzip;q=1.000, br;q=0.50"}, []string{"Accept-Encoding: br ; Q=0.5, gzip"}, true},
		{"different weights", "accept-encoding", []string{"Accept-Encoding: gzip, br;q=0.5"}, []string{"Accept-Encoding: gzip, br;q=0.501"}, false},
		{"§8.4.1.3: x-gzip is gzip", "accept-encoding", []string{"Accept-Encoding: x-gzip"}, []string{"Accept-Encoding: gzip"}, true},
		{"other codings", "accept-encoding", []string{"Accept-Encoding: gzip"}, []string{"Accept-Encoding: gzip, br"}, false},
		{"§12.5.3: empty is not absent", "accept-encoding", []string{"Accept-Encoding:"}, nil, false},
		{"identity refused", "accept-encoding", []string{"Accept-Encoding: gzip, identity;q=0"}, []string{"Accept-Encoding: gzip"}, false},
		{"one coding with two weights has no normal form", "accept-encoding", []string{"Accept-Encoding: gzip, gzip;q=0"}, []string{"Accept-Encoding: gzip;q=0, gzip"}, false},
		{"malformed is compared byte for byte", "accept-encoding", []string{"Accept-Encoding: gzip;q=2, br"}, []string{"Accept-Encoding: br, gzip;q=2"}, false},
		{"malformed is not what it looks like", "accept-encoding", []string{"Accept-Encoding: =gzip"}, []string{"Accept-Encoding: gzip"}, false},

		{"languages in any case and spacing", "accept-language", []string{"Accept-Language: en-GB, De"}, []string{"Accept-Language: en-gb ,de"}, true},
		{"their order where weights tell it", "accept-language", []string{"Accept-Language: de;q=0.5, en"}, []string{"Accept-Language: en, de;q=0.5"}, true},
		{"their order where weights do not: some origins take it as a preference", "accept-language", []string{"Accept-Language: de, en"}, []string{"Accept-Language: en, de"}, false},
		{"x-gzip is a language of its own", "accept-language", []string{"Accept-Language: x-gzip"}, []string{"Accept-Language: gzip"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			names := strings.Fields(tc.vary)
			a := string(AppendVariant(nil, fields(t, tc.a...), names))
			b := string(AppendVariant(nil, fields(t, tc.b...), names))
			if (a == b) != tc.want {
				t.Errorf("%q and %q", a, b)
			}
		})
	}
}

func TestWeights(t *testing.T) {
	for s, want := range map[string]int{"q=0": 0, "q=1": 1000, "Q=0.5": 500, "q=0.": 0, "q=1.": 1000, "q=0.05": 50, "q=0.005": 5, "q=0.999": 999, "q=1.000": 1000} {
		if got, ok := parseWeight(s); !ok || got != want {
			t.Errorf("%q = %d, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "q", "q=", "q=2", "q=1.001", "q=0.1234", "q=.5", "q=-1", "q=00", "q=0,5", "q=0.x", "x=0.5", "q=0.5;a", "q =0.5"} {
		if got, ok := parseWeight(s); ok {
			t.Errorf("%q is taken as %d", s, got)
		}
	}
}

// FuzzVary: names are lower-case tokens in bounds; a variant says at which field its
// parts begin, so that no two requests are mixed up; and a normal form is its own.
func FuzzVary(f *testing.F) {
	f.Add("Accept-Encoding, Foo", "gzip;q=0.5, br", `a , "b, c" (d, e)`)
	f.Add("*", "", "")
	f.Add("Accept-Language,Cookie", "en;q=1.000, de", "\\\",")
	f.Fuzz(func(t *testing.T, vary, a, b string) {
		response, request := fields(t), fields(t)
		if response.Add("Vary", vary) != nil || request.Add("Accept-Encoding", a) != nil || request.Add("Foo", b) != nil || request.Add("Accept-Language", b) != nil {
			return
		}
		names := VaryNames(response)
		if VaryAll(response) && names != nil || len(names) > MaxVary {
			t.Fatalf("names %q", names)
		}
		for i, name := range names {
			if !isToken(name) || name != strings.ToLower(name) || slices.Contains(names[:i], name) {
				t.Fatalf("names %q", names)
			}
		}
		all := []string{"accept-encoding", "foo", "accept-language"}
		variant := string(AppendVariant([]byte("key"), request, all))
		if parts := strings.Split(variant, "\n"); len(parts) != 4 || parts[0] != "key" || !strings.HasPrefix(parts[2], "foo:") {
			t.Fatalf("variant %q", variant)
		}
		tight := string(appendNormal(nil, "foo", b))
		if again := string(appendNormal(nil, "foo", tight)); again != tight {
			t.Fatalf("%q is %q, and that is %q", b, tight, again)
		}
		if prefs, ok := parsePreferences(nil, a, false); ok {
			form := string(appendPreferences(nil, prefs, false))
			slices.Reverse(prefs)
			if again := string(appendPreferences(nil, prefs, false)); again != form {
				t.Fatalf("%q is %q in one order and %q in the other", a, form, again)
			}
		}
	})
}
