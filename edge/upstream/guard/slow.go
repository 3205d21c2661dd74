package guard

import (
	"slices"
	"time"
)

// When one of several that are alike is slow: its median is so many times the median of the
// others', and by so much worse. The median, since what is asked of a parent differs, and a
// few of its keys may come from a slow origin: a parent that is slow itself is so for all.
const (
	slowFirst    = 3
	slowFirstMin = 20 * time.Millisecond
	slowPace     = 4
	slowPaceMin  = 250 * time.Millisecond // for a MiB
	judgeEvery   = 250 * time.Millisecond
)

// verdict is what became of tiers, by name.
type verdict struct{ slow, gone map[string]bool }

// Slow reports whether a tier is much slower than the others that are asked.
func (t *Table) Slow(name string) bool { return t.current().slow[name] }

// Gone reports whether a tier is left alone, by most of the sites that ask it.
func (t *Table) Gone(name string) bool { return t.current().gone[name] }

func (t *Table) current() *verdict {
	now := t.now().UnixNano()
	judged := t.judged.Load()
	if since := time.Duration(now - judged); since.Abs() >= judgeEvery && t.judged.CompareAndSwap(judged, now) { // or the time was set back
		t.judge()
	}
	return t.verdict.Load()
}

func (t *Table) judge() {
	v := &verdict{slow: make(map[string]bool), gone: make(map[string]bool)}
	var nodes []*Node
	broken := make(map[*Node]int)
	t.mu.RLock()
	for _, n := range t.mu.nodes {
		if n.Tier {
			nodes = append(nodes, n)
		}
	}
	for _, l := range t.mu.links {
		if l.Node.Tier && l.Breaker.isBroken() {
			broken[l.Node]++
		}
	}
	for _, n := range nodes {
		if n.Reach.isBroken() || 2*broken[n] > n.links {
			v.gone[n.Name] = true
		}
	}
	t.mu.RUnlock()
	lag(nodes, func(n *Node) *Latency { return &n.First }, slowFirst, slowFirstMin, v.slow)
	lag(nodes, func(n *Node) *Latency { return &n.Pace }, slowPace, slowPaceMin, v.slow)
	t.verdict.Store(v)
}

// lag adds the nodes to slow whose latency is much worse than the others'.
func lag(nodes []*Node, of func(*Node) *Latency, times int, least time.Duration, slow map[string]bool) {
	medians := make([]time.Duration, len(nodes))
	var known []time.Duration
	for i, n := range nodes {
		if m, ok := of(n).Quantile(0.5); ok {
			medians[i] = m
			known = append(known, m)
		}
	}
	slices.Sort(known)
	for i, n := range nodes {
		if medians[i] == 0 || len(known) < 2 {
			continue
		}
		at, _ := slices.BinarySearch(known, medians[i])
		others := slices.Delete(slices.Clone(known), at, at+1)
		typical := others[(len(others)-1)/2]
		if medians[i] >= time.Duration(times)*typical && medians[i] >= typical+least {
			slow[n.Name] = true
		}
	}
}
