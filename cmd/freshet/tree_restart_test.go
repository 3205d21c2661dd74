package main

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"
)

// emptied is a restart of nodes that have nothing stored then.
type emptied struct {
	name     string
	down, up time.Time
	most     int // requests at the origin at once since then
}

// TestAllEdgesRestartEmptyUnderLoad: the caches lose everything while clients go on asking.
// The origin gets no more at once than it is said to bear, everybody is answered in bounded
// time, if only by 503 and when to come again, and hits are what they were as soon as what is
// asked for most is back.
func TestAllEdgesRestartEmptyUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const limit, queueTime, firstByte = 8, 2 * time.Second, 3 * time.Second
	tr := newTree(t, treePlan{edges: 2, mids: 2, origin: "  requests: 8\n  queue: 64\n  queue_time: 2s\n  first_byte: 3s\n"})
	tr.origin.short = 30 * time.Second
	keys := int(treeRate(1500, 300))
	tr.warm(keys)
	tr.origin.work = 60 * time.Millisecond // 8 at once: 133 in a second
	load := tr.load(&treeLoad{clients: 200, rate: treeRate(400, 150), keys: keys, seed: seed})
	begun := time.Now()
	<-time.After(treeShare(15*time.Second, time.Second))

	// Nodes end without a word and start anew, and the site is purged, so that nobody above
	// has anything either.
	var restarts []emptied
	restart := func(name string, nodes ...string) {
		tr.origin.mostAtOnce()
		r := emptied{name: name, down: time.Now()}
		for _, node := range nodes {
			tr.kill(node)
		}
		tr.must("purge", "--site", "tree", "--no-wait")
		for _, node := range nodes {
			tr.start(node)
		}
		for _, node := range nodes {
			within(t, 20*time.Second, func() error { return dials(tr.files[node].Listen[0]) })
		}
		r.up = time.Now()
		<-time.After(treeShare(30*time.Second, 4*time.Second))
		r.most = tr.origin.mostAtOnce()
		restarts = append(restarts, r)
	}
	restart("the edges", tr.edges...)
	if treeLong {
		restart("the edges and the mids", slices.Concat(tr.edges, tr.mids)...)
	}
	ended := time.Now()
	all := load.end()

	normal := among(all, begun, restarts[0].down.Add(-100*time.Millisecond), nil)
	t.Logf("before: %s", figures(normal))
	for i, r := range restarts {
		end := ended
		if i+1 < len(restarts) {
			end = restarts[i+1].down
		}
		// Clients whose connections were cut, or that found nobody, are not of what is asked here.
		answered := among(all, r.up, end.Add(-500*time.Millisecond), nil)
		t.Logf("%s restarted in %s: %s", r.name, r.up.Sub(r.down).Round(time.Millisecond), figures(answered))
		t.Logf("%s restarted: the origin had at most %d requests at once, its limit is %d; in each second %v",
			r.name, r.most, limit, tr.origin.perSecond(r.up, end))
		if r.most > limit {
			t.Errorf("%s restarted: the origin had %d requests at once, want at most %d", r.name, r.most, limit)
		}
		wrong, refused := 0, 0
		longest := time.Duration(0)
		for _, s := range answered {
			longest = max(longest, s.took)
			switch {
			case s.err == nil && s.status == http.StatusOK:
			case s.err == nil && s.status == http.StatusServiceUnavailable && s.after > 0:
				refused++
			default:
				if wrong++; wrong <= 5 {
					t.Logf("at %s, key %d, after %s: %d, Retry-After %s, %v %s", s.at.Format("15:04:05.000"), s.key, s.took, s.status, s.after, s.err, s.chain)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s restarted: %d requests got neither an answer nor a 503 with Retry-After", r.name, wrong)
		}
		if bound := queueTime + firstByte + time.Second; treeLong && longest > bound {
			t.Errorf("%s restarted: a client waited for %s, want at most %s", r.name, longest, bound)
		}
		recovered := time.Duration(-1)
		for at := r.up; at.Before(end.Add(-2 * time.Second)); at = at.Add(500 * time.Millisecond) {
			if now := among(all, at, at.Add(2*time.Second), nil); hitRatio(now) > hitRatio(normal)-0.1 && tookAt(now, 0.5) < 2*tookAt(normal, 0.5) {
				recovered = at.Sub(r.up)
				break
			}
		}
		t.Logf("%s restarted: %d answers 503, the longest wait %s; full speed again after %s", r.name, refused, longest.Round(time.Millisecond), recovered)
		if treeLong && recovered < 0 {
			t.Errorf("%s restarted: not at full speed again", r.name)
		}
	}
}
