package httpcache

import (
	"strings"
	"testing"
	"time"
)

func TestTargetedFields(t *testing.T) {
	for _, tc := range []struct {
		name     string
		lines    []string
		targets  []string
		targeted bool
		check    func(d ResponseDirectives) bool
	}{
		{"§2.2: the first of the target list", []string{"CDN-Cache-Control: max-age=5", "Freshet-Cache-Control: max-age=9"}, []string{"Freshet-Cache-Control", "CDN-Cache-Control"}, true,
			func(d ResponseDirectives) bool { return d.MaxAge == seconds(9) }},
		{"§2.2: the next when the first is invalid", []string{"A-Cache-Control: MAX-AGE=5", "CDN-Cache-Control: max-age=9"}, []string{"A-Cache-Control", "CDN-Cache-Control"}, true,
			func(d ResponseDirectives) bool { return d.MaxAge == seconds(9) }},
		{"§2.1: an empty one is ignored", []string{"CDN-Cache-Control:", "Cache-Control: no-store"}, DefaultTargets, false,
			func(d ResponseDirectives) bool { return d.NoStore }},
		{"not on the list", []string{"CDN-Cache-Control: max-age=9", "Cache-Control: no-store"}, nil, false,
			func(d ResponseDirectives) bool { return d.NoStore && d.MaxAge == Absent }},
		{"§2.1: a parsing error anywhere", []string{"CDN-Cache-Control: max-age=9, =", "Cache-Control: max-age=1"}, DefaultTargets, false,
			func(d ResponseDirectives) bool { return d.MaxAge == seconds(1) }},
		{"§2.1: several lines are one dictionary", []string{"CDN-Cache-Control: max-age=9", "CDN-Cache-Control: must-revalidate"}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return d.MaxAge == seconds(9) && d.MustRevalidate }},
		{"RFC 9651 §4.2.2: of a key that stands twice the last counts", []string{"CDN-Cache-Control: max-age=9, max-age=3"}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return d.MaxAge == seconds(3) }},
		{"§2.1: parameters are ignored", []string{"CDN-Cache-Control: max-age=9;x=1, no-store;y"}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return d.MaxAge == seconds(9) && d.NoStore }},
		{"§2.1: a list of fields is a String", []string{`CDN-Cache-Control: no-cache="Set-Cookie, X-A"`}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return !d.NoCache && len(d.Withheld) == 2 }},
		{"§2.1: a max-age that is a String is none that could be used", []string{`CDN-Cache-Control: max-age="9"`}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return d.MaxAge == 0 }},
		{"§2.1: nor one that is a Decimal", []string{"CDN-Cache-Control: max-age=9.0"}, DefaultTargets, true, func(d ResponseDirectives) bool { return d.MaxAge == 0 }},
		{"nor a negative one", []string{"CDN-Cache-Control: max-age=-9"}, DefaultTargets, true, func(d ResponseDirectives) bool { return d.MaxAge == 0 }},
		{"nor an inner list", []string{"CDN-Cache-Control: max-age=(9)"}, DefaultTargets, true, func(d ResponseDirectives) bool { return d.MaxAge == 0 }},
		{"nor none at all", []string{"CDN-Cache-Control: max-age"}, DefaultTargets, true, func(d ResponseDirectives) bool { return d.MaxAge == 0 }},
		{"the largest Integer", []string{"CDN-Cache-Control: max-age=999999999999999"}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return d.MaxAge == MaxDelta*time.Second }},
		{"beyond the largest Integer is a parsing error", []string{"CDN-Cache-Control: max-age=9999999999999999", "Cache-Control: max-age=1"}, DefaultTargets, false,
			func(d ResponseDirectives) bool { return d.MaxAge == seconds(1) }},
		{"a restriction with a strange value still restricts", []string{"CDN-Cache-Control: no-store=1, private=(a)"}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return d.NoStore && d.Private }},
		{"false is as if it were not there", []string{"CDN-Cache-Control: no-store=?0, max-age=9"}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return !d.NoStore && d.MaxAge == seconds(9) }},
		{"the field's name in any case", []string{"cdn-cache-control: max-age=9"}, DefaultTargets, true,
			func(d ResponseDirectives) bool { return d.MaxAge == seconds(9) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := Policy{Targets: tc.targets}
			if d, targeted := p.Directives(fields(t, tc.lines...)); targeted != tc.targeted || !tc.check(d) {
				t.Errorf("targeted=%v %+v", targeted, d)
			}
		})
	}
}

// The Edge Architecture Specification, as far as a cache without ESI has a use for it.
func TestSurrogateControl(t *testing.T) {
	for _, tc := range []struct {
		name, value   string
		mine, noStore bool
		maxAge, stale time.Duration
	}{
		{"max-age", "max-age=60", true, false, seconds(60), Absent},
		{"with the time it may be stale", "max-age=60+30", true, false, seconds(60), seconds(30)},
		{"a malformed extension is none", "max-age=60+x", true, false, seconds(60), Absent},
		{"malformed", "max-age=x", true, false, 0, Absent},
		{"no-store", `content="ESI/1.0", no-store`, true, true, Absent, Absent},
		{"for another surrogate", "max-age=60;other, no-store;other", false, false, Absent, Absent},
		{"for all, and otherwise for another", "max-age=60;other, max-age=5", true, false, seconds(5), Absent},
		{"nothing for a cache", `content="ESI/1.0"`, false, false, Absent, Absent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := fields(t, "Surrogate-Control: "+tc.value)
			d, ok := (&Policy{SurrogateControl: true}).Directives(h)
			if ok != tc.mine || d.NoStore != tc.noStore || d.MaxAge != tc.maxAge || d.StaleWhileRevalidate != tc.stale || d.StaleIfError != tc.stale {
				t.Errorf("obeyed=%v %+v", ok, d)
			}
			if _, ok := new(Policy).Directives(h); ok {
				t.Error("obeyed although the site does not want it")
			}
		})
	}
}

func TestGroups(t *testing.T) {
	long := strings.Repeat("x", MaxGroupLength)
	var many []string
	for i := range MaxGroups + 5 {
		many = append(many, `"`+strings.Repeat("g", i+1)+`"`)
	}
	for _, tc := range []struct {
		name  string
		lines []string
		want  int
		first string
	}{
		{"absent", nil, 0, ""},
		{"§2: a List of Strings", []string{`Cache-Groups: "scripts", "a b"`}, 2, "scripts"},
		{"several lines", []string{`Cache-Groups: "a"`, `Cache-Groups: "b"`}, 2, "a"},
		{"§2.1: compared case sensitively", []string{`Cache-Groups: "a", "A", "a"`}, 2, "a"},
		{"§2: parameters are ignored", []string{`Cache-Groups: "a";x=1`}, 1, "a"},
		{"tokens are no Strings", []string{`Cache-Groups: "a", scripts`}, 0, ""},
		{"an inner list is no String", []string{`Cache-Groups: ("a" "b")`}, 0, ""},
		{"malformed", []string{`Cache-Groups: "a", "b`}, 0, ""},
		{"§2: at least 32 groups of 32 characters", []string{`Cache-Groups: ` + strings.Join(many[:32], ", ")}, 32, "g"},
		{"as long as the bound", []string{`Cache-Groups: "` + long + `"`}, 1, long},
		{"longer is left out", []string{`Cache-Groups: "` + long + `x", "a", ""`}, 1, "a"},
		{"more than the bound is left out", []string{`Cache-Groups: ` + strings.Join(many, ", ")}, MaxGroups, "g"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Groups(fields(t, tc.lines...))
			if len(got) != tc.want || tc.want > 0 && got[0] != tc.first {
				t.Errorf("got %q", got)
			}
		})
	}
}

// RFC 9875 §3: "MUST be ignored on responses to requests that have a safe method".
func TestInvalidatedGroups(t *testing.T) {
	h := fields(t, `Cache-Group-Invalidation: "a", "b"`)
	for _, tc := range []struct {
		method string
		status int
		want   int
	}{{"POST", 200, 2}, {"DELETE", 204, 2}, {"FROB", 303, 2}, {"POST", 400, 0}, {"POST", 503, 0}, {"GET", 200, 0}, {"HEAD", 200, 0}, {"OPTIONS", 200, 0}} {
		if got := InvalidatedGroups(tc.method, tc.status, h); len(got) != tc.want {
			t.Errorf("%s %d: %q", tc.method, tc.status, got)
		}
	}
}

// FuzzStructuredFields: foreign structured fields never panic, and what is taken
// from them is in bounds.
func FuzzStructuredFields(f *testing.F) {
	f.Add(`max-age=60, no-cache="a,b";x=1, private`, `"a", "b";p`)
	f.Add(`a=?0, b=:YQ==:, c=@123, d=%"f%c3%bc"`, `("x" "y");z`)
	f.Add("max-age=999999999999999", "")
	f.Fuzz(func(t *testing.T, dict, list string) {
		h := fields(t)
		if h.Add("CDN-Cache-Control", dict) != nil || h.Add("Surrogate-Control", dict) != nil || h.Add("Cache-Groups", list) != nil {
			return
		}
		p := Policy{Targets: DefaultTargets, SurrogateControl: true}
		d, _ := p.Directives(h)
		for _, v := range []time.Duration{d.MaxAge, d.SMaxAge, d.StaleWhileRevalidate, d.StaleIfError} {
			if v != Absent && (v < 0 || v > maxSpan) {
				t.Fatalf("%v is out of bounds", v)
			}
		}
		groups := Groups(h)
		if len(groups) > MaxGroups {
			t.Fatalf("%d groups", len(groups))
		}
		for _, g := range groups {
			if g == "" || len(g) > MaxGroupLength {
				t.Fatalf("group %q", g)
			}
		}
	})
}
