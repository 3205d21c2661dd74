package httpcache

import (
	"strings"
	"testing"

	"freshet/internal/header"
)

func TestEntityTags(t *testing.T) {
	for _, s := range []string{`""`, `"a"`, `W/"a"`, `"a,b"`, `"ä!#~"`, `"a\b"`} {
		if !validTag(s) {
			t.Errorf("%s is refused", s)
		}
	}
	for _, s := range []string{"", `"`, `a`, `"a`, `a"`, `w/"a"`, `W"a"`, `W/a`, `"a b"`, `"a"b"`, "\"a\tb\"", "\"\x7f\"", `W/W/"a"`, `'a'`} {
		if validTag(s) {
			t.Errorf("%s is taken", s)
		}
	}
	// RFC 9110 §8.8.3.2 has this table.
	for _, tc := range []struct {
		a, b         string
		strong, weak bool
	}{
		{`W/"1"`, `W/"1"`, false, true}, {`W/"1"`, `W/"2"`, false, false}, {`W/"1"`, `"1"`, false, true}, {`"1"`, `"1"`, true, true},
		{"1", "1", false, false}, {"", "", false, false},
	} {
		if StrongMatch(tc.a, tc.b) != tc.strong || WeakMatch(tc.a, tc.b) != tc.weak || StrongMatch(tc.b, tc.a) != tc.strong || WeakMatch(tc.b, tc.a) != tc.weak {
			t.Errorf("%s and %s: strong=%v weak=%v", tc.a, tc.b, StrongMatch(tc.a, tc.b), WeakMatch(tc.a, tc.b))
		}
	}
}

func TestTagLists(t *testing.T) {
	for list, want := range map[string]string{
		``: ``, `"a"`: `"a"`, `"a","b"`: `"a"|"b"`, ` , "a" ,, W/"b" , `: `"a"|W/"b"`, `"a,b", "c"`: `"a,b"|"c"`,
		`a, "b"`: `a|"b"`, `"a" b, "c"`: `"a" b|"c"`, `"a, "b"`: `"a, "b"`, `"a`: `"a`, `W/, "b"`: `W/|"b"`, `W/"a, b`: `W/"a|b`, `"a""b"`: `"a""b"`,
	} {
		var tags []string
		for rest := list; rest != ""; {
			var tag string
			if tag, rest = nextTag(rest); tag != "" {
				tags = append(tags, tag)
			}
		}
		if got := strings.Join(tags, "|"); got != want {
			t.Errorf("%s is %s, want %s", list, got, want)
		}
	}
}

func TestPreconditions(t *testing.T) {
	both := []string{`ETag: "a"`, "Last-Modified: " + stamp(-1000), "Cache-Control: max-age=9"}
	dated := []string{"Last-Modified: " + stamp(-1000)}
	for _, tc := range []struct {
		name    string
		method  string
		status  int
		stored  []string
		request []string
		want    Precondition
	}{
		{"none", "GET", 200, both, nil, Proceed},
		{"§13.1.2: If-None-Match, the same", "GET", 200, both, []string{`If-None-Match: "a"`}, NotModified},
		{"§13.1.2: another", "GET", 200, both, []string{`If-None-Match: "b"`}, Proceed},
		{"§13.1.2: one of several", "GET", 200, both, []string{`If-None-Match: "b", W/"a"`}, NotModified},
		{"§13.1.2: on another line", "GET", 200, both, []string{`If-None-Match: "b"`, `If-None-Match: "a"`}, NotModified},
		{"§13.1.2: weak comparison", "HEAD", 200, []string{`ETag: W/"a"`}, []string{`If-None-Match: "a"`}, NotModified},
		{"§13.1.2: any", "GET", 200, dated, []string{`If-None-Match: *`}, NotModified},
		{"§13.1.2: star in a list is invalid", "GET", 200, both, []string{`If-None-Match: *, "b"`}, Proceed},
		{"star on two lines too", "GET", 200, both, []string{`If-None-Match: *`, `If-None-Match: *`}, Proceed},
		{"no quotes is no entity-tag", "GET", 200, both, []string{`If-None-Match: a`}, Proceed},
		{"the stored one has none", "GET", 200, dated, []string{`If-None-Match: "a"`}, Proceed},
		{"§13.2.2: If-None-Match hides If-Modified-Since", "GET", 200, both, []string{`If-None-Match: "b"`, "If-Modified-Since: " + stamp(0)}, Proceed},
		{"§13.2.2: the other way round", "GET", 200, both, []string{"If-Modified-Since: " + stamp(-9999), `If-None-Match: "a"`}, NotModified},
		{"a malformed If-None-Match hides it too", "GET", 200, both, []string{`If-None-Match: ,`, "If-Modified-Since: " + stamp(0)}, Proceed},

		{"§13.1.3: the same date", "GET", 200, dated, []string{"If-Modified-Since: " + stamp(-1000)}, NotModified},
		{"§13.1.3: a later one", "GET", 200, dated, []string{"If-Modified-Since: " + stamp(-999)}, NotModified},
		{"§13.1.3: an earlier one", "GET", 200, dated, []string{"If-Modified-Since: " + stamp(-1001)}, Proceed},
		{"§5.6.7: RFC 850's format", "GET", 200, dated, []string{"If-Modified-Since: " + after(-1000).Format("Monday, 02-Jan-06 15:04:05 GMT")}, NotModified},
		{"§5.6.7: asctime's format", "GET", 200, dated, []string{"If-Modified-Since: " + after(-1000).Format("Mon Jan _2 15:04:05 2006")}, NotModified},
		{"§13.1.3: not a valid date is ignored", "GET", 200, dated, []string{"If-Modified-Since: yesterday"}, Proceed},
		{"§13.1.3: more than one is ignored", "GET", 200, dated, []string{"If-Modified-Since: " + stamp(0), "If-Modified-Since: " + stamp(0)}, Proceed},
		{"RFC 9111 §4.3.2: Date stands for a missing Last-Modified", "GET", 200, []string{"Date: " + stamp(-50)}, []string{"If-Modified-Since: " + stamp(-50)}, NotModified},
		{"RFC 9111 §4.3.2: and is later than this", "GET", 200, []string{"Date: " + stamp(-50)}, []string{"If-Modified-Since: " + stamp(-51)}, Proceed},
		{"RFC 9111 §4.3.2: or the time received", "GET", 200, nil, []string{"If-Modified-Since: " + stamp(0)}, NotModified},

		{"§13.2.1: only for what would be a 2xx", "GET", 404, both, []string{`If-None-Match: "a"`}, Proceed},
		{"a redirect", "GET", 301, both, []string{`If-None-Match: *`}, Proceed},
		{"§13.2.1: other methods", "POST", 200, both, []string{`If-None-Match: "a"`}, Proceed},

		{"§13.1.1: If-Match fulfilled", "GET", 200, both, []string{`If-Match: "b", "a"`}, Proceed},
		{"§13.1.1: any", "GET", 200, both, []string{`If-Match: *`}, Proceed},
		{"RFC 9111 §4.3.2: If-Match that is not, is for the origin", "GET", 200, both, []string{`If-Match: "b"`}, AskOrigin},
		{"§13.1.1: strong comparison", "GET", 200, []string{`ETag: W/"a"`}, []string{`If-Match: W/"a"`}, AskOrigin},
		{"§13.2.2: after If-Match, If-None-Match", "GET", 200, both, []string{`If-Match: "a"`, `If-None-Match: "a"`}, NotModified},
		{"§13.2.2: If-Match before If-None-Match", "GET", 200, both, []string{`If-None-Match: "a"`, `If-Match: "b"`}, AskOrigin},
		{"§13.1.4: not modified since", "GET", 200, dated, []string{"If-Unmodified-Since: " + stamp(-1000)}, Proceed},
		{"§13.1.4: modified since", "GET", 200, dated, []string{"If-Unmodified-Since: " + stamp(-1001)}, AskOrigin},
		{"§13.1.4: not a date is ignored", "GET", 200, dated, []string{"If-Unmodified-Since: x"}, Proceed},
		{"§13.1.4: no modification date, ignored", "GET", 200, nil, []string{"If-Unmodified-Since: " + stamp(-1001)}, Proceed},
		{"§13.1.4: hidden by If-Match", "GET", 200, both, []string{`If-Match: "a"`, "If-Unmodified-Since: " + stamp(-1001)}, Proceed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := Request{tc.method, fields(t, tc.request...)}
			if got := Preconditions(q, tc.status, factsOf(t, tc.stored...)); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// RFC 9110 §15.4.5: what a 304 must have, and what it should not.
func TestNotModifiedHeader(t *testing.T) {
	lines := []string{
		"Content-Location: /a", "Date: " + stamp(0), `ETag: "a"`, "Vary: Accept", "Cache-Control: max-age=9", "Expires: " + stamp(9),
		"Content-Type: text/plain", "Content-Length: 5", "Content-Encoding: gzip", "Content-Language: en", "Last-Modified: " + stamp(-9),
		"Content-Security-Policy: default-src 'self'", "X-Other: 1", "Accept-Ranges: bytes", "Content-Range: bytes 0-4/5",
	}
	h := fields(t, lines...)
	names := func(f *Facts) string {
		var got []string
		for name := range NotModifiedHeader(new(header.Draft), h, f).All() {
			got = append(got, name)
		}
		return strings.Join(got, " ")
	}
	if got, want := names(factsOf(t, lines...)), "Content-Location Date ETag Vary Cache-Control Expires Content-Security-Policy X-Other"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := names(&Facts{}); !strings.Contains(got, "Last-Modified") {
		t.Errorf("without an entity-tag Last-Modified is missing: %s", got)
	}
	if h.Len() != len(lines) {
		t.Error("the stored header was changed")
	}
}

// FuzzConditional: no condition panics, and what the client has in hand is never
// confirmed without a validator of its own.
func FuzzConditional(f *testing.F) {
	f.Add(`"a", W/"b"`, `"a"`, "Sun, 06 Nov 1994 08:49:37 GMT")
	f.Add(`*`, `W/"x`, "0")
	f.Add(`"a,b",,"`, `""`, "")
	f.Fuzz(func(t *testing.T, list, tag, date string) {
		q, stored := fields(t), fields(t)
		if q.Add("If-None-Match", list) != nil || q.Add("If-Modified-Since", date) != nil || stored.Add("ETag", tag) != nil {
			return
		}
		facts, _ := Assess(Request{"GET", fields(t)}, Response{200, stored, start, start}, &Policy{})
		got := Preconditions(Request{"GET", q}, 200, &facts)
		if got == AskOrigin || got == NotModified && list != "*" && (facts.ETag == "" || !strings.Contains(list, strings.TrimPrefix(facts.ETag, "W/"))) {
			t.Fatalf("%q against %q: %v", list, tag, got)
		}
		for rest := list; rest != ""; {
			before := len(rest)
			if _, rest = nextTag(rest); len(rest) >= before {
				t.Fatalf("no progress in %q", list)
			}
		}
	})
}
