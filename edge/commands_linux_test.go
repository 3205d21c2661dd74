package edge

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/internal/command"
)

// threadTime is what the calling thread has used so far.
func threadTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tagged starts an origin of contents with eight surrogate keys.
func tagged(b *testing.B) string {
	return startOriginTB(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Surrogate-Key", "a b c d e f g h")
		fmt.Fprint(w, "hello")
	}))
}

// tagPurge is a command of a log that was written before.
func tagPurge(site, tag string) command.Command {
	return command.Command{
		ID: "1", Kind: command.Purge, At: time.Unix(1, 0),
		Scopes: []command.Scope{{Kind: command.ScopeTag, Site: site, Value: tag}},
	}
}

// BenchmarkCommandsBesideHits serves hits of so many contents on a thread of its own, with
// 100,000 live marks, in rounds of which every other one has another thread apply 10,000
// commands a second. It reports the CPU of the thread of the hits for each, and the median
// of the ratio of a round to the one before it.
func BenchmarkCommandsBesideHits(b *testing.B) {
	const rate, round = 10_000, 50 * time.Millisecond
	for _, contents := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("contents=", contents), func(b *testing.B) {
			e := served(b, tagged(b), "")
			site := e.sites.Load().snapshot.Sites()[0].Site
			log := make([]command.Command, 50_000)
			for i := range log { // each is of a key and a group
				log[i] = tagPurge(site, fmt.Sprint("k", i))
				if err := e.Apply(e.table.Clock().Seq+1, log[i]); err != nil {
					b.Fatal(err)
				}
			}
			var lanes []*lane
			for i := range contents {
				lanes = append(lanes, newLane(b, e, asks(b, "GET", fmt.Sprint("/a/b/c", i), browserFields...)))
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			applied := 0
			var without, with, ratios []float64
			serve := func(commands bool) float64 {
				done := make(chan struct{})
				var wg sync.WaitGroup
				if commands {
					wg.Go(func() {
						runtime.LockOSThread()
						defer runtime.UnlockOSThread()
						for begun, n := time.Now(), 0; ; {
							for due := int(rate * time.Since(begun) / time.Second); n < due; n++ {
								if err := e.Apply(e.table.Clock().Seq+1, log[applied%len(log)]); err != nil {
									b.Error(err)
								}
								applied++
							}
							select {
							case <-done:
								return
							case <-time.After(time.Millisecond):
							}
						}
					})
				}
				began, n := threadTime(b), 0
				for end := time.Now().Add(round); time.Now().Before(end); {
					for range 100 {
						lanes[n%len(lanes)].serve()
						n++
					}
				}
				took := threadTime(b) - began
				close(done)
				wg.Wait()
				return float64(took) / float64(n)
			}
			for b.Loop() {
				without = append(without, serve(false))
				with = append(with, serve(true))
				ratios = append(ratios, with[len(with)-1]/without[len(without)-1])
			}
			b.ReportMetric(middle(without), "cpu-ns/hit")
			b.ReportMetric(middle(with), "cpu-ns/hit-beside")
			b.ReportMetric(middle(ratios), "ratio")
			b.ReportMetric(float64(applied)/(float64(len(with))*round.Seconds()), "commands/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func middle(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// BenchmarkTagOfMany applies purges of a surrogate key that covers 1,000,000 responses that
// an edge has stored, and, in turn with these, on another edge of one that covers one.
func BenchmarkTagOfMany(b *testing.B) {
	up := tagged(b)
	var edges [2]*Edge
	var purges [2]command.Command
	var kept [2][]response.Key
	for i, n := range []int{1, 1_000_000} {
		e := servedFrom(b, up, "", 8<<30)
		l := newLane(b, e, asks(b, "GET", "/a", browserFields...))
		site := e.sites.Load().snapshot.Sites()[0].Site
		key := response.NewKey(site + "\nh.example/a")
		one := e.store.Get(key)
		if one == nil || len(one.Scopes) < 8 {
			b.Fatalf("nothing is stored under %q: %s", key.Text, l.to.extra)
		}
		for k := range n {
			r := one.WithBody(one.Body)
			r.Key = response.NewKey(fmt.Sprint(one.Key.Text, k))
			e.store.Put(r)
			if k%1000 == 0 {
				kept[i] = append(kept[i], r.Key)
			}
		}
		if stats := e.tiers.Stats(); stats.Memory.Evicted+stats.Memory.Rejected+stats.Memory.Dropped > uint64(n/100) {
			b.Fatalf("the store does not hold them: %+v", stats.Memory)
		}
		edges[i], purges[i] = e, tagPurge(site, "a")
	}
	var took [2][]float64
	for b.Loop() {
		for i, e := range edges {
			from := time.Now()
			if err := e.Apply(e.table.Clock().Seq+1, purges[i]); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], float64(time.Since(from)))
		}
	}
	for i, e := range edges {
		for _, key := range kept[i] {
			if r := e.store.Get(key); r == nil || e.table.Test(r) != invalidate.OfMark {
				b.Fatalf("%q is not covered, or not held", key.Text)
			}
		}
	}
	b.ReportMetric(middle(took[0]), "ns/purge-of-1")
	b.ReportMetric(middle(took[1]), "ns/purge-of-1000000")
	b.ReportMetric(middle(took[1])/middle(took[0]), "ratio")
	b.ReportMetric(0, "ns/op")
}
