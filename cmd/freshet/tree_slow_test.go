package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"freshet/internal/node"
)

// TestASlowMidGetsLess: the answers of one of three mids trickle. It is asked for less, and
// clients of the other mids' keys do not notice.
func TestASlowMidGetsLess(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const slow = "mid-2"
	var link *slowLink
	tr := newTree(t, treePlan{edges: 2, mids: 3, tune: func(f *node.File) {
		if f.Name == slow {
			link = newSlowLink(t, freeAddr(t), f.Tier[0])
			f.TierAdvertise = []string{link.ln.Addr().String()}
		}
	}})
	tr.origin.short = time.Second // so the edges ask the mids again and again
	keys := int(treeRate(300, 60))
	tr.warm(keys, shortPath)
	load := tr.load(&treeLoad{clients: 100, rate: treeRate(300, 120), keys: keys, seed: seed, path: shortPath})
	<-time.After(time.Second)
	begun := time.Now()
	<-time.After(treeShare(20*time.Second, 2*time.Second))
	link.set(true)
	slowed := time.Now()
	<-time.After(treeShare(5*time.Second, time.Second)) // until it is noticed
	noticed := time.Now()
	<-time.After(treeShare(30*time.Second, 3*time.Second))
	for _, edge := range tr.edges {
		t.Logf("%s: %v retries, %v refused, %v hedges", edge, tr.metric(edge, "freshet_edge_parent_retries_total"),
			tr.metric(edge, "freshet_edge_parent_retries_refused_total"), tr.metric(edge, "freshet_edge_parent_hedges_total"))
	}
	link.set(false)
	healed := time.Now()
	<-time.After(treeShare(30*time.Second, time.Second))
	ended := time.Now()
	all := load.end()
	<-time.After(time.Second / 2) // the access logs are written four times a second

	before := tr.midRequests(begun, slowed)
	share := func(from, to time.Time) (part float64, total int) {
		of := 0
		for _, mids := range tr.midRequests(from, to) {
			for mid, n := range mids {
				total += n
				if mid == slow {
					of += n
				}
			}
		}
		return float64(of) / float64(max(1, total)), total
	}
	home := make(map[int]string)
	for key := range load.keys {
		home[key], _ = homeOf(before[shortPath(key)])
	}
	others := func(s *sample) bool { return home[s.key] != "" && home[s.key] != slow }
	own := func(s *sample) bool { return home[s.key] == slow }
	for _, p := range []struct {
		name     string
		from, to time.Time
	}{{"before", begun, slowed}, {"slow, at first", slowed, noticed}, {"slow", noticed, healed}, {"healed", healed, ended}} {
		part, total := share(p.from, p.to)
		t.Logf("%s: %.1f %% of %d requests to mids go to %s", p.name, 100*part, total, slow)
		t.Logf("  its keys:   %s", figures(among(all, p.from, p.to, own)))
		t.Logf("  other keys: %s", figures(among(all, p.from, p.to, others)))
	}
	complain(t, "a slow mid", all)
	for _, s := range among(all, begun, ended, (*sample).cut) {
		t.Errorf("key %d broke off: %v", s.key, s.err)
	}
	was, _ := share(begun, slowed)
	is, _ := share(noticed, healed)
	if was == 0 {
		t.Fatalf("%s was asked for nothing even before", slow)
	}
	if !treeLong {
		return
	}
	if is > was/2 {
		t.Errorf("the slow mid gets %.1f %% of requests, before it was %.1f %%", 100*is, 100*was)
	}
	if again, _ := share(healed.Add(15*time.Second), ended); again < was/2 {
		t.Errorf("when it is well again it gets %.1f %% of requests, before it was %.1f %%", 100*again, 100*was)
	}
	for _, s := range slowest(among(all, noticed, healed, others), 10) {
		t.Logf("%s after it was slow: edge %d, key %d of %s: head after %s, end after %s %s", s.at.Sub(slowed).Round(time.Millisecond), s.edge, s.key, home[s.key], s.first, s.took, s.chain)
	}
	p99, limit := tookAt(among(all, noticed, healed, others), 0.99), tookAt(among(all, begun, slowed, others), 0.99)*3/2
	if p99 > limit {
		t.Errorf("p99 of the other keys is %s, want at most %s", p99, limit)
	}
}
