package guard

import (
	"fmt"
	"testing"
	"time"
)

// TestTheTimeOfDayIsSetBack: what is counted over the last seconds goes on being that, and
// who is slow is found out anew, though the clock is an hour behind what it was.
func TestTheTimeOfDayIsSetBack(t *testing.T) {
	setBack := func(c *clock, quiet time.Duration) {
		c.pass(-time.Hour)
		c.pass(quiet)
	}
	t.Run("breaker", func(t *testing.T) {
		c := newClock()
		b := newBreaker(c)
		outcome := func(good bool) {
			if p, err := b.Enter(false); err == nil && good {
				p.Passed()
			} else if err == nil {
				p.Failed(0)
			}
		}
		for range 100 {
			outcome(true)
		}
		setBack(c, 0)
		outcome(true)
		c.pass((window + 1) * time.Second)
		for range windowTries {
			outcome(true)
			outcome(false)
			outcome(false)
		}
		if state, _ := b.State(); state != Open {
			t.Errorf("after two failures in three for a window it is %s", state)
		}
	})
	t.Run("budget", func(t *testing.T) {
		c := newClock()
		b := new(Budget)
		b.init(c.now)
		for range 1000 {
			b.First()
		}
		setBack(c, 0)
		b.First()
		c.pass((window + 1) * time.Second)
		if n := b.Left(); n != retriesMin {
			t.Errorf("a window after the last request %d are left, want %d", n, retriesMin)
		}
	})
	t.Run("slow", func(t *testing.T) {
		c := newClock()
		table := NewTable(c.now, never)
		seen := func(first ...time.Duration) {
			for i, d := range first {
				l := table.Use(Peer{Name: fmt.Sprint("m", i), URL: fmt.Sprint("http://m", i), Tier: true}, "s")
				for range 30 {
					l.Node.First.Add(d)
				}
				l.Leave()
			}
		}
		seen(time.Millisecond, time.Millisecond)
		table.Slow("m1")
		setBack(c, time.Second)
		seen(time.Millisecond, time.Second)
		seen(time.Millisecond, time.Second)
		if !table.Slow("m1") {
			t.Error("who has become slow is not found out")
		}
	})
}
