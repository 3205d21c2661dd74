package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/distributor/client"
)

// killNodes kills nodes and starts them again, one after the other, until ctx ends: half of
// them when a command has just been acknowledged.
func (c *changing) killNodes(ctx context.Context, r *rand.Rand, pause time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(r.Int64N(int64(2 * pause)))):
		}
		covered := []int{r.IntN(len(c.paths))}
		if r.IntN(2) == 0 {
			select {
			case <-ctx.Done():
				return
			case covered = <-c.acknowledged:
			}
		}
		name := c.nodes[r.IntN(len(c.nodes))]
		if r.IntN(4) == 0 {
			name = "distributor-1"
		}
		c.kill(name)
		c.kills[string(c.files[name].Role)]++
		bus := c.links["bus of "+name]
		alone := bus != nil && r.IntN(2) == 0 // then it has nothing but what it made durable
		if alone {
			bus.put(linkCut)
		}
		<-time.After(time.Duration(r.IntN(800)) * time.Millisecond)
		c.tree.start(name)
		if alone { // it takes a moment before it goes on without the bus
			c.alone(ctx, name, covered)
			bus.put(linkWell)
		}
	}
}

// alone asks a node without the bus for what was covered until it answers, from what it has
// made durable, and for a little longer; not for ever.
func (c *changing) alone(ctx context.Context, name string, covered []int) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	until, answers := time.Now().Add(8*time.Second), 0
	for n := 0; ctx.Err() == nil && time.Now().Before(until); n++ {
		if _, err := c.ask(client, slices.Index(c.nodes, name), covered[n%len(covered)]); err == nil {
			if answers++; answers == 1 {
				until = time.Now().Add(time.Second)
				c.aloneAnswers++
			}
		}
		<-time.After(10 * time.Millisecond)
	}
}

// cutLinks holds and cuts links, one after the other, until ctx ends.
func (c *changing) cutLinks(ctx context.Context, r *rand.Rand, pause time.Duration) {
	var names []string
	for name := range c.links {
		names = append(names, name)
	}
	slices.Sort(names)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(r.Int64N(int64(2 * pause)))):
		}
		name, state, what := names[r.IntN(len(names))], linkCut, "cut"
		if r.IntN(2) == 0 {
			state, what = linkHeld, "held"
		}
		c.links[name].put(state)
		kind, _, _ := strings.Cut(name, " ")
		c.cuts[kind+" "+what]++
		<-time.After(time.Duration(100+r.IntN(1500)) * time.Millisecond)
		c.links[name].put(linkWell)
	}
}

// TestNothingIsStaleAfterAcknowledge: what a node has acknowledged the removal of it never
// gives again, and no other node hands it back: by URL, key, prefix, surrogate key,
// predicate and site, while edges, mids and the distributor are killed by kill -9 and links
// between tiers and to the bus are cut and held. What was only invalidated is used within
// its window, and no longer.
func TestNothingIsStaleAfterAcknowledge(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	purges, pause := 25, 250*time.Millisecond // beside these there are invalidations
	if treeLong {
		purges = 1000
	}
	r := rand.New(rand.NewPCG(seed, 0))
	c := newChanging(t, r, 3, 2)
	ctx, stop := context.WithCancel(t.Context())
	var loads, faults sync.WaitGroup
	for i := range uint64(8) {
		loads.Go(func() { c.load(ctx, seed+i, 20*time.Millisecond) })
	}
	faulty, mend := context.WithCancel(ctx)
	faults.Go(func() { c.killNodes(faulty, rand.New(rand.NewPCG(seed, 2)), time.Second) })
	faults.Go(func() { c.cutLinks(faulty, rand.New(rand.NewPCG(seed, 3)), time.Second) })
	begun, kinds := time.Now(), make(map[string]int)
	acknowledged, given := 0, 0
	for hard := 0; hard < purges; given++ {
		<-time.After(time.Duration(r.Int64N(int64(2 * pause))))
		req, covered := c.removal(r)
		req.Timeout = time.Duration(100+r.IntN(400)) * time.Millisecond
		receipt, err := c.remove(ctx, req, covered)
		if err != nil {
			t.Error(err)
			break
		}
		if isSoft(req) {
			kinds["soft "+req.Kind]++
		} else {
			kinds[req.Kind]++
			hard++
		}
		for _, n := range receipt.Nodes {
			if n.State == client.Applied {
				acknowledged++
			}
		}
	}
	took := time.Since(begun)
	mend()
	faults.Wait()
	// When all is well again every node acknowledges all that there was.
	within(t, 60*time.Second, func() error {
		receipt, err := c.remove(ctx, client.CommandRequest{Kind: "purge", Sites: []string{changingSite}, Timeout: 2 * time.Second}, []int{0})
		if err == nil && !receipt.Complete {
			err = fmt.Errorf("not all have acknowledged: %+v", receipt.Nodes)
		}
		return err
	})
	<-time.After(2 * staleWindow)
	stop()
	loads.Wait()
	last := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for node, name := range c.nodes {
		for i := range c.paths {
			within(t, 20*time.Second, func() error {
				version, err := c.ask(last, node, i)
				if want := c.versions[i].Load(); err == nil && version != want {
					err = fmt.Errorf("%s %s is at version %d in the end, want %d", name, c.paths[i], version, want)
				}
				return err
			})
		}
	}
	t.Logf("%d commands in %s (%v), %d acknowledged by every node at once, %d acknowledgements; kill -9 of %v, %d of them back without the bus; links %v",
		given, took.Round(time.Second), kinds, c.whole.Load(), acknowledged, c.kills, c.aloneAnswers, c.cuts)
	t.Logf("%d answers, %d of them hits, %d of an older version than the origin's; %d errors",
		c.answers.Load(), c.hits.Load(), c.older.Load(), c.errors.Load())
	if acknowledged < given || c.hits.Load() == 0 || c.older.Load() == 0 {
		t.Error("too little happened to prove anything")
	}
}
