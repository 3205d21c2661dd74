package edge

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
)

// startTree is a mid and two edges below it.
func startTree(t *testing.T) (x *tiers, mid, e1, e2 *tier) {
	t.Helper()
	x = startTiers(t)
	mid = x.start(cluster.Mid, "m1", tierSecret)
	e1, e2 = x.start(cluster.Edge, "e1", tierSecret), x.start(cluster.Edge, "e2", tierSecret)
	x.knowsMid(e1)
	x.knowsMid(e2)
	return x, mid, e1, e2
}

func wantAsked(t *testing.T, o *versions, n int64) {
	t.Helper()
	if got := o.asked.Load(); got != n {
		t.Errorf("the origin was asked %d times, want %d", got, n)
	}
}

func TestTiersShareOneFetch(t *testing.T) {
	t.Parallel()
	x, _, e1, e2 := startTree(t)
	wantStatus(t, e1.want(t, "/a", 0), "freshet-m1; fwd=uri-miss; fwd-status=200; stored, freshet-e1; fwd=uri-miss")
	wantStatus(t, e2.want(t, "/a", 0), "freshet-m1; hit")
	wantStatus(t, e1.want(t, "/a", 0), "freshet-e1; hit")
	wantAsked(t, x.origin, 1)
}

func TestPurgeThatTheMidHasNotHeardOf(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	e1.want(t, "/a", 0)
	e2.want(t, "/a", 0)
	mid.log.shut(true)
	x.origin.publish("/a")
	x.applied(x.purge("/a"), e1, e2)
	wantStatus(t, e1.want(t, "/a", 1), "freshet-m1; fwd=miss")
	e2.want(t, "/a", 1)
	wantStatus(t, e1.want(t, "/a", 1), "freshet-e1; hit")
	wantAsked(t, x.origin, 2) // the mid has stored what the fence asked for
	mid.log.shut(false)
	x.applied(x.purge("/b"), mid)
	e2.want(t, "/a", 1)
	wantAsked(t, x.origin, 2)
}

func TestPurgeDuringAFillAtTheMid(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	hold := &hold{make(chan struct{}), make(chan struct{})}
	x.origin.holds.Store(hold)
	early := make(chan int, 1)
	go func() {
		v, _ := e1.fetchVersion("/a", "")
		early <- v
	}()
	<-hold.begun
	mid.log.shut(true)
	x.origin.publish("/a")
	x.applied(x.purge("/a"), e1, e2)
	e1.want(t, "/a", 1)
	e2.want(t, "/a", 1)
	close(hold.release)
	if v := <-early; v != 0 {
		t.Errorf("the request before the purge got version %d, want the one that it had begun to get", v)
	}
	// The older fill ended last, and must not have taken the newer one's place.
	e1.want(t, "/a", 1)
	e2.want(t, "/a", 1)
	mid.log.shut(false)
	x.applied(x.purge("/b"), mid, e1, e2)
	e1.want(t, "/a", 1)
	e2.want(t, "/a", 1)
	wantAsked(t, x.origin, 2)
}

func TestFreshEdgeBehindALaggingMid(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	e1.want(t, "/a", 0)
	mid.log.shut(true)
	x.origin.publish("/a")
	x.applied(x.purge("/a"), e2)
	e1.stop()
	e1 = x.start(cluster.Edge, "e1", tierSecret) // knows nothing of the purge but its floor
	x.knowsMid(e1)
	e1.want(t, "/a", 1)
	wantStatus(t, e1.want(t, "/a", 1), "freshet-e1; hit")
	wantAsked(t, x.origin, 2)
}

func TestReplacedLogThroughTheMid(t *testing.T) {
	t.Parallel()
	for _, lagging := range []bool{false, true} {
		t.Run(fmt.Sprintf("lagging=%t", lagging), func(t *testing.T) {
			x, mid, e1, e2 := startTree(t)
			x.purge("/other")
			for _, path := range []string{"/a", "/v", "/x"} {
				e1.want(t, path, 0)
				e2.want(t, path, 0)
				x.origin.publish(path) // without a purge: the log that had it is lost
			}
			asked := x.origin.asked.Load()
			mid.log.shut(lagging)
			head := x.bus.Replace(command.FirstOf(2))
			x.applied(head.Clock(), e1, e2)
			if !lagging {
				x.applied(head.Clock(), mid)
			}
			for _, path := range []string{"/a", "/v", "/x"} {
				e1.want(t, path, 1)
				e2.want(t, path, 1)
			}
			if !lagging {
				wantAsked(t, x.origin, asked+4) // each once, and /v once more to be validated
				return
			}
			mid.log.shut(false)
			x.applied(head.Clock(), mid)
			e2.want(t, "/a", 1)
		})
	}
}

func TestMidOfAnotherClusterIsNotBelieved(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	mid := x.start(cluster.Mid, "m1", "another secret, which the edge does not have")
	e1 := x.start(cluster.Edge, "e1", tierSecret)
	x.knowsMid(e1)
	mid.want(t, "/a", 0)
	x.origin.publish("/a")
	a := e1.want(t, "/a", 1)
	if strings.Contains(a.header.Get("Cache-Status"), "freshet-m1") {
		t.Errorf("the edge took the mid's answer: %s", a.header.Get("Cache-Status"))
	}
	wantAsked(t, x.origin, 2)
}

func TestHopFieldsOfStrangers(t *testing.T) {
	t.Parallel()
	x, mid, e1, _ := startTree(t)
	noneOfOurs := func(who string, h http.Header) {
		for name := range h {
			if strings.HasPrefix(name, "Freshet-") {
				t.Errorf("%s sees %s: %s", who, name, h.Get(name))
			}
		}
	}
	forged := []string{
		"Host: www.test",
		"Freshet-Hop: 00", "Freshet-Fence: log=0000000000000001, hard=99999999999999, floor=99999999999999, born=99999999999999",
		"Freshet-True: log=0000000000000001, born=1, asof=1", "Freshet-Other: x",
	}
	for _, n := range []*tier{e1, mid} {
		noneOfOurs("client", get(t, n.url+"/a", forged...).header)
		if a := get(t, n.url+"/a", forged...); !strings.Contains(a.header.Get("Cache-Status"), "freshet-"+n.name+"; hit") {
			t.Errorf("a forged fence counts at %s: %s", n.name, a.header.Get("Cache-Status"))
		}
		noneOfOurs("client of a pass", do(t, "POST", n.url+"/p", strings.NewReader("x"), forged...).header)
	}
	noneOfOurs("origin", <-x.origin.seen)
	do(t, "POST", e1.url+"/p", strings.NewReader("x"), forged...)
	noneOfOurs("origin of a pass", <-x.origin.seen)
	// What the origin says of its truth is not believed either: a purge covers it.
	x.origin.publish("/a")
	x.applied(x.purge("/a"), mid, e1)
	e1.want(t, "/a", 1)
}

// promise is that content of a path is at least of a version once a clock is applied.
type promise struct {
	log     int // of the logs of the history, counted
	seq     command.Seq
	path    string
	version int
}

// history is what happens to tiers at random.
type history struct {
	*tiers
	nodes []*tier
	paths []string
	mu    struct {
		sync.Mutex
		logs     map[command.LogID]int
		promises []promise
	}
	requests, failed, violated, purges atomic.Int64
}

var historyPaths = []string{"/a", "/b", "/e", "/t/a", "/t/b", "/v", "/w", "/x"}

// removal is a command on a path, on others that it covers as well, by any kind of scope. A
// soft one is as good as a hard one where content may not be served stale.
func removal(rnd *rand.Rand, path string) (c command.Command, covers func(string) bool) {
	covers = func(p string) bool { return p == path }
	s := command.Scope{Kind: command.ScopeURL, Site: "test", Value: path}
	c.Kind = command.Purge
	switch rnd.IntN(6) {
	case 0:
		s.Kind, s.Value = command.ScopeKey, "test\nwww.test"+path
	case 1:
		if strings.HasPrefix(path, "/t/") {
			s.Kind, s.Value = command.ScopePrefix, "/t/"
			covers = func(p string) bool { return strings.HasPrefix(p, "/t/") }
		}
	case 2:
		if strings.HasPrefix(path, "/t/") {
			s.Kind, s.Value = command.ScopeTag, []string{"one", "four and more", "seven", "eight"}[rnd.IntN(4)]
			covers = func(p string) bool { return strings.HasPrefix(p, "/t/") }
		}
	case 3:
		c.Kind = command.Ban
		s = command.Scope{Kind: command.ScopeMatch, Site: "test", Match: &predicate.Match{Path: path}}
	case 4:
		if strings.HasPrefix(path, "/t/") {
			c.Kind = command.Ban
			s = command.Scope{Kind: command.ScopeMatch, Match: &predicate.Match{Headers: []predicate.Header{{Name: "Surrogate-Key", Value: "one*"}}}}
			covers = func(p string) bool { return strings.HasPrefix(p, "/t/") }
		}
	}
	c.Scopes = []command.Scope{s}
	if rnd.IntN(2) == 0 && path != "/w" {
		if c.Kind == command.Ban {
			c.Soft = true
		} else {
			c.Kind = command.Invalidate
		}
	}
	return c, covers
}

// due is the oldest version of path that a node may give which has applied clock.
func (h *history) due(clock command.Clock, path string) (version int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	log := h.mu.logs[clock.Log]
	for _, p := range h.mu.promises {
		if p.path == path && (p.log < log || p.log == log && p.seq <= clock.Seq) {
			version = max(version, p.version)
		}
	}
	return version
}

// publishAndPurge publishes a path, and purges it or all.
func (h *history) publishAndPurge(rnd *rand.Rand) {
	path := h.paths[rnd.IntN(len(h.paths))]
	h.origin.publish(path)
	if rnd.IntN(8) == 0 {
		return // the purge is forgotten, until the next of all
	}
	of := h.origin.all()
	c, covers := removal(rnd, path)
	if rnd.IntN(10) == 0 {
		c = command.Command{Kind: command.Purge, Scopes: []command.Scope{{Kind: command.ScopeAll}}}
		covers = func(string) bool { return true }
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	clock := h.command(c)
	h.purges.Add(1)
	for p, version := range of {
		if covers(p) {
			h.mu.promises = append(h.mu.promises, promise{h.mu.logs[clock.Log], clock.Seq, p, version})
		}
	}
}

// replace loses the log: who has joined the next one may give nothing older than what
// was published by now.
func (h *history) replace() {
	of := h.origin.all()
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.mu.logs) + 1
	head := h.bus.Replace(command.FirstOf(uint32(n)))
	h.mu.logs[head.Log] = n
	for p, version := range of {
		h.mu.promises = append(h.mu.promises, promise{n, head.Last, p, version})
	}
}

// ask sends one request and holds the answer to what was promised when it left.
func (h *history) ask(rnd *rand.Rand) {
	n, path, kind := h.nodes[rnd.IntN(len(h.nodes))], h.paths[rnd.IntN(len(h.paths))], []string{"1", "2"}[rnd.IntN(2)]
	clock := n.table.Clock()
	due := h.due(clock, path)
	got, what := n.fetchVersion(path, kind)
	h.requests.Add(1)
	switch {
	case got < 0:
		h.failed.Add(1)
		h.t.Errorf("%s%s at %s: %s", n.name, path, clock, what)
	case got < due:
		h.violated.Add(1)
		h.t.Errorf("%s%s at %s: version %d, want %d or later (%s)", n.name, path, clock, got, due, what)
	}
}

// TestRandomHistoriesOfTiers: once a node has applied a purge, no later request to it
// gets what the purge was about, whatever the other nodes know by then. The seed settles
// what is done, not how it interleaves.
func TestRandomHistoriesOfTiers(t *testing.T) {
	t.Parallel()
	steps := share(40, 120)
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			x, mid, e1, e2 := startTree(t)
			h := &history{tiers: x, nodes: []*tier{mid, e1, e2}, paths: historyPaths}
			head, err := x.bus.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h.mu.logs = map[command.LogID]int{head.Log: 1}
			var clients sync.WaitGroup
			for c := range uint64(4) {
				clients.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, c+1))
					for range 2 * steps {
						h.ask(rnd)
					}
				})
			}
			h.happen(rand.New(rand.NewPCG(seed, 0)), steps, seed%2 == 1)
			clients.Wait()
			h.settle()
			t.Logf("%d requests, %d purges, %d logs, %d of the origin: %d violations, %d failures",
				h.requests.Load(), h.purges.Load(), len(h.mu.logs), x.origin.asked.Load(), h.violated.Load(), h.failed.Load())
		})
	}
}

// happen lets nodes lag and catch up, and content change, in step with the requests.
func (h *history) happen(rnd *rand.Rand, steps int, replace bool) {
	for step := range steps {
		h.wait("requests go on", func() bool { return h.requests.Load() >= int64(step*6) })
		switch n := h.nodes[rnd.IntN(len(h.nodes))]; rnd.IntN(6) {
		case 0, 1:
			n.log.shut(!n.log.isShut())
		default:
			h.publishAndPurge(rnd)
		}
		if replace && step == steps/2 {
			h.replace()
		}
	}
}

// settle lets all catch up: then everybody has the last versions that were purged.
func (h *history) settle() {
	for _, n := range h.nodes {
		n.log.shut(false)
	}
	h.mu.Lock()
	last := h.purge("")
	h.mu.Unlock()
	h.applied(last, h.nodes...)
	for path, version := range h.origin.all() {
		for _, n := range h.nodes {
			n.want(h.t, path, version)
		}
	}
}
