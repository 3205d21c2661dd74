package edge

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	historySeed  = flag.Int64("seed", -1, "of the one history to run, which is printed (TestHistories)")
	historyCount = flag.Int("histories", 0, "how many histories to run (TestHistories), the first has the seed of -from")
	historyFrom  = flag.Uint64("from", 1, "see -histories")
)

// foundHistories are seeds of histories that have shown what was wrong. What a seed stands
// for changes with the generator; the faults have tests of their own.
var foundHistories = map[string][]uint64{
	"an answer to a HEAD, which nobody keeps, was not tested where it arrived":                      {282},
	"what was asked of a new log was tested as if the request had arrived with it, again and again": {2000299},
}

// countHistories is how many histories are run: few among the other tests, as many as
// FRESHET_TEST_HISTORIES says (10,000 in make test), a million with FRESHET_TEST_LONG.
func countHistories() int {
	if *historyCount > 0 {
		return *historyCount
	}
	if n, err := strconv.Atoi(os.Getenv("FRESHET_TEST_HISTORIES")); err == nil {
		return n
	}
	if raceEnabled {
		return share(100, 5000)
	}
	return share(1000, 1_000_000)
}

// TestHistories: over random histories of publishing, removals by every kind of scope,
// fills, requests, restarts and power cuts, of a log that is late, has gaps and is replaced,
// and of cut links, nobody gets from a node what that node had acknowledged the removal of
// before the request arrived; and where nothing is wrong but the log, every request has an
// answer and waits for nothing that is not for it.
//
//	go test ./edge -run TestHistories -seed N      one history, printed
//	go test ./edge -run TestHistories -histories N -from M
func TestHistories(t *testing.T) {
	if *historySeed >= 0 {
		o := simulate(t, uint64(*historySeed), lieNone, 0, true)
		t.Logf("%s\n%+v, %d reads of the origin", o.history, o.counts, o.reads)
		for _, bad := range o.bad {
			t.Error(bad)
		}
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // they are short, and make much garbage
	seeds := make(chan uint64)
	go func() {
		defer close(seeds)
		for _, list := range foundHistories {
			for _, seed := range list {
				seeds <- seed
			}
		}
		for i := range countHistories() {
			seeds <- *historyFrom + uint64(i)
		}
	}()
	began := time.Now()
	var all struct {
		sync.Mutex
		simCounts
		histories, reads, failed int
	}
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for seed := range seeds {
				o := simulate(t, seed, lieNone, 0, false)
				all.Lock()
				all.add(o.counts)
				all.histories++
				all.reads += o.reads
				if len(o.bad) > 0 {
					all.failed++
					report(t, seed, o, all.failed == 1)
				}
				if all.histories%10_000 == 0 {
					t.Logf("%d histories in %s, %d failed", all.histories, time.Since(began).Truncate(time.Second), all.failed)
				}
				all.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d histories: %+v, %d reads of the origin; %d failed; %s", all.histories, all.simCounts, all.reads, all.failed, time.Since(began).Truncate(time.Millisecond))
	if c := all.simCounts; c.hits < c.requests/5 || c.requests < 20*all.histories || c.errors > c.requests/10 {
		t.Errorf("too little is shown by %+v", c)
	}
}

// report says what is wrong with a history, and prints the shortest beginning of one that
// still shows it.
func report(t *testing.T, seed uint64, o outcome, whole bool) {
	t.Errorf("seed %d: %s\nagain: go test ./edge -run TestHistories -seed %d", seed, strings.Join(o.bad, "\n\t"), seed)
	if !whole {
		return
	}
	for steps := 1; steps < 60; steps++ {
		if shorter := simulate(t, seed, lieNone, steps, false); len(shorter.bad) > 0 {
			o = shorter
			break
		}
	}
	t.Logf("seed %d:\n%s", seed, o.history)
}

// TestCheckerFindsTakenRules: the checker notices within 1,000 histories when any one rule
// of the protocol is taken away.
func TestCheckerFindsTakenRules(t *testing.T) {
	if raceEnabled {
		t.Skip("it is slow, and TestHistories has the same code run under the race detector")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, l := range []lie{lieFence, lieUnasked, lieReceipt, lieFloor, lieDurable, lieJoin, lie304} {
		t.Run(strings.ReplaceAll(l.String(), " ", "-"), func(t *testing.T) {
			const most = 1000
			var next, first atomic.Uint64
			first.Store(most + 1)
			var workers sync.WaitGroup
			var mu sync.Mutex
			what := ""
			for range 2 {
				workers.Go(func() {
					for {
						seed := next.Add(1)
						if seed >= first.Load() || seed > most {
							return
						}
						if o := simulate(t, seed, l, 0, false); len(o.bad) > 0 {
							mu.Lock()
							if seed < first.Load() {
								first.Store(seed)
								what = o.bad[0]
							}
							mu.Unlock()
						}
					}
				})
			}
			workers.Wait()
			if first.Load() > most {
				t.Fatalf("%d histories do not show that the rule is gone", most)
			}
			t.Log(fmt.Sprintf("found after %d histories: ", first.Load()), what)
		})
	}
}
