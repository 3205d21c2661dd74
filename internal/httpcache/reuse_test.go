package httpcache

import (
	"testing"
)

func TestReuse(t *testing.T) {
	const (
		plain   = "max-age=10"
		windows = "max-age=10, stale-while-revalidate=5, stale-if-error=20"
		strict  = "max-age=10, must-revalidate"
	)
	for _, tc := range []struct {
		name    string
		request string // its Cache-Control
		stored  string // its Cache-Control; "-" for nothing stored
		at      int
		want    Decision
	}{
		{"nothing stored", "", "-", 0, Decision{Forward, "miss", ""}},
		{"fresh", "", plain, 9, Decision{Use, "", ""}},
		{"§4.2: freshness_lifetime > current_age", "", plain, 10, Decision{Validate, "stale", ""}},
		{"RFC 5861 §3", "", windows, 12, Decision{UseAndRefresh, "", "stale-while-revalidate"}},
		{"RFC 5861 §4", "", windows, 15, Decision{ValidateElseStale, "stale", ""}},
		{"past every window", "", windows, 30, Decision{Validate, "stale", ""}},
		{"§5.2.2.4: no-cache", "", "no-cache, max-age=10", 0, Decision{Validate, "stale", ""}},

		{"§5.2.1.4: no-cache of the request", "no-cache", plain, 1, Decision{Validate, "request", "no-cache"}},
		{"no-cache, and stale", "no-cache", windows, 12, Decision{Validate, "stale", "no-cache"}},
		{"§5.2.1.1: max-age, young enough", "max-age=5", plain, 5, Decision{Use, "", ""}},
		{"§5.2.1.1: max-age, too old", "max-age=5", plain, 6, Decision{ValidateElseStale, "request", "max-age"}},
		{"§5.2.1.1: max-age=0 on arrival", "max-age=0", plain, 0, Decision{Use, "", ""}},
		{"§5.2.1.1: with max-age the client does not wish to receive a stale response", "max-age=100", windows, 12, Decision{ValidateElseStale, "stale", "max-age"}},
		{"§5.2.1.1: unless max-stale is also present", "max-age=100, max-stale=1", windows, 12, Decision{UseAndRefresh, "", "stale-while-revalidate"}},
		{"§5.2.1.3: min-fresh, fresh long enough", "min-fresh=5", plain, 5, Decision{Use, "", ""}},
		{"§5.2.1.3: min-fresh, not", "min-fresh=5", plain, 6, Decision{ValidateElseStale, "request", "min-fresh"}},
		{"§5.2.1.2: max-stale with a value", "max-stale=5", plain, 15, Decision{Use, "", "max-stale"}},
		{"§5.2.1.2: by no more than it", "max-stale=5", plain, 16, Decision{Validate, "stale", ""}},
		{"§5.2.1.2: without a value", "max-stale", plain, 1 << 29, Decision{Use, "", "max-stale"}},
		{"§5.2.2.2: must-revalidate before max-stale", "max-stale", strict, 15, Decision{Validate, "stale", ""}},
		{"§5.2.2.10: s-maxage before max-stale", "max-stale", "s-maxage=10", 15, Decision{Validate, "stale", ""}},
		{"RFC 5861 §4: stale-if-error of the request", "stale-if-error=5", plain, 12, Decision{ValidateElseStale, "stale", ""}},
		{"stale-if-error of the request, past it", "stale-if-error=5", plain, 15, Decision{Validate, "stale", ""}},
		{"stale-if-error of the request against must-revalidate", "stale-if-error=5", strict, 12, Decision{Validate, "stale", ""}},
		{"RFC 8246 §2.1: a reload of what is immutable", "max-age=0", "max-age=10, immutable", 5, Decision{Use, "", ""}},
		{"RFC 8246 §2.1: 'unless there is a signal from the client … (e.g., a no-cache'", "no-cache", "max-age=10, immutable", 5, Decision{Validate, "request", "no-cache"}},
		{"RFC 8246 §2: 'only applies during the freshness lifetime'", "max-age=0", "max-age=10, immutable", 15, Decision{Validate, "stale", "max-age"}},
		{"§5.2.1.5: no-store does not concern what is stored already", "no-store", plain, 1, Decision{Use, "", ""}},

		{"§5.2.1.7: only-if-cached and a hit", "only-if-cached", plain, 1, Decision{Use, "", ""}},
		{"§5.2.1.7: and a stale one that may be used", "only-if-cached", windows, 12, Decision{UseAndRefresh, "", "stale-while-revalidate"}},
		{"§5.2.1.7: nothing stored", "only-if-cached", "-", 0, Decision{Unsatisfiable, "miss", ""}},
		{"§5.2.1.7: must be validated", "only-if-cached", plain, 15, Decision{Unsatisfiable, "stale", ""}},
		{"§5.2.1.7: consistent with the other constraints", "only-if-cached, max-age=1", plain, 5, Decision{Unsatisfiable, "request", "max-age"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := get(t)
			if tc.request != "" {
				q = get(t, "Cache-Control: "+tc.request)
			}
			var f *Facts
			if tc.stored != "-" {
				f = factsOf(t, "Cache-Control: "+tc.stored)
			}
			for _, method := range []string{"GET", "HEAD"} {
				q.Method = method
				if got := Reuse(q, f, after(tc.at), &Policy{}); got != tc.want {
					t.Errorf("%s: got %+v, want %+v", method, got, tc.want)
				}
			}
		})
	}
}

func TestReuseByMethodAndPolicy(t *testing.T) {
	f := factsOf(t, "Cache-Control: max-age=10")
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "FROB", ""} {
		if got := Reuse(Request{method, fields(t)}, f, start, &Policy{}); got != (Decision{Forward, "method", ""}) {
			t.Errorf("%q: %+v", method, got)
		}
	}
	if got := Reuse(get(t, "Pragma: no-cache"), f, start, &Policy{}); got.Verdict != Validate {
		t.Errorf("§5.4: Pragma: no-cache gives %+v", got)
	}
	deaf := &Policy{IgnoreRequestDirectives: true}
	for _, line := range []string{"Cache-Control: no-cache", "Pragma: no-cache", "Cache-Control: only-if-cached", "Cache-Control: max-age=0"} {
		if got := Reuse(get(t, line), f, after(5), deaf); got.Verdict != Use {
			t.Errorf("%s, which the site passes over, gives %+v", line, got)
		}
	}
	if got := Reuse(get(t, "Cache-Control: max-stale"), f, after(50), deaf); got.Verdict != Validate {
		t.Errorf("max-stale, which the site passes over, gives %+v", got)
	}
}

// The common case must cost next to nothing.
func TestHitsAllocateNothing(t *testing.T) {
	f := factsOf(t, "Cache-Control: max-age=60", `ETag: "x"`, "Last-Modified: "+stamp(-100))
	plain := get(t, "Accept: text/html", "User-Agent: test", "Accept-Encoding: gzip, br", "Cookie: a=b")
	asking := get(t, "Accept: text/html", "Cache-Control: max-age=30, min-fresh=1", `If-None-Match: "y", "x"`, "If-Modified-Since: "+stamp(-100))
	p, now := &Policy{}, after(5)
	for name, q := range map[string]Request{"plain": plain, "asking": asking} {
		if n := testing.AllocsPerRun(100, func() {
			if Reuse(q, f, now, p).Verdict != Use {
				t.Fatal("no hit")
			}
			Preconditions(q, 200, f)
			SelectRange(q, 200, f, 1000)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkReuse(b *testing.B) {
	f := factsOf(b, "Cache-Control: max-age=60", `ETag: "x"`)
	q := get(b, "Host: example.com", "Accept: text/html", "User-Agent: test", "Accept-Encoding: gzip, br", "Cookie: a=b", "Accept-Language: en")
	p, now := &Policy{}, after(5)
	b.ReportAllocs()
	for b.Loop() {
		if Reuse(q, f, now, p).Verdict != Use || Preconditions(q, 200, f) != Proceed {
			b.Fatal("no hit")
		}
	}
}
