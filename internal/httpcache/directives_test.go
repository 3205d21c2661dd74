package httpcache

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// parsed is what a response's Cache-Control lines say, changed from "nothing".
func parsed(change func(*ResponseDirectives)) ResponseDirectives {
	d := ResponseDirectives{MaxAge: Absent, SMaxAge: Absent, StaleWhileRevalidate: Absent, StaleIfError: Absent}
	change(&d)
	return d
}

func TestResponseDirectives(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines []string
		want  func(*ResponseDirectives)
	}{
		{"nothing", nil, func(*ResponseDirectives) {}},
		{"all of them", []string{"no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand, no-transform, immutable, max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4"},
			func(d *ResponseDirectives) {
				d.NoStore, d.NoCache, d.Private, d.Public = true, true, true, true
				d.MustRevalidate, d.ProxyRevalidate, d.MustUnderstand, d.NoTransform, d.Immutable = true, true, true, true, true
				d.MaxAge, d.SMaxAge, d.StaleWhileRevalidate, d.StaleIfError = seconds(1), seconds(2), seconds(3), seconds(4)
			}},
		{"§5.2: compared case-insensitively", []string{"MaX-AgE=5, NO-STORE"}, func(d *ResponseDirectives) { d.MaxAge, d.NoStore = seconds(5), true }},
		{"§5.2: recipients ought to accept both forms of an argument", []string{`max-age="60"`}, func(d *ResponseDirectives) { d.MaxAge = seconds(60) }},
		{"a quoted string is not searched", []string{`ext="max-age=60, no-store", s-maxage=5`}, func(d *ResponseDirectives) { d.SMaxAge = seconds(5) }},
		{"an escaped quote does not end a quoted string", []string{`ext="a\", no-store", max-age=5`}, func(d *ResponseDirectives) { d.MaxAge = seconds(5) }},
		{"several lines are one list", []string{"max-age=5", "", "no-transform"}, func(d *ResponseDirectives) { d.MaxAge, d.NoTransform = seconds(5), true }},
		{"empty members and white space", []string{" ,, max-age=5\t,\t ,"}, func(d *ResponseDirectives) { d.MaxAge = seconds(5) }},
		{"§4.2.1: of two values the first", []string{"max-age=1800, max-age=1", "max-age=7"}, func(d *ResponseDirectives) { d.MaxAge = seconds(1800) }},
		{"§4.2.1: conflicting directives are both there", []string{"max-age=60, no-cache, public, private"},
			func(d *ResponseDirectives) { d.MaxAge, d.NoCache, d.Public, d.Private = seconds(60), true, true, true }},
		{"§1.2.2: too large is the largest", []string{"max-age=99999999999999999999"}, func(d *ResponseDirectives) { d.MaxAge = MaxDelta * time.Second }},
		{"leading zeros", []string{"max-age=00060"}, func(d *ResponseDirectives) { d.MaxAge = seconds(60) }},
		{"§5.2.3: what is not known is ignored", []string{"foo, bar=baz, max-age=9, only-if-cached"}, func(d *ResponseDirectives) { d.MaxAge = seconds(9) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ParseResponse(func(yield func(string) bool) {
				for _, l := range tc.lines {
					if !yield(l) {
						return
					}
				}
			})
			if want := parsed(tc.want); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// §4.2.1: "Caches are encouraged to consider responses that have invalid freshness
// information (e.g., a max-age directive with non-integer content) to be stale."
func TestMalformedLifetimesAreZero(t *testing.T) {
	for _, value := range []string{
		"max-age", "max-age=", "max-age=abc", "max-age=60a", "max-age=a60", "max-age=-60", "max-age=+60", "max-age=60.0", "max-age=0x10",
		"max-age='60'", `max-age="60`, `max-age="60"s`, `max-age="6\0"`, `max-age=""`, "max-age =60", "max-age= 60", "max-age\t=60",
		"max-age=60 no-transform", "max-age=6 0", "max-age=60;s=1", "max-age=60=60", "max-age=x, max-age=60",
	} {
		d := ParseResponse(fields(t, "Cache-Control: "+value).Values("Cache-Control"))
		if d.MaxAge != 0 {
			t.Errorf("%q: max-age is %v, want 0", value, d.MaxAge)
		}
	}
}

// A directive that is broken takes nothing with it: neither those beside it nor its
// own restriction, if it has one.
func TestBrokenDirectivesDoNotSwallowOthers(t *testing.T) {
	for _, tc := range []struct {
		value           string
		noStore, public bool
	}{
		{`ext="never closed, no-store`, true, false},
		{`max-age="60, no-store, public`, true, true},
		{`ext="a" b, no-store`, true, false},
		{`="x", no-store`, true, false},
		{`"quoted", no-store`, true, false},
		{`no-store=yes`, true, false},
		{`no-store =1`, true, false},
		{`no-store; public`, true, false},
		{`public; no-store`, false, false},
		{`no-store no-transform`, true, false},
		{`no-stored`, false, false},
		{`public=1`, false, false},
		{`public=, no-store`, true, false},
		{"\x80\xff=, no-store", true, false},
		{`ext="\`, false, false},
	} {
		d := ParseResponse(fields(t, "Cache-Control: "+tc.value).Values("Cache-Control"))
		if d.NoStore != tc.noStore || d.Public != tc.public {
			t.Errorf("%q: no-store=%v public=%v, want %v and %v", tc.value, d.NoStore, d.Public, tc.noStore, tc.public)
		}
	}
}

// §5.2.2.4, §5.2.2.7: the qualified forms concern the fields that they list.
func TestQualifiedDirectives(t *testing.T) {
	for _, tc := range []struct {
		name, value      string
		noCache, private bool
		withheld         string
	}{
		{"no-cache with fields", `no-cache="Set-Cookie, X-A"`, false, false, "set-cookie x-a"},
		{"private with a field", `private="X-User"`, false, false, "x-user"},
		{"both, each field once", `private="X-A,X-B", no-cache="x-a"`, false, false, "x-a x-b"},
		{"token form", `no-cache=Set-Cookie`, false, false, "set-cookie"},
		{"beside the unqualified form", `no-cache="X-A", no-cache`, true, false, "x-a"},
		{"empty list", `private=""`, false, true, ""},
		{"only commas", `no-cache=" , ,"`, true, false, ""},
		{"no argument after the equals sign", `private=`, false, true, ""},
		{"not a field name", `no-cache="X A"`, true, false, ""},
		{"semicolons for commas", `private; no-cache`, false, true, ""},
		{"unquoted, with a space", `no-cache=X-A X-B`, true, false, ""},
		{"star", `private="*"`, false, false, "*"},
		{"never closed", `private="X-A, X-B`, false, true, ""},
		{"white space at the equals sign", `private ="X-A"`, false, true, ""},
		{"a field without which nothing can be served", `no-cache="Content-Encoding"`, true, false, ""},
		{"a field that the cache lives by", `private="X-A, Vary"`, false, true, ""},
		{"too many", `private="` + strings.Repeat("a,", MaxWithheld) + `X-1"`, false, false, "a x-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := ParseResponse(fields(t, "Cache-Control: "+tc.value).Values("Cache-Control"))
			if got := strings.Join(d.Withheld, " "); d.NoCache != tc.noCache || d.Private != tc.private || got != tc.withheld {
				t.Errorf("no-cache=%v private=%v withheld=%q, want %v %v %q", d.NoCache, d.Private, got, tc.noCache, tc.private, tc.withheld)
			}
		})
	}
	var many []string
	for i := range MaxWithheld + 1 {
		many = append(many, "x"+strings.Repeat("y", i))
	}
	d := ParseResponse(fields(t, `Cache-Control: private="`+strings.Join(many, ",")+`"`).Values("Cache-Control"))
	if !d.Private || len(d.Withheld) != 0 {
		t.Error("a list beyond the bound is not the unqualified form")
	}
}

func TestWithholdFrom(t *testing.T) {
	h := fields(t, "A: 1", "set-cookie: x", "B: 2", "SET-COOKIE: y")
	WithholdFrom(h, []string{"set-cookie", "absent"})
	if got, want := string(h.Wire()), "A: 1\r\nB: 2\r\n"; got != want {
		t.Errorf("left %q, want %q", got, want)
	}
}

func TestRequestDirectives(t *testing.T) {
	none := RequestDirectives{MaxAge: Absent, MinFresh: Absent, MaxStale: Absent, StaleIfError: Absent}
	with := func(change func(*RequestDirectives)) RequestDirectives { d := none; change(&d); return d }
	for _, tc := range []struct {
		name  string
		lines []string
		want  RequestDirectives
	}{
		{"nothing", nil, none},
		{"all of them", []string{"Cache-Control: no-store, no-cache, no-transform, only-if-cached, max-age=1, min-fresh=2, max-stale=3, stale-if-error=4"},
			RequestDirectives{true, true, true, true, seconds(1), seconds(2), seconds(3), seconds(4)}},
		{"§5.2.1.2: max-stale without a value accepts any", []string{"Cache-Control: max-stale"}, with(func(d *RequestDirectives) { d.MaxStale = AnyAge })},
		{"the first max-stale counts", []string{"Cache-Control: max-stale=5, max-stale"}, with(func(d *RequestDirectives) { d.MaxStale = seconds(5) })},
		{"the first max-stale counts, without a value", []string{"Cache-Control: max-stale, max-stale=5"}, with(func(d *RequestDirectives) { d.MaxStale = AnyAge })},
		{"malformed permission is none", []string{"Cache-Control: max-stale=x, stale-if-error=x, min-fresh=x"}, none},
		{"malformed max-age asks for what is new", []string{"Cache-Control: max-age=x"}, with(func(d *RequestDirectives) { d.MaxAge = 0 })},
		{"response directives mean nothing", []string{"Cache-Control: private, s-maxage=4, public"}, none},
		{"§5.4: Pragma without Cache-Control", []string{"Pragma: foo, No-Cache"}, with(func(d *RequestDirectives) { d.NoCache = true })},
		{"§5.4: Pragma beside Cache-Control, before it", []string{"Pragma: no-cache", "Cache-Control: max-age=5"}, with(func(d *RequestDirectives) { d.MaxAge = seconds(5) })},
		{"other Pragma", []string{"Pragma: no-caching"}, none},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := ParseRequest(fields(t, tc.lines...)); got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// FuzzCacheControl: whatever stands there, times are in bounds, withheld fields are
// names, and no-store on a line of its own is never lost.
func FuzzCacheControl(f *testing.F) {
	f.Add(`max-age=60, no-cache="a, b"`, "private")
	f.Add(`ext="\", s-maxage="5`, `=,"`)
	f.Add("max-stale, only-if-cached", "stale-if-error=9999999999999")
	f.Fuzz(func(t *testing.T, a, b string) {
		h := fields(t)
		if h.Add("Cache-Control", a) != nil || h.Add("Cache-Control", b) != nil || h.Add("Cache-Control", "no-store") != nil {
			return
		}
		d, q := ParseResponse(h.Values("Cache-Control")), ParseRequest(h)
		for _, v := range []time.Duration{d.MaxAge, d.SMaxAge, d.StaleWhileRevalidate, d.StaleIfError, q.MaxAge, q.MinFresh, q.MaxStale, q.StaleIfError} {
			if v != Absent && (v < 0 || v > maxSpan) {
				t.Fatalf("%v is out of bounds", v)
			}
		}
		if !d.NoStore || !q.NoStore {
			t.Fatal("no-store is lost")
		}
		if len(d.Withheld) > MaxWithheld {
			t.Fatal("too many fields withheld")
		}
		for _, name := range d.Withheld {
			if !isToken(name) || name != strings.ToLower(name) || contains(structural, name) {
				t.Fatalf("withholds %q", name)
			}
		}
	})
}

// Every way to spell quotes that are not closed is read in linear time: a request
// may carry 64 KiB of them.
func TestHostileQuotesCostNothing(t *testing.T) {
	for _, unit := range []string{`"\",`, `\"`, `",\`, `"`, `a="\"`, `="",`} {
		h := fields(t, "Cache-Control: "+strings.Repeat(unit, 60000/len(unit)))
		began := time.Now()
		for range 10 {
			ParseRequest(h)
			ParseResponse(h.Values("Cache-Control"))
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%q repeated takes %v", unit, took/20)
		}
	}
}
