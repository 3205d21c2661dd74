package upstream

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// pair are two servers of one origin that may be made slow.
type pair struct {
	*testing.T
	client  *Client
	servers [2]*above
	delay   [2]atomic.Int64 // milliseconds
}

func startPair(t *testing.T) *pair {
	p := &pair{T: t, client: newTestClient(t)}
	for i := range p.servers {
		p.servers[i] = startAbove(t, Outside, fmt.Sprint("s", i), func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Duration(p.delay[i].Load()) * time.Millisecond):
			case <-r.Context().Done():
			}
			ok(w, r)
		})
		p.servers[i].Limits.Hedge = true
	}
	for i := range 60 { // so that it is known how long an answer takes
		p.ask(i)
	}
	return p
}

func (p *pair) ask(i int) time.Duration {
	began := time.Now()
	r, err := p.client.Ask(p.Context(), plan("GET", fmt.Sprint("/", i), p.servers[0].Parent, p.servers[1].Parent))
	read(p.T, r, err)
	return time.Since(began)
}

// TestHedgeWins: when a server has become slow, the other one is asked as well, after a
// moment, and its answer counts.
func TestHedgeWins(t *testing.T) {
	p := startPair(t)
	p.delay[0].Store(10_000)
	var took []time.Duration
	for i := range 5 { // within the budget
		took = append(took, p.ask(i))
	}
	if slowest := slices.Max(took); slowest > 5*time.Second {
		t.Errorf("a request took %s", slowest)
	}
	m := p.client.metrics
	if hedges, won := testutil.ToFloat64(m.hedges), testutil.ToFloat64(m.hedgesWon); hedges != 5 || won != 5 {
		t.Errorf("%v hedges, %v won", hedges, won)
	}
	await(t, "the losers are gone", func() bool { return p.servers[0].under.Load() == 0 })
	await(t, "their places are free", func() bool { return p.client.State(p.servers[0].Parent, "site").Open == 0 })
	if s := p.client.State(p.servers[0].Parent, "site"); s.Breaker != "closed" {
		t.Errorf("the slow server: %+v", s)
	}
}

// TestNoStormOfHedges: when all servers have become slow, hedges stay within the budget and
// every request gets its answer.
func TestNoStormOfHedges(t *testing.T) {
	p := startPair(t)
	p.delay[0].Store(150)
	p.delay[1].Store(150)
	before := p.servers[0].asked.Load() + p.servers[1].asked.Load()
	const flood = 400
	var all sync.WaitGroup
	for worker := range 40 {
		all.Go(func() {
			for i := range flood / 40 {
				p.ask(worker*1000 + i)
			}
		})
	}
	all.Wait()
	asked := p.servers[0].asked.Load() + p.servers[1].asked.Load() - before
	t.Logf("%d requests cost %d", flood, asked)
	if most := int64(flood + (flood+60)/10 + 10); asked > most {
		t.Errorf("%d requests cost %d, at most %d", flood, asked, most)
	}
}

// TestProbesGoOnThoughOutdone: who asks does not wait for a probe, and what it finds out
// counts all the same: of a parent that hangs there is one at a time, and one that answers
// late is found to be back.
func TestProbesGoOnThoughOutdone(t *testing.T) {
	p := startPair(t)
	p.delay[0].Store(60_000)
	s := p.servers[0]
	s.Limits.FirstByte = 300 * time.Millisecond
	p.servers[0].Limits.Hedge, p.servers[1].Limits.Hedge = false, false
	for i := 1000; p.client.State(s.Parent, "site").Breaker == "closed"; i++ {
		if i == 1020 {
			t.Fatal("a parent that hangs is asked on and on")
		}
		p.ask(i)
	}
	await(t, "a probe is due", func() bool { return p.client.State(s.Parent, "site").Breaker == "half-open" })
	await(t, "those that failed are gone", func() bool { return s.under.Load() == 0 })
	s.Limits.FirstByte = 30 * time.Second // of the probe
	s.most.Store(0)
	asked := s.asked.Load()
	for i := range 50 {
		p.ask(2000 + i)
	}
	if n, most := s.asked.Load()-asked, s.most.Load(); n != 1 || most != 1 {
		t.Errorf("%d probes, %d at once", n, most)
	}
	p.delay[0].Store(200)
	s.server.CloseClientConnections() // the probe fails
	await(t, "the probe has failed", func() bool { return p.client.State(s.Parent, "site").Breaker == "open" })
	i := 3000
	await(t, "it is found to be back", func() bool {
		i++
		p.ask(i)
		return p.client.State(s.Parent, "site").Breaker == "closed"
	})
	if state := p.client.State(s.Parent, "site"); state.Open > 1 {
		t.Errorf("%+v", state)
	}
	// Who asks may go: the try ends by its own.
	await(t, "nothing is under way", func() bool { return p.client.State(s.Parent, "site").Open == 0 })
}

// TestCloseEndsProbes: a node that ends does not wait for a parent that hangs.
func TestCloseEndsProbes(t *testing.T) {
	p := startPair(t)
	p.delay[0].Store(60_000)
	link := p.client.guard.Use(p.servers[0].peer(), "site")
	for p.client.State(p.servers[0].Parent, "site").Breaker == "closed" {
		leaves, err := link.Enter(false)
		if err != nil {
			t.Fatal(err)
		}
		leaves.Reach.Failed(0)
		leaves.Exchange.Void()
	}
	link.Leave()
	await(t, "a probe is under way", func() bool {
		p.ask(1)
		return p.client.State(p.servers[0].Parent, "site").Open == 1
	})
	began := time.Now()
	p.client.Close()
	if took := time.Since(began); took > patience {
		t.Errorf("it took %s", took)
	}
}

// TestHedgeKeepsToTheTime that who asks has: it gets what is left of it, and there is none
// when nothing is.
func TestHedgeKeepsToTheTime(t *testing.T) {
	p := startPair(t)
	beside := &try{client: p.client, parent: p.servers[0].Parent}
	for _, left := range []time.Duration{time.Minute, time.Second, 0} {
		plan := plan("GET", "/", p.servers[0].Parent, p.servers[1].Parent)
		a := &asking{client: p.client, ctx: t.Context(), plan: &plan, left: plan.Parents[1:], until: p.client.now().Add(left)}
		second := a.hedge(beside, false)
		if got := second != nil; got != (left > 0) {
			t.Errorf("with %s left there is a hedge: %t", left, got)
		}
		if second == nil {
			continue
		}
		if most := min(left, second.parent.limits().FirstByte); second.limits.FirstByte > most {
			t.Errorf("with %s left it may take %s", left, second.limits.FirstByte)
		}
		second.leaves.Void()
		second.end()
	}
}
