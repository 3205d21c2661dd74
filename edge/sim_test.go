package edge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/bus"
	"freshet/internal/bus/memory"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/site"
)

// A history is what happens, within seconds of virtual time, to two edges, two mids and an
// origin: the product's own code, with clock (testing/synctest), transport, command log and
// files replaced. What is done, and how long each message takes, follows from a seed; the
// order of what happens at the very same moment does not.

// lie is a rule of the protocol that is taken away, so that the checker shows that it
// would notice. All but lieJoin are lies of what surrounds the product's code.
type lie int

const (
	lieNone    lie = iota
	lieFence       // parents do not get the fence, and what comes is taken for what was asked for
	lieReceipt     // what comes passes for tested at the moment at which it arrives
	lieFloor       // a gap in the log moves the clock and nothing else
	lieDurable     // what is to be synced is said to be, and is not
	lieJoin        // a request joins whatever fill is under way
	lie304         // a 304 of a tier makes what it freshens as true as the node is when it arrives
	lieUnasked     // parents do not get the fence, and say honestly what they answer with
)

func (l lie) String() string {
	return [...]string{"none", "fence", "receipt", "floor", "durable-before-acknowledge", "joining", "born of a 304", "fence alone"}[l]
}

// simNames are the nodes, edges first.
var simNames = []string{"e1", "e2", "m1", "m2"}

// simParams say what kind of history it is.
type simParams struct {
	quiet    bool // nothing fails but the log: besides, no request may
	direct   bool // edges have a way to the origin
	siblings bool
	bound    int64 // of journals: a small one forgets marks soon
	latency  time.Duration
	lag      time.Duration // of the log
	steps    int
	settles  bool // all is healed at the end, and everybody has to know everything
}

// sim is one history.
type sim struct {
	t      testing.TB
	seed   uint64
	lie    lie
	traced bool       // the trace will be wanted
	rnd    *rand.Rand // of the script, which one goroutine follows
	began  time.Time
	params simParams
	bus    *memory.Bus
	sites  *site.Snapshot
	origin *simOrigin
	nodes  []*simNode
	wg     sync.WaitGroup // of requests and ends of processes

	mu struct {
		sync.Mutex
		trace    []simEvent
		logs     map[command.LogID]int // in order
		removals []removed
		replaced time.Duration   // when the last log began
		cut      map[string]bool // "from>to"
		bad      []string
		counts   simCounts
	}
}

// simCounts are of what was done.
type simCounts struct {
	requests, errors, hits, stale, removals, kills, gaps, epochs, cuts, judged int
}

func (c *simCounts) add(d simCounts) {
	c.requests += d.requests
	c.errors += d.errors
	c.hits += d.hits
	c.stale += d.stale
	c.removals += d.removals
	c.kills += d.kills
	c.gaps += d.gaps
	c.epochs += d.epochs
	c.cuts += d.cuts
	c.judged += d.judged
}

// simEvent is a line of the trace, which is put together only if it is wanted.
type simEvent struct {
	at     time.Duration
	format string
	args   []any
}

func (w *sim) now() time.Duration { return time.Since(w.began) }

func (w *sim) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.trace = append(w.mu.trace, simEvent{w.now(), format, args})
}

func (w *sim) count(add func(c *simCounts)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	add(&w.mu.counts)
}

// violate notes a violation.
func (w *sim) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.bad = append(w.mu.bad, text)
	w.mu.trace = append(w.mu.trace, simEvent{w.now(), "VIOLATION %s", []any{text}})
}

// history is the trace as text, if only what names one of the words; all without words.
func (w *sim) history() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", w.params)
	for _, e := range w.mu.trace {
		fmt.Fprintf(&b, "%11.3fms %s\n", float64(e.at)/1e6, fmt.Sprintf(e.format, e.args...))
	}
	return b.String()
}

// simSum is a number that follows from texts and numbers.
func simSum(texts []string, numbers ...uint64) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for _, text := range texts {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * prime
		}
		h = (h ^ 255) * prime
	}
	for _, n := range numbers {
		h = (h ^ n) * prime
		h ^= h >> 29
	}
	return h ^ h>>32
}

// simExp is a random duration of that mean, at most eight times as long.
func simExp(rnd *rand.Rand, mean time.Duration) time.Duration {
	return min(time.Duration(rnd.ExpFloat64()*float64(mean)), 8*mean) + 1
}

// sleep waits.
func (w *sim) sleep(d time.Duration) {
	time.Sleep(d) // of virtual time
}

// simSleep waits; it is an error if ctx ends before that.
func simSleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outcome is what came of a history.
type outcome struct {
	counts  simCounts
	reads   int // of the origin
	bad     []string
	history string // of one with violations
}

// simulate runs one history. steps of 0 is as many as the seed says.
func simulate(t *testing.T, seed uint64, l lie, steps int, traced bool) (o outcome) {
	synctest.Test(t, func(t *testing.T) {
		w := newSim(t, seed, l)
		w.traced = traced
		if steps > 0 {
			w.params.steps = steps
		}
		w.run()
		o.counts, o.bad, o.reads = w.mu.counts, w.mu.bad, w.origin.reads()
		if traced || len(o.bad) > 0 {
			o.history = w.history()
		}
	})
	return o
}

func newSim(t testing.TB, seed uint64, l lie) *sim {
	rnd := rand.New(rand.NewPCG(seed, 1))
	w := &sim{t: t, seed: seed, lie: l, rnd: rnd, began: time.Now(), bus: memory.New()}
	w.mu.logs, w.mu.cut = make(map[command.LogID]int), make(map[string]bool)
	p := &w.params
	p.quiet = rnd.IntN(2) == 0
	p.direct = !p.quiet || rnd.IntN(2) == 0
	p.siblings = rnd.IntN(3) == 0
	p.latency = []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond}[rnd.IntN(3)]
	p.lag = []time.Duration{time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond}[rnd.IntN(3)]
	if rnd.IntN(3) == 0 {
		p.bound = 4 << 10
	}
	p.steps = 60
	p.settles = seed%4 == 0
	w.origin = newSimOrigin(w)
	w.sites = simSites()
	for i, name := range simNames {
		n := newSimNode(w, name, i)
		w.nodes = append(w.nodes, n)
	}
	w.newLog(w.bus.Replace(command.FirstOf(1)))
	return w
}

// simSites are two sites, whose origin every node can ask.
var simSites = sync.OnceValue(func() *site.Snapshot {
	var docs []*site.Document
	for _, name := range simSiteNames {
		doc, err := site.Parse(name, []byte("site: "+name+"\nhosts: ['"+name+".test']\norigin:\n  url: http://origin.test\ncache: {stale_if_error: 3s}\n"))
		if err != nil {
			panic(err)
		}
		docs = append(docs, doc)
	}
	return site.NewSnapshot(1, docs)
})

// newLog notes another log; nobody who joins it may give anything older.
func (w *sim) newLog(head bus.Head) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.mu.logs)
	w.mu.logs[head.Log], w.mu.replaced = n, w.now()
	w.mu.removals = append(w.mu.removals, removed{
		at: w.now(), pos: position{n, head.Last}, text: "new log", covers: func(*simContent) bool { return true }, all: true,
	})
}

// position is a place in all logs, one after the other.
type position struct {
	log int
	seq command.Seq
}

func (p position) before(q position) bool { return p.log < q.log || p.log == q.log && p.seq < q.seq }

// positionOf is that of a clock; false for none.
func (w *sim) positionOf(c command.Clock) (position, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, ok := w.mu.logs[c.Log]
	return position{n, c.Seq}, ok
}

// members is what all nodes are told of each other.
func (w *sim) members() []cluster.Node {
	var list []cluster.Node
	for _, n := range w.nodes {
		list = append(list, cluster.Node{
			Name: n.name, Role: n.role, PoP: "p", Region: "r", Addrs: []netip.AddrPort{n.addr}, Ready: n.alive(),
		})
	}
	return list
}

// tellMembers has all who live know who does.
func (w *sim) tellMembers() {
	list := w.members()
	for _, n := range w.nodes {
		if p := n.process(); p != nil {
			p.parents.Update(slices.Clone(list))
		}
	}
}

// run is the history from its beginning to its end.
func (w *sim) run() {
	defer w.bus.Close()
	for _, n := range w.nodes {
		n.start()
	}
	w.tellMembers()
	w.awaitReady()
	w.script()
	if w.params.settles {
		w.settle()
	}
	w.wg.Wait()
	for _, n := range w.nodes {
		n.stop()
	}
	w.wg.Wait()
}

// awaitReady waits until all live nodes are ready.
func (w *sim) awaitReady() {
	for range 60 {
		ready := true
		for _, n := range w.nodes {
			ready = ready && n.ready()
		}
		if ready {
			return
		}
		w.sleep(500 * time.Millisecond)
	}
	w.violate("not all nodes are ready after half a minute in which nothing was wrong")
}
