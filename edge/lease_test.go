package edge

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/command"
)

// TestPurgeLeaseOfLargeContents: a content in slices is not used either, whole or in part,
// though all its slices are stored.
func TestPurgeLeaseOfLargeContents(t *testing.T) {
	t.Parallel()
	x, mid, e1, _ := startLargeTree(t)
	x.lagging("purge_lease: 5s")
	ranges := []string{"", "bytes=1000000-2500000", "bytes=-10", "bytes=0-", "bytes=1048576-"}
	var paths []string
	for _, path := range []string{"/l", "/w", "/s"} {
		for i := range ranges {
			paths = append(paths, path+string(rune('0'+i)))
			e1.wantLarge(t, paths[len(paths)-1], "", 0)
		}
	}
	x.wait("the lease is known", func() bool {
		doc := e1.sites.Load().snapshot.ByName("test")
		return doc != nil && doc.Cache.PurgeLease > 0
	})
	e1.log.shut(true)
	for _, path := range paths {
		x.origin.publish(path)
		x.applied(x.purge(path), mid)
	}
	x.silent(e1, 5*time.Second)
	for i, path := range paths {
		e1.wantLarge(t, path, ranges[i%len(ranges)], 1)
		e1.wantLarge(t, path, "", 1)
	}
}

// TestRandomCutsUnderALease: nodes of a tree are cut off and hear again at random, while
// contents are published and purged. Whoever asks later than a purge and its lapse gets
// nothing older, of any node; and nodes that hear serve from what is stored.
func TestRandomCutsUnderALease(t *testing.T) {
	t.Parallel()
	const lease = 5 * time.Second
	seed := uint64(time.Now().UnixNano())
	x, mid, e1, e2 := startTree(t)
	x.lagging("purge_lease: 5s")
	nodes, paths := []*tier{mid, e1, e2}, []string{"/v", "/w", "/e", "/s", "/plain", "/x"}
	for _, n := range nodes {
		x.wait("the lease is known", func() bool {
			doc := n.sites.Load().snapshot.ByName("test")
			return doc != nil && doc.Cache.PurgeLease > 0
		})
	}
	type purge struct {
		at      time.Time // after it was appended
		version int
	}
	var mu sync.Mutex
	purges := make(map[string][]purge)
	due := func(path string, now time.Time) (version int) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range purges[path] {
			if now.Sub(p.at) >= command.Lapse(lease) {
				version = max(version, p.version)
			}
		}
		return version
	}
	var requests, hits, late, failed atomic.Int64
	end := time.Now().Add(25 * time.Second)
	var clients sync.WaitGroup
	for c := range uint64(4) {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, c+1))
			for time.Now().Before(end) {
				n, path := nodes[1+rnd.IntN(2)], paths[rnd.IntN(len(paths))]
				began := time.Now()
				silent := n.follower.Silent(began) > lease
				version, says := n.fetchVersion(path, []string{"one", "two"}[rnd.IntN(2)])
				requests.Add(1)
				switch least := due(path, began); {
				case version < 0:
					failed.Add(1)
				case version < least:
					t.Errorf("seed %d: %s%s: version %d, want %d (%s)", seed, n.name, path, version, least, says)
				case silent:
					late.Add(1)
				case says != "":
					hits.Add(1)
				}
				<-time.After(time.Duration(rnd.IntN(4)) * time.Millisecond)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	cuts := map[*tier]time.Time{} // until when
	for time.Now().Before(end) {
		for _, n := range nodes {
			if until := cuts[n]; time.Now().After(until) {
				cut := !n.log.isShut()
				n.log.shut(cut)
				cuts[n] = time.Now().Add(2*time.Second + time.Duration(rnd.IntN(12000))*time.Millisecond)
			}
		}
		path := paths[rnd.IntN(len(paths))]
		version := x.origin.publish(path)
		x.purge(path)
		mu.Lock()
		purges[path] = append(purges[path], purge{time.Now(), version})
		mu.Unlock()
		<-time.After(time.Duration(20+rnd.IntN(80)) * time.Millisecond)
	}
	clients.Wait()
	for _, n := range nodes {
		n.log.shut(false)
	}
	t.Logf("%d requests, %d of nodes whose lease was over, %d failed", requests.Load(), late.Load(), failed.Load())
	if late.Load() < 10 || failed.Load() > requests.Load()/10 {
		t.Errorf("seed %d: %d of %d requests were after a lease, %d failed: that shows little", seed, late.Load(), requests.Load(), failed.Load())
	}
}
