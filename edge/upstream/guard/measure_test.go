package guard

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestBudgetIsATenth: at every moment no more was asked again than a tenth of what was asked
// first, and ten; and who wants no more than that mostly gets it.
func TestBudgetIsATenth(t *testing.T) {
	for _, perSecond := range []int{1, 30, 2000} {
		c := newClock()
		b := new(Budget)
		b.init(c.now)
		r := rand.New(rand.NewPCG(5, uint64(perSecond)))
		firsts, retries, wanted := 0, 0, 0
		for i := range perSecond * 60 {
			c.pass(time.Second / time.Duration(perSecond))
			b.First()
			firsts++
			// A storm for ten seconds, else one in fifty.
			for range 3 {
				storm := i > perSecond*20 && i < perSecond*30
				if !storm && r.Float64() > 1./150 {
					continue
				}
				if wanted++; b.Retry() {
					retries++
				}
			}
			if float64(retries) > 0.1*float64(firsts)+10.001 {
				t.Fatalf("%d a second: %d again of %d", perSecond, retries, firsts)
			}
		}
		storm := new(Budget)
		storm.init(c.now)
		again := 0
		for range perSecond * 60 {
			c.pass(time.Second / time.Duration(perSecond))
			storm.First()
			for range 3 {
				if storm.Retry() {
					again++
				}
			}
		}
		if most := 0.1*float64(perSecond*60) + 10; float64(again) > most || float64(again) < most-2 {
			t.Errorf("%d a second, all of which fail: %d again, want %.0f", perSecond, again, most)
		}
		if float64(retries) < 0.04*float64(firsts) {
			t.Errorf("%d a second: only %d again of %d", perSecond, retries, firsts)
		}
		t.Logf("%d a second: %d again of %d, %d wanted", perSecond, retries, firsts, wanted)
	}
}

// TestLatencyQuantiles: what is measured is found to a fifth, and what is old is forgotten.
func TestLatencyQuantiles(t *testing.T) {
	c := newClock()
	l := new(Latency)
	l.init(c.now)
	if _, ok := l.Quantile(0.5); ok {
		t.Error("something is known of nothing")
	}
	r := rand.New(rand.NewPCG(7, 8))
	fill := func(scale time.Duration, n int) {
		for range n {
			c.pass(time.Millisecond)
			l.Add(time.Duration(r.Float64() * float64(scale)))
		}
	}
	check := func(q float64, want time.Duration) {
		t.Helper()
		got, ok := l.Quantile(q)
		if !ok || float64(got) < 0.8*float64(want) || float64(got) > 1.25*float64(want) {
			t.Errorf("quantile %.2f: %s, want about %s", q, got, want)
		}
	}
	fill(100*time.Millisecond, 1000)
	check(0.95, 95*time.Millisecond)
	check(0.5, 50*time.Millisecond)
	fill(time.Second, 3000)
	check(0.95, 950*time.Millisecond)
	c.pass(5 * time.Minute)
	if got, ok := l.Quantile(0.5); ok {
		t.Errorf("%s is known of long ago", got)
	}
	l.Add(time.Hour)
	l.Add(-time.Second)
	fill(time.Hour, 100)
	if got, ok := l.Quantile(1); !ok || got > time.Hour {
		t.Errorf("beyond all bounds: %s", got)
	}
}

// TestSlowIsWhoIsFarBehind: of those that are alike the one is slow whose median is far
// behind; none is where all are.
func TestSlowIsWhoIsFarBehind(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, test := range []struct {
		name  string
		first []int // medians in ms; 0: not known
		pace  []int
		slow  string
	}{
		{"alike", []int{10, 12, 9}, []int{20, 30, 40}, ""},
		{"one lags", []int{10, 200, 9}, nil, "m1"},
		{"of two", []int{200, 9}, nil, "m0"},
		{"all lag", []int{800, 900, 1000}, nil, ""},
		{"far behind, but fast", []int{1, 8, 1}, nil, ""},
		{"alone", []int{500, 0, 0}, nil, ""},
		{"bodies trickle", []int{10, 10, 10}, []int{20, 30, 5000}, "m2"},
		{"two lag of five", []int{10, 500, 10, 600, 10}, nil, "m1 m3"},
	} {
		c := newClock()
		table := NewTable(c.now, never)
		for i, m := range test.first {
			l := table.Use(Peer{Name: fmt.Sprint("m", i), URL: fmt.Sprint("http://m", i), Tier: true}, "s")
			for range 30 {
				if m > 0 {
					l.Node.First.Add(ms(m))
				}
				if test.pace != nil {
					l.Node.Pace.Add(ms(test.pace[i]))
				}
			}
			l.Leave()
		}
		c.pass(time.Second)
		slow := ""
		for i := range test.first {
			if name := fmt.Sprint("m", i); table.Slow(name) {
				if slow != "" {
					slow += " "
				}
				slow += name
			}
		}
		if slow != test.slow {
			t.Errorf("%s: slow are %q, want %q", test.name, slow, test.slow)
		}
	}
}

// TestTableIsBounded: what nothing is asked of is forgotten, the oldest first; what is in
// use is not.
func TestTableIsBounded(t *testing.T) {
	c := newClock()
	table := NewTable(c.now, never)
	kept := table.Use(Peer{Name: "kept", URL: "kept"}, "site")
	for i := range 3 * MaxIdle {
		c.pass(time.Millisecond)
		table.Use(Peer{Name: fmt.Sprint(i), URL: fmt.Sprint(i)}, fmt.Sprint("site", i%7)).Leave()
		if i%1000 == 0 {
			table.Use(Peer{Name: "often", URL: "often"}, "site").Leave()
		}
	}
	if n := len(table.All()); n > MaxIdle || n < MaxIdle/2 {
		t.Errorf("%d links", n)
	}
	if len(table.mu.nodes) != len(table.All()) || len(table.mu.sites) != 8 {
		t.Errorf("%d nodes and %d sites of %d links", len(table.mu.nodes), len(table.mu.sites), len(table.All()))
	}
	if table.Look("kept", "site") != kept || table.Look("often", "site") == nil || table.Look("0", "site0") != nil {
		t.Error("the wrong ones are forgotten")
	}
	kept.Leave()
}

// TestLinkNeedsBothBreakers: a parent that cannot be reached is left alone by all sites, one
// whose answers fail by the site alone.
func TestLinkNeedsBothBreakers(t *testing.T) {
	c := newClock()
	table := NewTable(c.now, never)
	p := Peer{Name: "p", URL: "p"}
	one, other := table.Use(p, "one"), table.Use(p, "other")
	defer one.Leave()
	defer other.Leave()
	for i := range failuresInRow {
		leaves, err := one.Enter(false)
		if err != nil {
			t.Fatal(err)
		}
		leaves.Reach.Passed()
		leaves.Exchange.Failed(uint64(i + 1))
	}
	if _, err := one.Enter(true); err == nil || one.Ready(true) {
		t.Error("the site that fails asks on")
	}
	leaves, err := other.Enter(false)
	if err != nil {
		t.Fatalf("another site does not ask any more: %v", err)
	}
	leaves.Void()
	c.pass(firstWait)
	failing(t, &one.Node.Reach, failuresInRow)
	if _, err := other.Enter(true); err == nil {
		t.Error("a site asks who cannot be reached")
	}
	c.pass(firstWait)
	if state, _ := one.State(); state != HalfOpen {
		t.Errorf("state %s", state)
	}
	leaves, err = one.Enter(true)
	if err != nil || !leaves.Reach.Probe || !leaves.Exchange.Probe {
		t.Fatalf("no probe of both: %v", err)
	}
	if _, err := other.Enter(true); err == nil {
		t.Error("two probes reach for the parent")
	}
	leaves.Exchange.Failed(0) // the site's breaker is open again, the other one is not
	leaves.Reach.Void()
	if _, err := one.Enter(true); err == nil {
		t.Error("the site asks on")
	}
	if leaves, err = other.Enter(true); err != nil {
		t.Errorf("a probe that came to nothing blocks the next: %v", err)
	}
	leaves.Void()
}

// BenchmarkGuard is what a miss costs beside its request.
func BenchmarkGuard(b *testing.B) {
	table := NewTable(time.Now, rand.Float64)
	p := Peer{Name: "m1", URL: "http://127.0.0.1:80", Tier: true}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l := table.Use(p, "site")
			if err := l.Acquire(b.Context(), Bounds{Requests: 1000, Queue: 10, Wait: time.Second}); err != nil {
				b.Fatal(err)
			}
			leaves, err := l.Enter(true)
			if err != nil {
				b.Fatal(err)
			}
			l.Site.First()
			l.Node.First.Add(time.Millisecond)
			leaves.Reach.Passed()
			leaves.Exchange.Passed()
			l.Release()
			l.Leave()
		}
	})
}
