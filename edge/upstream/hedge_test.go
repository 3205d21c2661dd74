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
	if s := p.client.State(p.servers[0].Parent, "site"); s.Open != 0 || s.Breaker != "closed" {
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
