package httpcache

import (
	"strings"
	"testing"

	"freshet/internal/header"
)

func TestAddConditions(t *testing.T) {
	spelled := "sun, 01 Mar 2026 11:00:00 gmt" // as the origin spells it, and nobody else
	for _, tc := range []struct {
		name   string
		stored []string
		strong bool
		want   string
		any    bool
	}{
		{"§4.3.1: both", []string{`ETag: W/"a"`, "Last-Modified: " + spelled}, false, "If-None-Match: W/\"a\"\r\nIf-Modified-Since: " + spelled + "\r\n", true},
		{"ETag alone", []string{`ETag: "a"`}, false, "If-None-Match: \"a\"\r\n", true},
		{"date alone", []string{"Last-Modified: " + stamp(-9)}, false, "If-Modified-Since: " + stamp(-9) + "\r\n", true},
		{"nothing", []string{"Last-Modified: x", "ETag: x"}, false, "", false},
		{"a strong one is wanted and there", []string{`ETag: "a"`, "Last-Modified: " + stamp(-9)}, true, "If-None-Match: \"a\"\r\n", true},
		{"a strong one is wanted and not there", []string{`ETag: W/"a"`, "Last-Modified: " + stamp(-9)}, true, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := fields(t, "Accept: a/b", `If-None-Match: "client"`, "If-Match: *", "Range: bytes=0-1", "If-Range: x", "If-Modified-Since: x", "If-Unmodified-Since: x")
			ok, err := AddConditions(h, fields(t, tc.stored...), factsOf(t, tc.stored...), tc.strong)
			if got, want := string(h.Wire()), "Accept: a/b\r\n"+tc.want; err != nil || ok != tc.any || got != want {
				t.Errorf("%v, %v\ngot  %q\nwant %q", ok, err, got, want)
			}
		})
	}
	full := fields(t)
	for range header.MaxFields {
		if err := full.Add("A", "1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := AddConditions(full, fields(t, `ETag: "a"`), factsOf(t, `ETag: "a"`), false); err == nil {
		t.Error("a request without room for a condition gives no error")
	}
}

// §4.3.4, for the one response that was asked for.
func TestMatch304(t *testing.T) {
	strong, weak := []string{`ETag: "a"`, "Last-Modified: " + stamp(-99)}, []string{`ETag: W/"a"`}
	dated, bare := []string{"Last-Modified: " + stamp(-99)}, []string{"Date: " + stamp(0)}
	for _, tc := range []struct {
		name           string
		stored, update []string
		want           Matching
	}{
		{"'same strong validators are identified for update'", strong, []string{`ETag: "a"`}, MatchStrong},
		{"another strong one 'MUST NOT ... update any'", strong, []string{`ETag: "b"`}, Mismatch},
		{"another strong one, though the dates agree", strong, []string{`ETag: "b"`, "Last-Modified: " + stamp(-99)}, Mismatch},
		{"a strong one for a weak one", weak, []string{`ETag: "a"`}, Mismatch},
		{"a strong one for none", dated, []string{`ETag: "a"`, "Last-Modified: " + stamp(-99)}, Mismatch},
		{"weak validators that correspond", weak, []string{`ETag: W/"a"`}, MatchWeak},
		{"a weak one for a strong one", strong, []string{`ETag: W/"a"`}, MatchWeak},
		{"another weak one", weak, []string{`ETag: W/"b"`}, Mismatch},
		{"the same date", dated, []string{"Last-Modified: " + stamp(-99)}, MatchWeak},
		{"another date", dated, []string{"Last-Modified: " + stamp(-98)}, Mismatch},
		{"the same date beside a stored ETag", strong, []string{"Last-Modified: " + stamp(-99)}, MatchWeak},
		{"no validator in either", bare, nil, MatchUnsaid},
		{"no validator in the 304", dated, []string{"Date: " + stamp(5)}, MatchUnsaid},
		{"one that cannot be read is none", strong, []string{"ETag: a"}, MatchUnsaid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Match304(factsOf(t, tc.stored...), fields(t, tc.update...), start); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// §4.3.5: "matching values for any received validator fields … and, if the HEAD
// response has a Content-Length header field, the value … matches".
func TestMatchHead(t *testing.T) {
	stored := factsOf(t, `ETag: "a"`, "Last-Modified: "+stamp(-99))
	for _, tc := range []struct {
		head []string
		want bool
	}{
		{nil, true},
		{[]string{`ETag: "a"`}, true},
		{[]string{`ETag: "b"`}, false},
		{[]string{`ETag: W/"a"`}, false},
		{[]string{"Last-Modified: " + stamp(-99)}, true},
		{[]string{"Last-Modified: " + stamp(-98)}, false},
		{[]string{"Last-Modified: x"}, false},
		{[]string{"Content-Length: 10"}, true},
		{[]string{"Content-Length: 11"}, false},
		{[]string{"Content-Length: x"}, false},
		{[]string{`ETag: "a"`, "Last-Modified: " + stamp(-99), "Content-Length: 10"}, true},
	} {
		if got := MatchHead(stored, 10, fields(t, tc.head...), start); got != tc.want {
			t.Errorf("%q: %v", tc.head, got)
		}
	}
	if MatchHead(factsOf(t), 10, fields(t, `ETag: "a"`), start) {
		t.Error("a HEAD with an ETag matches a response without")
	}
}

// §3.2: "the cache MUST add each header field in the provided response to the
// stored response, replacing field values that are already present", with the
// exceptions that follow there.
func TestFreshen(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		stored, update, want []string
	}{
		{"replaced, added and left", []string{"Date: " + stamp(-9), "A: 1", "B: 1"}, []string{"Date: " + stamp(5), "A: 2", "C: 2"}, []string{"B: 1", "Date: " + stamp(5), "A: 2", "C: 2"}},
		{"all lines of a name are replaced", []string{"Date: " + stamp(0), "a: 1", "A: 2"}, []string{"Date: " + stamp(0), "A: 3", "a: 4"}, []string{"Date: " + stamp(0), "A: 3", "a: 4"}},
		{"'and the Content-Length header field'", []string{"Date: " + stamp(0), "Content-Length: 5"}, []string{"Date: " + stamp(0), "Content-Length: 0"}, []string{"Content-Length: 5", "Date: " + stamp(0)}},
		{"fields 'that the cache's stored response depends upon'", []string{"Date: " + stamp(0), "Content-Encoding: gzip"}, []string{"Date: " + stamp(0), "content-encoding: br", "Content-Range: bytes 0-1/2", "Content-MD5: x", "Content-Digest: y"},
			[]string{"Content-Encoding: gzip", "Date: " + stamp(0)}},
		{"'the Content-* prefix is not a signal'", []string{"Date: " + stamp(0), "Content-Type: a/b", "Content-Foo: 1"}, []string{"Date: " + stamp(0), "Content-Type: c/d", "Content-Foo: 2"},
			[]string{"Date: " + stamp(0), "Content-Type: c/d", "Content-Foo: 2"}},
		{"RFC 9110 §6.6.1: no Date is the time received", []string{"Date: " + stamp(-9)}, nil, []string{"Date: " + stamp(30)}},
		{"one that cannot be read, too", []string{"Date: " + stamp(-9)}, []string{"Date: x"}, []string{"Date: " + stamp(30)}},
		{"the stored Age goes, the update's counts", []string{"Date: " + stamp(-9), "Age: 900"}, []string{"Date: " + stamp(0), "Age: 3"}, []string{"Date: " + stamp(0), "Age: 3"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stored := fields(t, tc.stored...)
			before := string(stored.Wire())
			got, err := Freshen(stored, fields(t, tc.update...), after(30))
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Join(tc.want, "\r\n") + "\r\n"; string(got.Wire()) != want {
				t.Errorf("got  %q\nwant %q", got.Wire(), want)
			}
			if string(stored.Wire()) != before {
				t.Error("the stored header was changed")
			}
		})
	}
}

// What a 304 says of its life is what counts from then on.
func TestFreshenedLife(t *testing.T) {
	stored := fields(t, "Date: "+stamp(0), "Cache-Control: max-age=10", `ETag: "a"`)
	h, err := Freshen(stored, fields(t, "Date: "+stamp(100), `ETag: "a"`, "Age: 2"), after(100))
	if err != nil {
		t.Fatal(err)
	}
	f, why := Assess(get(t), Response{200, h, after(100), after(100)}, &Policy{})
	if why != Stored || f.At(after(107)) != Fresh || f.At(after(108)) != Expired {
		t.Errorf("%q, %v %v", why, f.At(after(107)), f.At(after(108)))
	}
}

func TestFreshenWithoutRoom(t *testing.T) {
	stored, update := fields(t), fields(t)
	for _, h := range []*header.Block{stored, update} {
		name := map[*header.Block]string{stored: "A", update: "B"}[h]
		if err := h.Add(name, strings.Repeat("x", 40000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Freshen(stored, update, start); err == nil {
		t.Error("a header beyond the bound gives no error")
	}
}
