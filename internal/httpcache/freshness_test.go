package httpcache

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"freshet/internal/header"
)

func TestLifetime(t *testing.T) {
	tenth := Heuristic{Fraction: 0.1}
	hour, zero := time.Hour, time.Duration(0)
	for _, tc := range []struct {
		name   string
		status int
		lines  []string
		policy Policy
		want   time.Duration
		source LifetimeSource
	}{
		{"§4.2.1: s-maxage before max-age", 200, []string{"Cache-Control: max-age=5, s-maxage=60"}, Policy{}, seconds(60), FromSMaxAge},
		{"§4.2.1: s-maxage even when shorter", 200, []string{"Cache-Control: s-maxage=5, max-age=60"}, Policy{}, seconds(5), FromSMaxAge},
		{"§5.3: max-age makes Expires be ignored", 200, []string{"Cache-Control: max-age=5", "Expires: " + stamp(60)}, Policy{}, seconds(5), FromMaxAge},
		{"§4.2.1: Expires minus Date", 200, []string{"Expires: " + stamp(60), "Date: " + stamp(-10)}, Policy{}, seconds(70), FromExpires},
		{"§4.2.1: the time received where there is no Date", 200, []string{"Expires: " + stamp(60)}, Policy{}, seconds(60), FromExpires},
		{"§5.3: '0' has passed", 200, []string{"Expires: 0"}, Policy{DefaultLifetime: hour}, 0, FromExpires},
		{"§5.3: an empty one has passed", 200, []string{"Expires:"}, Policy{DefaultLifetime: hour}, 0, FromExpires},
		{"§5.3: one in the past", 200, []string{"Expires: " + stamp(-60)}, Policy{DefaultLifetime: hour}, 0, FromExpires},
		{"§4.2.1: of two Expires the first", 200, []string{"Expires: " + stamp(60), "Expires: " + stamp(-60)}, Policy{}, seconds(60), FromExpires},
		{"§4.2.1: two in one line are invalid", 200, []string{"Expires: " + stamp(60) + ", " + stamp(90)}, Policy{}, 0, FromExpires},
		{"Expires beyond every bound", 200, []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT"}, Policy{}, maxSpan, FromExpires},
		{"§4.2.1: no-cache is more restrictive than max-age", 200, []string{"Cache-Control: max-age=60, no-cache"}, Policy{}, 0, FromNoCache},
		{"§5.2.2.4: the qualified no-cache is not", 200, []string{`Cache-Control: max-age=60, no-cache="A"`}, Policy{}, seconds(60), FromMaxAge},

		{"§4.2.2: a tenth of the time since the modification", 200, []string{"Last-Modified: " + stamp(-1000), "Date: " + stamp(0)}, Policy{Heuristic: tenth}, seconds(100), FromHeuristic},
		{"§4.2.2: by Date, not by the own clock", 200, []string{"Last-Modified: " + stamp(-1000), "Date: " + stamp(-500)}, Policy{Heuristic: tenth}, seconds(50), FromHeuristic},
		{"the heuristic's bound", 200, []string{"Last-Modified: " + stamp(-1000000)}, Policy{Heuristic: Heuristic{0.1, hour}}, hour, FromHeuristic},
		{"modified in the future", 200, []string{"Last-Modified: " + stamp(1000)}, Policy{Heuristic: tenth}, 0, FromHeuristic},
		{"§4.2.2: MUST NOT use heuristics when an explicit time is present", 200, []string{"Last-Modified: " + stamp(-1000), "Cache-Control: max-age=0"}, Policy{Heuristic: tenth}, 0, FromMaxAge},
		{"§4.2.2: not for every status", 403, []string{"Last-Modified: " + stamp(-1000)}, Policy{Heuristic: tenth, DefaultLifetime: hour}, 0, FromNothing},
		{"§4.2.2: unless it is marked public", 403, []string{"Last-Modified: " + stamp(-1000), "Cache-Control: public"}, Policy{Heuristic: tenth}, seconds(100), FromHeuristic},
		{"heuristics are off", 200, []string{"Last-Modified: " + stamp(-1000)}, Policy{}, 0, FromNothing},
		{"Last-Modified cannot be read", 200, []string{"Last-Modified: long ago"}, Policy{Heuristic: tenth, DefaultLifetime: hour}, hour, FromDefault},
		{"the default", 404, nil, Policy{DefaultLifetime: hour}, hour, FromDefault},

		{"the status's own default", 404, []string{"Last-Modified: " + stamp(-1000)}, Policy{Heuristic: tenth, DefaultLifetime: hour, StatusLifetimes: map[int]time.Duration{404: seconds(7)}}, seconds(7), FromStatus},
		{"also for a status that has no heuristics", 503, nil, Policy{StatusLifetimes: map[int]time.Duration{503: seconds(7)}}, seconds(7), FromStatus},
		{"the response's own word goes before it", 404, []string{"Cache-Control: max-age=60"}, Policy{StatusLifetimes: map[int]time.Duration{404: seconds(7)}}, seconds(60), FromMaxAge},
		{"forced", 200, []string{"Cache-Control: max-age=60, no-cache", "Expires: 0"}, Policy{ForceLifetime: &hour}, hour, FromSite},
		{"forced to nothing", 200, []string{"Cache-Control: max-age=60"}, Policy{ForceLifetime: &zero}, 0, FromSite},
		{"errors are not forced", 500, []string{"Cache-Control: max-age=60"}, Policy{ForceLifetime: &hour}, seconds(60), FromMaxAge},

		{"RFC 9213 §2.2: a targeted field replaces Cache-Control and Expires", 200, []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store, s-maxage=5", "Expires: 0"}, Policy{Targets: DefaultTargets}, seconds(60), FromMaxAge},
		{"RFC 9213 §2.2: even when it says nothing of a lifetime", 200, []string{"CDN-Cache-Control: none", "Cache-Control: max-age=5", "Expires: " + stamp(60)}, Policy{Targets: DefaultTargets, DefaultLifetime: hour}, hour, FromDefault},
		{"RFC 9213 §2.1: an invalid one is ignored", 200, []string{"CDN-Cache-Control: max-age=&", "Cache-Control: max-age=5"}, Policy{Targets: DefaultTargets}, seconds(5), FromMaxAge},
		{"negative overrides do no harm", 200, nil, Policy{DefaultLifetime: -hour}, 0, FromNothing},
		{"overrides beyond every bound", 200, nil, Policy{DefaultLifetime: math.MaxInt64}, maxSpan, FromDefault},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _ := Assess(get(t), answer(t, tc.status, tc.lines...), &tc.policy)
			if f.Lifetime != tc.want || f.Source != tc.source {
				t.Errorf("lifetime %v from %v, want %v from %v", f.Lifetime, f.Source, tc.want, tc.source)
			}
		})
	}
}

func TestStaleWindows(t *testing.T) {
	site := Policy{StaleWhileRevalidate: seconds(10), StaleIfError: seconds(100)}
	for _, tc := range []struct {
		name, cc string
		policy   Policy
		swr, sie int
		noStale  bool
	}{
		{"none", "max-age=5", Policy{}, 0, 0, false},
		{"the site's", "max-age=5", site, 10, 100, false},
		{"RFC 5861: the response's own go before", "max-age=5, stale-while-revalidate=1, stale-if-error=0", site, 1, 0, false},
		{"malformed ones are none", "max-age=5, stale-while-revalidate=x", site, 0, 100, false},
		{"§5.2.2.2: must-revalidate", "max-age=5, must-revalidate, stale-if-error=9", site, 0, 0, true},
		{"§5.2.2.8: proxy-revalidate", "max-age=5, proxy-revalidate, stale-while-revalidate=9", site, 0, 0, true},
		{"§5.2.2.4: no-cache", "no-cache, stale-while-revalidate=9", site, 0, 0, true},
		{"§5.2.2.10: s-maxage", "s-maxage=5", site, 0, 0, true},
		{"§5.2.2.10: s-maxage and a window of the response's own", "s-maxage=5, stale-while-revalidate=3", site, 3, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _ := Assess(get(t), answer(t, 200, "Cache-Control: "+tc.cc), &tc.policy)
			if f.StaleWhileRevalidate != seconds(tc.swr) || f.StaleIfError != seconds(tc.sie) || f.NoStale != tc.noStale {
				t.Errorf("swr=%v sie=%v never=%v, want %ds %ds %v", f.StaleWhileRevalidate, f.StaleIfError, f.NoStale, tc.swr, tc.sie, tc.noStale)
			}
		})
	}
}

func TestStates(t *testing.T) {
	f := Freshness{Received: start, InitialAge: seconds(2), Lifetime: seconds(10), StaleWhileRevalidate: seconds(5), StaleIfError: seconds(20)}
	strict := f
	strict.NoStale = true
	for _, tc := range []struct {
		at           int
		want, strict State
	}{{-100, Fresh, Fresh}, {0, Fresh, Fresh}, {7, Fresh, Fresh}, {8, Revalidate, Expired}, {12, Revalidate, Expired}, {13, StaleOnFail, Expired}, {27, StaleOnFail, Expired}, {28, Expired, Expired}, {1 << 30, Expired, Expired}} {
		if got := f.At(after(tc.at)); got != tc.want {
			t.Errorf("at %d s: %v, want %v", tc.at, got, tc.want)
		}
		if got := strict.At(after(tc.at)); got != tc.strict {
			t.Errorf("at %d s, never stale: %v, want %v", tc.at, got, tc.strict)
		}
	}
	if got := f.TTL(after(3)); got != seconds(5) {
		t.Errorf("ttl = %v", got)
	}
}

func TestSourcesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for s := FromNothing; s <= FromDefault; s++ {
		if seen[s.String()] || s.String() == "" {
			t.Errorf("source %d is %q", s, s)
		}
		seen[s.String()] = true
	}
}

func TestExpiredAt(t *testing.T) {
	f := *factsOf(t, "Cache-Control: max-age=100, stale-while-revalidate=10", "Age: 5")
	g := f.ExpiredAt(after(20))
	if g.At(after(19)) != Fresh || g.At(after(20)) != Revalidate || g.At(after(29)) != Revalidate || g.At(after(30)) != Expired {
		t.Errorf("states around the mark: %v %v %v %v", g.At(after(19)), g.At(after(20)), g.At(after(29)), g.At(after(30)))
	}
	if late := f.ExpiredAt(after(1000)); late.Lifetime != f.Lifetime {
		t.Error("a mark after its life made it longer")
	}
}

// What may be said of the life of a response, as the parts of a header.
var lives = map[string][]string{
	"Cache-Control": {"", "max-age=0", "max-age=10", "s-maxage=20", "max-age=99999999999", "max-age=10, must-revalidate", "max-age=5, stale-while-revalidate=7, stale-if-error=30", "no-cache", "public", "max-age=x", `no-cache="a", max-age=3`, "s-maxage=4, stale-if-error=4"},
	"Expires":       {"", "0", stamp(-5), stamp(0), stamp(15), stamp(1 << 33)},
	"Date":          {"", "x", stamp(-1 << 33), stamp(-30), stamp(0), stamp(30)},
	"Age":           {"", "0", "7", "-1", "7, 8", "99999999999999"},
	"Last-Modified": {"", stamp(-1000), stamp(1000), "x"},
}

// For random headers, policies and clocks: what is fresh is within its lifetime,
// and with time a response never gets better.
func TestFreshnessIsMonotone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := new(header.Block)
		for _, name := range []string{"Cache-Control", "Expires", "Date", "Age", "Last-Modified"} {
			if v := rapid.SampledFrom(lives[name]).Draw(rt, name); v != "" {
				if err := h.Add(name, v); err != nil {
					rt.Fatal(err)
				}
			}
		}
		span := rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour, math.MaxInt64})
		p := Policy{
			DefaultLifetime:      span.Draw(rt, "default"),
			Heuristic:            Heuristic{rapid.SampledFrom([]float64{0, 0.1, 1, 7}).Draw(rt, "fraction"), span.Draw(rt, "max")},
			StaleWhileRevalidate: span.Draw(rt, "swr"), StaleIfError: span.Draw(rt, "sie"),
		}
		received := start.Add(time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(rt, "received")))
		sent := received.Add(-time.Duration(rapid.Int64Range(-1e10, 1e11).Draw(rt, "delay")))
		f, _ := Assess(Request{"GET", new(header.Block)}, Response{200, h, sent, received}, &p)

		offset := rapid.Int64Range(-1e11, math.MaxInt64/2)
		a, b := offset.Draw(rt, "a"), offset.Draw(rt, "b")
		first, second := received.Add(time.Duration(min(a, b))), received.Add(time.Duration(max(a, b)))
		if f.Age(first) > f.Age(second) || f.TTL(first) < f.TTL(second) {
			rt.Fatalf("age falls from %v to %v", f.Age(first), f.Age(second))
		}
		if f.At(first) > f.At(second) {
			rt.Fatalf("state gets better: %v, then %v", f.At(first), f.At(second))
		}
		for _, now := range []time.Time{first, second} {
			if (f.At(now) == Fresh) != (f.Age(now) < f.Lifetime) {
				rt.Fatalf("%v at age %v of %v", f.At(now), f.Age(now), f.Lifetime)
			}
			if f.NoStale && f.At(now) != Fresh && f.At(now) != Expired {
				rt.Fatalf("%v although it must not be used stale", f.At(now))
			}
		}
	})
}
