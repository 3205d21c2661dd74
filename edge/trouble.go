package edge

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// How long parents are spared for a key that nobody above had an answer for: once not at
// all, as it may be a mishap that concerns one connection, or the one request; then from
// firstTrouble to maxTrouble, twice as long each time that it is so again, drawn from a
// quarter below to a quarter above, so that keys do not come back in step. After a quiet
// maxTrouble it begins anew.
const (
	firstTrouble = time.Second
	// With the longest wait of a breaker, in which a key may have been remembered once more,
	// this comes to less than ten seconds.
	maxTrouble   = 6 * time.Second
	quietTrouble = time.Minute
)

// maxTroubles is how many keys are remembered in each of the shards.
const (
	troubleShards = 16
	maxTroubles   = 1024
)

// troubles remembers for which keys nobody above had an answer. Until the memory fades
// requests for one are answered from what is stale, if it may be used, or with the same
// error: a storm of them is one request to the parents each time. An answer for the key, or
// a purge that covers it, ends it. It is for what may be shared alone: that one client gets
// no answer says nothing of another's.
type troubles struct {
	ids    atomic.Uint64
	shards [troubleShards]struct {
		sync.Mutex
		of map[xxh3.Uint128]*trouble
	}
}

// trouble is one of them; it never changes.
type trouble struct {
	id    uint64             // no two have the same
	err   error              // to answer with; nil if it concerns those alone who can do with what is stale
	truth *response.Response // it is over when this is dead
	until time.Time
	wait  time.Duration
}

// of is what is remembered of a key, nil for nothing; it may be over.
func (t *troubles) of(key xxh3.Uint128) *trouble {
	s := &t.shards[key.Lo%troubleShards]
	s.Lock()
	defer s.Unlock()
	return s.of[key]
}

// id is that of what is remembered of a key, 0 for nothing.
func (t *troubles) id(key xxh3.Uint128) uint64 {
	if x := t.of(key); x != nil {
		return x.id
	}
	return 0
}

// end forgets a key.
func (t *troubles) end(key xxh3.Uint128) {
	s := &t.shards[key.Lo%troubleShards]
	s.Lock()
	defer s.Unlock()
	delete(s.of, key)
}

// begin remembers a key, and returns the id.
func (t *troubles) begin(key xxh3.Uint128, now time.Time, truth *response.Response, err error) uint64 {
	x := &trouble{id: t.ids.Add(1), err: err, truth: truth}
	s := &t.shards[key.Lo%troubleShards]
	s.Lock()
	defer s.Unlock()
	before := s.of[key]
	switch {
	case before != nil && now.Before(before.until): // the same once more, by who was waiting for the first
		x.wait, x.until = before.wait, before.until
	case before != nil && now.Before(before.until.Add(quietTrouble)):
		x.wait = min(max(2*before.wait, firstTrouble), maxTrouble)
		x.until = now.Add(min(x.wait*3/4+rand.N(x.wait/2), maxTrouble))
	default:
		x.until = now
	}
	if s.of == nil {
		s.of = make(map[xxh3.Uint128]*trouble)
	}
	if before == nil && len(s.of) >= maxTroubles {
		for other := range s.of { // any: to be asked once more is no harm
			delete(s.of, other)
			break
		}
	}
	s.of[key] = x
	return x.id
}

// troubled is the error of a fetch that nobody answered.
type troubled struct {
	error
	id    uint64 // of what is remembered, 0 if nothing is
	again bool   // it was tried by who had waited for another that failed
}

func (t *troubled) Unwrap() error { return t.error }

// patient is what a walk knows of troubles.
type patient struct {
	looked bool
	id     uint64 // of what it has seen when it looked
	again  bool   // it has waited for a fetch that failed, and tries itself
}

func (w *walk) troubleKey() xxh3.Uint128 { return xxh3.HashString128(w.fillKey) }

// spared answers a request without asking the parents: because nobody above had an answer a
// moment ago, or because the child wants nothing else.
func (w *walk) spared() (answered bool) {
	e := w.edge
	if w.came != nil {
		return false
	}
	if w.trusted && hop.StaleAsked(w.req.Header) {
		if !w.staleIfAlive() {
			w.unsatisfiable()
		}
		return true
	}
	x := e.troubles.of(w.troubleKey())
	w.patient.looked, w.patient.id = true, 0
	if x == nil {
		return false
	}
	w.patient.id = x.id
	now := e.now()
	if w.alone || !now.Before(x.until) || !e.table.Alive(x.truth) || !w.satisfies(x.truth) {
		return false
	}
	if w.staleIfAlive() {
		e.metrics.spared.WithLabelValues("stale").Inc()
		return true
	}
	if x.err == nil || e.fills.Refreshing(w.fillsTogether(), w.demand(1)) {
		return false // somebody is trying once more
	}
	e.metrics.spared.WithLabelValues("error").Inc()
	e.metrics.requests.failed.Inc()
	f := failureOf(x.err)
	w.status.detail, w.again, w.above = "remembered-error", x.until.Sub(now), f.above
	w.problem(f.status, f.reason, f.text)
	return true
}

func (w *walk) staleIfAlive() bool {
	return w.stale != nil && w.edge.table.Alive(w.stale) && w.serveStale()
}

// waits reports whether a refresh behind the client's back has to wait, since nobody above
// had an answer a moment ago.
func (w *walk) waits() bool {
	x := w.edge.troubles.of(w.troubleKey())
	return x != nil && w.edge.now().Before(x.until) && w.edge.table.Alive(x.truth)
}

// triesAgain reports whether one who has waited for a fetch that failed should see to it
// himself. Of all who do one fetches, and the others wait for him; that is not done twice.
func (w *walk) triesAgain(a *arrival, err error) bool {
	t := (*troubled)(nil)
	if a.leader || w.patient.again || w.ctx.Err() != nil || !errors.As(err, &t) || t.again || failureOf(err).kind == ofLimits {
		return false
	}
	w.patient = patient{looked: true, id: t.id, again: true}
	return true
}

// heed makes a fill heed, and add to, what is remembered of its key.
func (w *walk) heed(f *fill, spec *upstream.Spec, fence hop.Fence) {
	if f.alone {
		return
	}
	e, key, mine := w.edge, w.troubleKey(), w.patient
	if !mine.looked {
		mine.id = e.troubles.id(key)
	}
	settled, fetch := spec.Settled, spec.Fetch
	spec.Settled = func() bool { return e.troubles.id(key) != mine.id || settled() }
	spec.Fetch = func(ctx context.Context) (*upstream.Reply, error) {
		asked := e.stamp(fence)
		reply, err := fetch(ctx)
		return reply, f.learn(ctx, key, asked, reply, err, mine.again)
	}
}

// learn remembers how a fetch went; what it returns is the fetch's error.
func (f *fill) learn(ctx context.Context, key xxh3.Uint128, asked hop.Truth, reply *upstream.Reply, err error, again bool) error {
	e := f.edge
	switch {
	case err != nil && (ctx.Err() != nil || failureOf(err).kind != ofParent):
		return &troubled{error: err, id: e.troubles.id(key), again: again}
	case err != nil:
	case reply.Truth.IfError || reply.Status >= 500 && f.base != nil:
	default:
		e.troubles.end(key)
		return nil
	}
	truth := &response.Response{
		Key: f.key, Kind: response.Pass, Scopes: f.scopes, Log: asked.Log, Born: asked.Born, Generation: f.generation,
	}
	truth.RaiseAsOf(asked.AsOf)
	truth.RaiseTouches(f.touches)
	id := e.troubles.begin(key, e.now(), truth, err)
	if err != nil {
		return &troubled{error: err, id: id, again: again}
	}
	return nil
}

// Bounds of asking for what is stale: it is there at once or not at all.
const (
	staleConnect = time.Second
	staleAnswer  = time.Second
)

// lastResort asks one tier more, if there is one that was not asked, for what it holds of
// a key of which this node has nothing: stale as it may be when nobody has an answer. err is
// what came of asking all; request makes what the tier is asked.
func (f *fill) lastResort(ctx context.Context, parents []upstream.Parent, asked *sync.Map, fence hop.Fence,
	err error, request func(upstream.Parent) (upstream.Request, error)) (*upstream.Reply, error) {
	if ctx.Err() != nil || f.alone || f.base != nil || f.ask.ranged() || f.req.Method != http.MethodGet || failureOf(err).kind == ofClient {
		return nil, err
	}
	if httpcache.ParseRequest(f.req.Header).NoCache && !f.rules.Policy.IgnoreRequestDirectives {
		return nil, err
	}
	for _, p := range parents {
		if _, was := asked.Load(p.Name); was || p.Kind != upstream.Mid {
			continue
		}
		p.Limits.Connect, p.Limits.FirstByte, p.Limits.QueueTime = staleConnect, staleAnswer, staleAnswer
		asker := f.asker
		asker.stale = true
		stale, failed := f.edge.ask(ctx, f.doc, []upstream.Parent{p}, fence, asker, request)
		switch {
		case errors.Is(failed, upstream.ErrOpen):
			continue // it was not asked either
		case failed != nil:
			return nil, err
		case stale.Status >= 500:
			stale.Body.Close()
			return nil, err
		}
		return stale, nil
	}
	return nil, err
}
