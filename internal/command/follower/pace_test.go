package follower

import (
	"testing"
	"time"
)

// TestPaceOfReports: a node that was quiet reports at once, each time for a while; in the
// long run it keeps to its part of what all nodes may report together.
func TestPaceOfReports(t *testing.T) {
	for nodes, want := range map[int]time.Duration{
		0: publishGap, 1: time.Millisecond, 4: time.Millisecond, 8: 2 * time.Millisecond, 40: 10 * time.Millisecond, 80: publishGap, 10_000: publishGap,
	} {
		var f Follower
		f.Among(nodes)
		if got := f.gap(); got != want {
			t.Errorf("among %d nodes: %s between reports, want %s", nodes, got, want)
		}
	}
	const gap = 10 * time.Millisecond
	var p pace
	begun := time.Unix(1000, 0)
	now := begun
	for n := range publishBurst {
		wait := p.sent(now, gap)
		if wait != publishLeast {
			t.Fatalf("report %d after quiet: the next after %s", n, wait)
		}
		now = now.Add(wait)
	}
	const many = 10_000
	for range many {
		now = now.Add(p.sent(now, gap))
	}
	if least := many * gap; now.Sub(begun) < least || now.Sub(begun) > least+publishBurst*gap {
		t.Errorf("%d reports took %s", many+publishBurst, now.Sub(begun))
	}
	now = now.Add(time.Hour)
	for n := range publishBurst - 1 {
		if wait := p.sent(now, gap); wait != publishLeast {
			t.Fatalf("report %d after an hour: the next after %s", n, wait)
		}
	}
}
