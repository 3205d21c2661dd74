package edge

import (
	"context"
	"errors"
	"sync"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/policy"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
	"freshet/internal/site"
)

// A request walks through these steps. Each either ends the walk with an answer or
// hands on to the next:
//
//	enter    whose host is it (421), has it been here before (508), what does the site
//	         say of it (refused, redirected, passed on without caching)
//	recall   what is stored for it, still true, and true enough for who asks?
//	           usable as it is                -> hit
//	           within stale-while-revalidate  -> hit, and a refresh behind it
//	           wanted from the cache alone    -> 504
//	spared   has nobody above had an answer for it a moment ago?
//	           -> what is stale, if it may be used then, else 502/504
//	fetch    join the fill for its key or start one (a conditional one, where something
//	         is stored that can be validated), and wait for the head
//	           nobody answers -> what is stale, if it may be used then; else one of those
//	                             who waited tries again for all; else 502/504
//	judge    is what arrived for this request, and true as of its arrival?
//	           no  -> recall again, asking for more; the third time past every cache
//	           yes -> deliver, while it is still arriving
//
// maxAttempts is how often judge may send a request back.
const maxAttempts = 4

// fenceWait is how long a tier waits for its log when a child already knows more.
const fenceWait = 50 * time.Millisecond

// walk is one request on its way through the steps. It begins on the listener's memory:
// its strings, and those of its request, are valid until Serve returns, and it is used
// again for another request then. Who wants it, or a part of it, for longer makes it own
// itself before.
type walk struct {
	course
	scratch
}

// walks are those that have been used and are free.
var walks = sync.Pool{New: func() any { return new(walk) }}

// course is what a walk knows of its request.
type course struct {
	edge   *Edge
	ctx    context.Context
	req    *exchange.Request
	to     exchange.Responder
	site   *policy.Site
	stripe *stripe // that counts it

	owned bool // it shares nothing with the listener, and is not used again
	quick bool // it is to be answered at once or not at all: see ServeQuick
	later bool // it could not be: nothing was sent

	scopes  []response.ScopeHash  // what covers; nil before it is asked
	key     response.Key          // of the target
	fillKey string                // what fills are collapsed by: key, or the variant that is wanted
	alone   bool                  // answers are not shared: do not wait for others
	passed  bool                  // it has been handed on as it is: the answer is the origin's
	arrival command.Clock         // applied when the request arrived
	touches uint64                // unsafe requests seen when it arrived
	copies  [2]*response.Response // what it has found last under its key
	refused *response.Response    // what it has got last and could not use
	trusted bool                  // from a node of this cluster
	fence   hop.Fence             // what that node asks for

	ask     ask                // what a fetch asks for
	whole   bool               // ranges are of no use: what the client wants is asked for as it is
	lag     lag                // what the node's being cut off means for it
	came    *arrival           // what a parent has sent in place of a slice
	base    *response.Response // stored and true, but to be validated
	stale   *response.Response // base, if it may be used when no parent answers
	status  cacheStatus
	patient patient
	sent    sent          // for the access log
	above   string        // what tiers above say in Proxy-Status of why there is no answer
	again   time.Duration // when a client that got nothing may come again; 0 says nothing
	bound   string        // what the site's cookie of affinity calls the server that has answered

	// What this node counted when the last fence was made: before it, so that nothing
	// that came after can look as if it had been known.
	demanded struct {
		generation uint64
		touches    uint64
	}
	// Where the walk last looked, and the count of changes there, of before it did.
	seenKey   response.Key
	seenCount uint32
	// purgedHere is the last purge of the spelling of the query that the client used, where
	// what is stored is found under another.
	purgedHere command.Seq
}

// Serve answers one request.
func (e *Edge) Serve(ctx context.Context, req *exchange.Request, to exchange.Responder) {
	if e.yielded.Load() {
		e.catchUp(ctx)
	}
	w := walks.Get().(*walk)
	w.enlist(e, ctx, req, to)
	stripe := w.stripe
	stripe.inFlight.Add(1)
	defer stripe.inFlight.Add(-1)
	w.enter()
	if e.access != nil {
		w.record()
	}
	if !w.owned { // else somebody may still have it
		w.end()
		walks.Put(w)
	}
}

func (w *walk) enter() {
	if why, text := w.admit(); text != "" {
		w.refuse(why, text)
		return
	}
	if w.req.Method == methodPurge {
		w.purge()
		return
	}
	if w.upgrade() {
		return
	}
	past := w.past()
	switch {
	case w.rules.Preflight != nil:
		w.respond(&exchange.Answer{Status: 204, Header: w.rules.Preflight})
	case w.rules.Redirect.Status != 0:
		w.redirect()
	case past != "":
		w.pass(past)
	default:
		w.lookUp()
	}
}

// admit finds the request's site and what that says of it; of a request that is not
// served it gives the refusal and a text, which is "" otherwise.
func (w *walk) admit() (why refusal, text string) {
	e := w.edge
	if w.req.Header.Has("Connection") {
		trailers := wantsTrailers(w.req.Header)
		w.req.Header.RemoveHopByHop() // first: what goes no further must not shape a key
		if trailers {
			_ = w.req.Header.Set("TE", "trailers") // there is room where it was
		}
	}
	if w.site = e.sites.Load().byHost(w.req.Host); w.site == nil {
		return refusedHost, "no site here has the host " + w.req.Host
	}
	if e.isLoop(w.req.Header) {
		return refusedLoop, "the request has passed this node before"
	}
	if w.trusted = e.trusts(w.req); w.trusted {
		var err error
		if w.fence, err = hop.ReadFence(w.req.Header); err != nil {
			return refusedBad, err.Error()
		}
		e.awaitFence(w.ctx, w.fence)
	}
	if o := &w.site.Document().Origin; o.Affinity == site.AffinityCookie {
		takeAffinity(w.req.Header, o.AffinityCookie)
	}
	if w.req.Method == "CONNECT" || w.req.Method == "TRACE" {
		return refusedMethod, "the method " + w.req.Method + " is not served here"
	}
	if w.site.DecideInto(&w.rules, w.req, w.trusted); w.rules.Refuse != "" {
		return refusedBad, w.rules.Refuse
	}
	w.text = w.rules.AppendKey(w.text[:0], w.req)
	w.key = w.keyOf(w.text)
	w.fillKey = w.key.Text
	w.lag = w.lagging()
	return refusal{}, ""
}

// past is why the request goes past the cache, "" if it does not.
func (w *walk) past() string {
	switch {
	case w.req.Method != "GET" && w.req.Method != "HEAD" || w.req.Body != nil:
		return "method"
	case w.rules.Bypass, w.req.Upgrade != "":
		return "bypass"
	}
	return ""
}

func (w *walk) lookUp() {
	if w.refuseLagging() {
		return
	}
	for attempt := 1; attempt <= maxAttempts; attempt++ {
		if w.recall() || w.spared() || w.fetch(attempt) {
			return
		}
	}
	w.fail(errors.New("no parent has an answer that is true enough"))
}

// asked is the request as the decisions of httpcache see it.
func (w *walk) asked() httpcache.Request {
	return httpcache.Request{Method: w.req.Method, Header: w.req.Header}
}

// recall looks for what is stored and answers if it may be used as it is, and is still
// there.
func (w *walk) recall() (answered bool) {
	if w.came != nil {
		return false
	}
	w.base, w.stale = nil, nil
	r, verdict := w.look()
	switch verdict {
	case httpcache.Use:
		return w.stored(r)
	case httpcache.UseAndRefresh:
		if !w.stored(r) {
			return false
		}
		w.refresh(r)
		return true
	case httpcache.Unsatisfiable:
		w.unsatisfiable()
		return true
	case httpcache.ValidateElseStale:
		w.base, w.stale = r, r
	case httpcache.Validate:
		w.base = r
	}
	return false
}

// look says what is stored for the request, if anything, and what that is good for;
// why stands in status.
func (w *walk) look() (*response.Response, httpcache.Verdict) {
	r, missing := w.find()
	lacking := r != nil && w.lacks(r)
	if lacking && !w.completes(r) {
		r, missing = nil, "partial"
	}
	facts, soft := w.lifeOf(r)
	d := httpcache.Reuse(w.asked(), facts, w.req.Received, &w.rules.Policy)
	if soft {
		w.soften(&d, r)
	}
	w.distrust(&d, r)
	w.status = cacheStatus{node: w.edge.pseudonym, fwd: d.Fwd, detail: d.Detail}
	switch {
	case d.Verdict == httpcache.Unsatisfiable:
		w.status.fwd, w.status.detail = "request", "only-if-cached"
	case r == nil:
		w.status.fwd = missing
	case d.Verdict == httpcache.Use || d.Verdict == httpcache.UseAndRefresh:
		if lacking {
			w.status.fwd = "partial"
			return r, d.Verdict
		}
		w.status.hit, w.status.ttl = true, facts.TTL(w.req.Received)
		if w.lag == lagServed {
			w.status.detail = details[lagServed]
		}
	}
	return r, d.Verdict
}

// find is the stored response for the request, if it is true; else why not, as a
// fwd reason of RFC 9211 §2.2.
func (w *walk) find() (*response.Response, string) {
	e := w.edge
	r := w.get(w.key)
	searched := r == nil && w.searched()
	if searched {
		r = w.get(w.key)
	}
	if r == nil {
		return nil, "uri-miss"
	}
	if r.Kind == response.Varies && e.table.Alive(r) {
		variant := w.variant(r.Vary)
		w.fillKey = variant.Text
		if r = w.get(variant); r == nil {
			return nil, "vary-miss"
		}
	}
	if !e.table.Alive(r) || !w.satisfies(r) {
		return nil, "miss"
	}
	if searched {
		if w.purgedHere = e.table.Fence(w.covers()).Marks(); w.purgedHere > r.Born {
			return nil, "miss" // it was purged under this spelling of its query
		}
	}
	if r.Kind == response.Pass && r.At(w.req.Received) == httpcache.Fresh {
		w.alone = true
	}
	if r.Kind != response.Content && (r.Kind != response.Sliced || w.quick) {
		return nil, "miss" // slices may lie anywhere
	}
	return r, ""
}

// get is what is stored under a key; the walk remembers it.
func (w *walk) get(key response.Key) *response.Response {
	w.seenKey, w.seenCount = key, w.edge.slicing.changes.of(key)
	r := w.fromStore(key)
	if r != nil {
		w.copies[1], w.copies[0] = w.copies[0], r
	}
	return r
}

// fromStore is what is stored under a key, for a walk that cannot wait in RAM.
func (w *walk) fromStore(key response.Key) *response.Response {
	if w.quick {
		return w.edge.tiers.GetInRAM(key)
	}
	return w.edge.store.Get(key)
}

// satisfies reports whether a stored response is as true as who asks demands.
func (w *walk) satisfies(r *response.Response) bool {
	return w.fence == (hop.Fence{}) || r.Truth().Satisfies(w.fence)
}

// demand is the fence for a fetch: what this node knows, and what its child asks.
func (w *walk) demand(attempt int) hop.Fence {
	w.demanded.generation, w.demanded.touches = w.edge.table.Generation(), w.edge.table.Touches()
	covering := append(w.covering[:0], w.covers())
	for _, r := range [...]*response.Response{w.copies[0], w.copies[1], w.refused} { // dead or not, their tags are known (rule 10 of the protocol)
		if r != nil {
			covering = append(covering, r.Scopes)
		}
	}
	fence := w.edge.table.FenceOf(w.key.Text, covering...)
	if attempt >= 3 {
		fence.Born = max(w.edge.table.Clock().Seq, fence.Highest())
	}
	if w.fence != (hop.Fence{}) {
		fence = fence.Max(w.fence)
	}
	return fence
}

// refresh validates what was served stale, behind the client's back.
func (w *walk) refresh(r *response.Response) {
	if w.waits() {
		return
	}
	if !w.req.Header.Has("Range") && w.edge.fills.Refreshing(w.fillsTogether(), w.demand(1)) {
		return // as mostly: many are served what is stale while one refreshes it
	}
	w.own()
	w.base, w.ask = r, ask{}
	fence := w.demand(1)
	if first, ok := w.wants(); ok {
		w.askAtLeast(first)
	}
	together := w.fillsTogether()
	spec, quiet := w.edge.spec(w, "GET", fence)
	quiet()
	switch {
	case w.edge.fills.Refresh(together, fence, spec):
		w.edge.metrics.refreshes.Inc()
	case w.ask.paid > 0:
		w.credit().refund(w.ask.paid)
	}
}

// pass hands the request on and the answer back, storing nothing.
func (w *walk) pass(why string) {
	w.own()
	w.status, w.passed = cacheStatus{node: w.edge.pseudonym, fwd: why}, true
	spec, quiet := w.edge.passSpec(w)
	defer quiet()
	if to, ok := w.to.(exchange.Upgrader); ok && w.req.Upgrade != "" {
		w.offer(to, spec, quiet)
		return
	}
	f := w.edge.fills.Alone(w.ctx, hop.Fence{}, spec)
	defer f.Leave()
	// Not under the client's context: the fetch, which ends with that, reads the request.
	if err := f.Wait(context.Background()); err != nil {
		w.fail(err)
		return
	}
	quiet()
	w.status.forwarded(f.Reply().Status, false, false)
	w.invalidate(f.Reply())
	body, _ := f.Body(w.ctx)
	w.deliver(f.Reply(), nil, true, body)
}

// failOrStale answers a fetch that nobody answered: from what is stale, if it may be
// used then and is still true.
func (w *walk) failOrStale(err error) {
	if w.stale != nil && w.edge.table.Alive(w.stale) {
		w.edge.log.Debug("serving stale, no parent answers", "site", w.siteName(), "err", err)
		if w.serveStale() {
			return
		}
	}
	w.fail(err)
}
