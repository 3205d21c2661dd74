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
	tr.warm(keys, treePath)
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
		bound := limit
		if i > 0 {
			// While all mids are dead the edges ask for themselves, and when the mids are back the
			// parts of both are under way for a moment.
			bound = 2 * limit
		}
		if r.most > bound {
			t.Errorf("%s restarted: the origin had %d requests at once, want at most %d", r.name, r.most, bound)
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
		if most := queueTime + firstByte + time.Second; treeLong && longest > most {
			t.Errorf("%s restarted: a client waited for %s, want at most %s", r.name, longest, most)
		}
		// Half of all requests are for so many keys.
		hot := func(s *sample) bool { return s.key*s.key < keys }
		fetched := make(map[[2]int]time.Time) // by edge and key
		back := r.up
		is := among(answered, r.up, end, func(s *sample) bool {
			if !hot(s) {
				return false
			}
			id := [2]int{s.edge, s.key}
			at, ok := fetched[id]
			if !ok {
				fetched[id] = s.at.Add(s.took)
				back = s.at.Add(s.took)
			}
			return ok && s.at.After(at)
		})
		was := among(normal, begun, ended, hot)
		t.Logf("%s restarted: %d answers 503, the longest wait %s; what half of the requests are for has all been asked for after %s: before %.1f %% hits, p50 %s, p99 %s, and once it was asked for %.1f %% hits, p50 %s, p99 %s",
			r.name, refused, longest.Round(time.Millisecond), back.Sub(r.up).Round(time.Millisecond), 100*hitRatio(was), tookAt(was, 0.5), tookAt(was, 0.99), 100*hitRatio(is), tookAt(is, 0.5), tookAt(is, 0.99))
		if len(is) == 0 || hitRatio(is) < hitRatio(was)-0.03 {
			t.Errorf("%s restarted: what is asked for most is not back: %.1f %% hits of %d", r.name, 100*hitRatio(is), len(is))
		}
	}
}
