package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/distributor/client"
	"freshet/internal/node"
)

// purgeTimes are what purges took: the answers that waited for every node, and the receipts
// of each node in them.
type purgeTimes struct {
	mu       sync.Mutex
	answers  []time.Duration
	receipts []time.Duration
	partial  int
}

func (p *purgeTimes) give(t *testing.T, api *client.Client, n int) {
	begun := time.Now()
	r, err := api.Command(t.Context(), client.CommandRequest{Kind: "purge", Tags: []client.Tag{{Site: "tree", Tag: fmt.Sprint("tag-", n)}}})
	took := time.Since(begun)
	if err != nil {
		t.Error(err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = append(p.answers, took)
	for _, node := range r.Nodes {
		if node.State == client.Applied {
			p.receipts = append(p.receipts, time.Duration(node.TookMS*float64(time.Millisecond)))
		}
	}
	if !r.Complete || len(r.Nodes) != 8 {
		p.partial++
	}
}

func atPart(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))].Round(10 * time.Microsecond)
}

// report logs the figures and holds them against what is promised.
func (p *purgeTimes) report(t *testing.T, what string) {
	t.Helper()
	for _, f := range []struct {
		name string
		took []time.Duration
	}{{"answers", p.answers}, {"receipts", p.receipts}} {
		p50, p99 := atPart(f.took, 0.5), atPart(f.took, 0.99)
		t.Logf("%-22s %-8s %5d: p50 %s, p90 %s, p99 %s, longest %s", what, f.name, len(f.took), p50, atPart(f.took, 0.9), p99, atPart(f.took, 1))
		if p50 > 5*time.Millisecond || p99 > 50*time.Millisecond {
			t.Errorf("%s: the %s are not within p50 5 ms, p99 50 ms", what, f.name)
		}
	}
	if p.partial > 0 {
		t.Errorf("%s: %d purges were not applied by all 8 nodes", what, p.partial)
	}
}

// TestPurgeLatency measures how long it takes from the call of the API until 6 edges and 2
// mids, processes of their own, have applied a purge and it is durable on each: one after
// the other, and 50 a second, while clients get hits.
func TestPurgeLatency(t *testing.T) {
	if os.Getenv("FRESHET_BENCH") == "" {
		t.Skip("it measures: make bench-purge runs it")
	}
	tr := newTree(t, treePlan{edges: 6, mids: 2, tune: func(f *node.File) { f.Log.Level = "warn" }})
	const keys, purges = 100, 1000
	long := func(key int) string { return fmt.Sprint("/l/", key) }
	tr.warm(keys, long)
	api := client.New(tr.dev.api(), tr.dev.token)
	defer api.Close()
	machine := func() string {
		text, err := os.ReadFile("/proc/loadavg")
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(string(text))
	}
	one := func(what string) {
		var p purgeTimes
		for n := range purges {
			p.give(t, api, n)
		}
		t.Logf("%s: load average %s", what, machine())
		p.report(t, what)
	}
	one("one by one, no clients")
	load := tr.load(&treeLoad{clients: 12, rate: 200, keys: keys, seed: rand.Uint64(), path: long})
	one("one by one")
	var p purgeTimes
	var given sync.WaitGroup
	for n, begun := 0, time.Now(); n < purges; n++ {
		<-time.After(time.Until(begun.Add(time.Duration(n) * time.Second / 50)))
		given.Go(func() { p.give(t, api, purges+n) })
	}
	given.Wait()
	t.Logf("50 a second: load average %s", machine())
	p.report(t, "50 a second")
	all := load.end()
	t.Logf("clients meanwhile: %s", figures(all))
	for _, s := range all {
		if s.err != nil || s.status != http.StatusOK {
			t.Errorf("key %d: %d %v", s.key, s.status, s.err)
			break
		}
	}
}
