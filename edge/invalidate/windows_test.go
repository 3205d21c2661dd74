package invalidate

import (
	"fmt"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
	"freshet/internal/header"
)

var site = command.Scope{Kind: command.ScopeSite, Site: "s"}

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

func TestAWindowBarsWhatItCoversUntilItEnds(t *testing.T) {
	table := started()
	a, b := stored(10, url("s", "/a"), site), stored(10, url("s", "/b"), site)
	e := purge(url("s", "/a"))
	e.At, e.Until = at(100), at(160)
	table.Apply(11, e)
	for _, tc := range []struct {
		r    *response.Response
		now  int64
		want bool
	}{{a, 100, true}, {a, 159, true}, {a, 160, false}, {b, 100, false}} {
		if got := table.Barred(tc.r, at(tc.now)); got != tc.want {
			t.Errorf("%v at %d: barred %t, want %t", tc.r.Scopes, tc.now, got, tc.want)
		}
	}
	e.Until = at(130) // a later command does not end it earlier
	table.Apply(12, e)
	if !table.Barred(a, at(150)) {
		t.Error("a shorter window took the place of a longer one")
	}
	if err := table.Restart(command.Clock{Log: 99, Seq: 1}); err != nil || !table.Barred(a, at(150)) {
		t.Errorf("%v; what was barred is not after a restart of the log", err)
	}
	table.windows.end(at(160).UnixMilli())
	if table.Windows() != 0 {
		t.Errorf("%d windows are left", table.Windows())
	}
}

// TestTooManyWindowsBarEverything, until the last of them ends; those that have ended make
// room before that.
func TestTooManyWindowsBarEverything(t *testing.T) {
	table := started()
	table.windows.max = 100
	r := stored(10, url("s", "/else"), command.Scope{Kind: command.ScopeAll})
	for i := range 300 {
		e := purge(url("s", fmt.Sprint("/", i)))
		e.At, e.Until = at(int64(i)), at(int64(i+50))
		table.Apply(command.Seq(11+i), e)
		if table.Barred(r, at(int64(i))) {
			t.Fatalf("barred after %d, of which 50 have not ended", i)
		}
	}
	for i := range 300 {
		e := purge(url("s", fmt.Sprint("/", i)))
		e.At, e.Until = at(300), at(int64(400+i))
		table.Apply(command.Seq(400+i), e)
	}
	if n := table.Windows(); n > 101 || !table.Barred(r, at(301)) || table.Barred(r, at(700)) {
		t.Errorf("%d windows; barred at 301: %t, at 700: %t", n, table.Barred(r, at(301)), table.Barred(r, at(700)))
	}
}

// banning is a ban by a predicate on site s.
func banning(seconds int64, m predicate.Match) Effect {
	return Effect{At: at(seconds), Bans: []Ban{{Site: "s", Match: &m}}}
}

func withKey(r *response.Response, path string, fields ...string) *response.Response {
	r.Key, r.Header = response.NewKey("s\nwww.s.example"+path), new(header.Block)
	for i := 0; i < len(fields); i += 2 {
		if err := r.Header.Add(fields[i], fields[i+1]); err != nil {
			panic(err)
		}
	}
	return r
}

func TestABanKillsWhatItsPredicateMatches(t *testing.T) {
	hosts := func(site string) []string { return map[string][]string{"s": {"www.s.example"}}[site] }
	image := predicate.Header{Name: "Content-Type", Value: "image/*"}
	for _, tc := range []struct {
		name   string
		match  predicate.Match
		path   string
		fields []string
		want   bool
	}{
		{"path", predicate.Match{Path: "/a/*.jpg"}, "/a/x.jpg?q=1", nil, true},
		{"another path", predicate.Match{Path: "/a/*.jpg"}, "/b/x.jpg", nil, false},
		{"expression", predicate.Match{PathRE: `\.jpe?g$`}, "/b/x.jpeg", nil, true},
		{"host", predicate.Match{Host: "*.example"}, "/", nil, true},
		{"another host", predicate.Match{Host: "*.other"}, "/", nil, false},
		{"field", predicate.Match{Headers: []predicate.Header{image}}, "/", []string{"content-type", "image/png"}, true},
		{"another value", predicate.Match{Headers: []predicate.Header{image}}, "/", []string{"content-type", "text/html"}, false},
		{"not all of it", predicate.Match{Path: "/b", Headers: []predicate.Header{image}}, "/", []string{"content-type", "image/png"}, false},
	} {
		for _, soft := range []bool{false, true} {
			table := started()
			table.SetHosts(hosts)
			r := withKey(stored(10, site), tc.path, tc.fields...)
			e := banning(1, tc.match)
			e.Soft = soft
			table.Apply(11, e)
			death := table.Test(r)
			if got := death == OfBan || r.Soft().Seq == 11; got != tc.want || soft && death != Living {
				t.Errorf("%s, soft %t: %q, under %+v", tc.name, soft, death, r.Soft())
			}
			if fresh := withKey(stored(11, site), tc.path, tc.fields...); !table.Alive(fresh) || fresh.Soft().Seq != 0 {
				t.Errorf("%s: what was born at the ban is not fresh", tc.name)
			}
			if f := table.FenceOf("s\nwww.s.example"+tc.path, nil); tc.want && f.Marks() != 11 {
				t.Errorf("%s: fence %+v", tc.name, f)
			}
		}
	}
}

// TestOldBansBecomeMarks: beyond a number of them what was not held against the oldest is
// dead, and what was is not.
func TestOldBansBecomeMarks(t *testing.T) {
	table := started()
	tested, untested := withKey(stored(10, site), "/x"), withKey(stored(10, site), "/x")
	for i := range 2 * MaxBans {
		if table.Apply(command.Seq(11+i), banning(1, predicate.Match{Path: fmt.Sprint("/", i)})); !table.Alive(tested) {
			t.Fatalf("dead after %d bans, of which none covers it", i)
		}
	}
	if n := table.Bans(); n != MaxBans {
		t.Errorf("%d bans are held", n)
	}
	if got := table.Test(untested); got != OfMark {
		t.Errorf("what was held against no ban: %q", got)
	}
}

// BenchmarkBans is the first test of a response after so many bans, and the next.
func BenchmarkBans(b *testing.B) {
	for _, n := range []int{1, 8, MaxBans} {
		for name, m := range map[string]predicate.Match{
			"glob":       {Path: "/images/*/thumbnails/*.jpg"},
			"expression": {PathRE: `^/images/[0-9]+/.*\.jpe?g$`},
			"field":      {Headers: []predicate.Header{{Name: "Content-Type", Value: "image/*"}}},
		} {
			b.Run(fmt.Sprintf("%s/bans=%d", name, n), func(b *testing.B) {
				table := started()
				for i := range n {
					table.Apply(command.Seq(11+i), banning(1, m))
				}
				r := withKey(stored(10, site), "/articles/2026/11/21/something-that-happened.html", "Content-Type", "text/html", "ETag", `"1"`)
				b.ReportAllocs()
				for b.Loop() {
					if hard, _ := table.banned(r, 10, 1000); hard {
						b.Fatal("banned")
					}
				}
			})
		}
	}
}
