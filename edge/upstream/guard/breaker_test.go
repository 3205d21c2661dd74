package guard

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// failing has the breaker see n failures of connections.
func failing(t *testing.T, b *Breaker, n int) {
	t.Helper()
	for i := range n {
		p, err := b.Enter(false)
		if err != nil {
			t.Fatalf("failure %d: %v", i, err)
		}
		p.Failed(0)
	}
}

func newBreaker(c *clock) *Breaker {
	b := new(Breaker)
	b.init(c.now, never)
	return b
}

// opens reports for how long the breaker is open from now on.
func opens(t *testing.T, b *Breaker, c *clock) time.Duration {
	t.Helper()
	state, wait := b.State()
	if state != Open {
		t.Fatalf("the breaker is %s", state)
	}
	c.pass(wait - 1)
	if _, err := b.Enter(true); !errors.Is(err, ErrOpen) {
		t.Fatal("a probe gets through before its time")
	}
	c.pass(1)
	return wait
}

func probe(t *testing.T, b *Breaker) Permit {
	t.Helper()
	p, err := b.Enter(true)
	if err != nil || !p.Probe {
		t.Fatalf("no probe: %v", err)
	}
	if _, err := b.Enter(true); !errors.Is(err, ErrOpen) {
		t.Fatal("there are two probes at once")
	}
	return p
}

// TestBreakerCourse: five failures in a row open it, for longer with each probe that fails,
// and two good probes close it.
func TestBreakerCourse(t *testing.T) {
	c := newClock()
	b := newBreaker(c)
	failing(t, b, 4)
	p, _ := b.Enter(false)
	p.Passed()
	failing(t, b, 5)
	for _, want := range []time.Duration{1, 2, 3, 3, 3} {
		if wait := opens(t, b, c); wait != want*time.Second {
			t.Errorf("it is open for %s, want %d s", wait, want)
		}
		probe(t, b).Failed(7)
	}
	opens(t, b, c)
	if _, err := b.Enter(false); !errors.Is(err, ErrOpen) {
		t.Error("who must not be a probe gets through")
	}
	probe(t, b).Void() // the client went away: the next one is the probe
	probe(t, b).Passed()
	if state, _ := b.State(); state != HalfOpen {
		t.Errorf("after one good probe it is %s", state)
	}
	probe(t, b).Passed()
	if state, _ := b.State(); state != Closed {
		t.Errorf("after two good probes it is %s", state)
	}
	// It comes and goes: it is left alone for longer. After a steady time it is not.
	failing(t, b, 5)
	if wait := opens(t, b, c); wait != longestWait {
		t.Errorf("one that comes and goes is left alone for %s", wait)
	}
	probe(t, b).Passed()
	probe(t, b).Passed()
	c.pass(steady)
	failing(t, b, 5)
	if wait := opens(t, b, c); wait != firstWait {
		t.Errorf("after a steady time it is left alone for %s", wait)
	}
}

// TestBreakerForgetsOtherTimes: what began before it opened says nothing of what is now.
func TestBreakerForgetsOtherTimes(t *testing.T) {
	c := newClock()
	b := newBreaker(c)
	early, _ := b.Enter(false)
	var others [2 * failuresInRow]Permit
	for i := range others {
		others[i], _ = b.Enter(false)
	}
	failing(t, b, 5)
	early.Passed()
	c.pass(firstWait / 2)
	for _, p := range others {
		p.Failed(0)
	}
	if wait := opens(t, b, c); wait != firstWait/2 {
		t.Errorf("open for %s", wait)
	}
	p := probe(t, b)
	early.Failed(0)
	p.Passed()
	probe(t, b).Passed()
	if state, _ := b.State(); state != Closed {
		t.Errorf("it is %s", state)
	}
}

// TestBreakerByShare: one that fails more than half of many opens it though some succeed;
// one that fails a third does not, not even by chance.
func TestBreakerByShare(t *testing.T) {
	for _, share := range []float64{0.33, 0.7, 0.75} {
		c := newClock()
		b := newBreaker(c)
		r := rand.New(rand.NewPCG(3, 4))
		opened := false
		for i := range 100_000 {
			c.pass(10 * time.Millisecond)
			p, err := b.Enter(false)
			if opened = err != nil; opened {
				break
			}
			if fails := r.Float64() < share; fails && share != 0.75 || share == 0.75 && i%4 != 0 { // never five in a row
				p.Failed(r.Uint64() | 1)
			} else {
				p.Passed()
			}
		}
		if opened != (share > 0.5) {
			t.Errorf("one that fails %.2f: opened %v", share, opened)
		}
	}
}

// TestBreakerIsNotOpenedByOneKey: what fails always does not take the others away, unless
// there is nothing else to go by.
func TestBreakerIsNotOpenedByOneKey(t *testing.T) {
	c := newClock()
	b := newBreaker(c)
	for range 1000 {
		c.pass(50 * time.Millisecond)
		for range 3 {
			p, err := b.Enter(false)
			if err != nil {
				t.Fatal("one key that fails has opened it for all")
			}
			p.Failed(42)
		}
		p, err := b.Enter(false)
		if err != nil {
			t.Fatal("one key that fails has opened it for all")
		}
		p.Passed()
	}
	c.pass(time.Minute)
	for range 5 {
		p, err := b.Enter(false)
		if err != nil {
			t.Fatal(err)
		}
		p.Failed(42)
	}
	if state, _ := b.State(); state != Open {
		t.Error("nothing but failures, and it is not open")
	}
}

// TestBreakerAgainstModel: at most one probe at a time, none before its time, and the wait
// stays within its bounds, whatever happens in whatever order.
func TestBreakerAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newClock()
		b := new(Breaker)
		b.init(c.now, func() float64 { return rapid.Float64Range(0, 0.999).Draw(r, "jitter") })
		var under []Permit
		probes := func() (n int) {
			for _, p := range under {
				if p.Probe && p.epoch == b.mu.epoch {
					n++
				}
			}
			return n
		}
		r.Repeat(map[string]func(*rapid.T){
			"": func(r *rapid.T) {
				if n := probes(); n > 1 {
					r.Fatalf("%d probes at once", n)
				}
				if state, wait := b.State(); wait > time.Duration((1+jitter)*float64(longestWait)) || state == Closed && probes() > 0 {
					r.Fatalf("%s for %s, %d probes", state, wait, probes())
				}
			},
			"enter": func(r *rapid.T) {
				state, _ := b.State()
				may := rapid.Bool().Draw(r, "may probe")
				ready, free := b.ready(may), probes() == 0
				p, err := b.Enter(may)
				if want := state == Closed || state == HalfOpen && may && free; want != (err == nil) || want != ready || p.Probe != (want && state != Closed) {
					r.Fatalf("%s, may probe %v, none under way %v: %v, ready %v", state, may, free, err, ready)
				}
				if err == nil {
					under = append(under, p)
				}
			},
			"end": func(r *rapid.T) {
				if len(under) == 0 {
					return
				}
				i := rapid.IntRange(0, len(under)-1).Draw(r, "which")
				p := under[i]
				under = append(under[:i:i], under[i+1:]...)
				switch rapid.SampledFrom([]string{"passed", "failed", "void"}).Draw(r, "how") {
				case "passed":
					p.Passed()
				case "failed":
					p.Failed(rapid.Uint64Range(0, 3).Draw(r, "key"))
				default:
					p.Void()
				}
			},
			"later": func(r *rapid.T) { c.pass(time.Duration(rapid.IntRange(1, 3000).Draw(r, "ms")) * time.Millisecond) },
		})
		// A parent that is well from now on is found to be.
		for _, p := range under {
			p.Void()
		}
		c.pass(time.Duration(math.Ceil((1 + jitter) * float64(longestWait))))
		for range goodProbes {
			p, err := b.Enter(true)
			if err != nil {
				r.Fatalf("a well parent is not asked: %v", err)
			}
			p.Passed()
		}
		if state, _ := b.State(); state != Closed {
			r.Fatalf("a well parent's breaker is %s", state)
		}
	})
}
