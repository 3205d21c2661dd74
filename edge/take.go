package edge

import (
	"net/http"
	"strconv"

	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// fetch waits for an answer from above and delivers it. It returns false when
// what came is not for this request, and the walk has to go back.
func (w *walk) fetch(attempt int) (answered bool) {
	w.own()
	a, quiet := w.came, func() {}
	if w.came = nil; a == nil {
		f, leader, hush, err := w.begin(attempt)
		if err != nil {
			w.fail(err)
			return true
		}
		if f == nil {
			return false // a fill has ended since recall looked
		}
		a, quiet = &arrival{f, leader}, hush
	}
	err := a.fill.Wait(w.ctx)
	quiet()
	if err != nil {
		a.fill.Leave()
		if w.stale == nil && w.triesAgain(a, err) {
			return w.fetch(attempt)
		}
		w.failOrStale(err)
		return true
	}
	answered = w.take(a)
	if !answered && attempt == maxAttempts {
		w.letGo()
	}
	return answered
}

// letGo leaves what has come in place of a slice.
func (w *walk) letGo() {
	if w.came != nil {
		w.came.fill.Leave()
		w.came = nil
	}
}

// begin joins the fill for what the request wants, or starts one.
func (w *walk) begin(attempt int) (f *upstream.Fill, leader bool, quiet func(), err error) {
	e := w.edge
	fence := w.demand(attempt)
	alone := w.alone || w.req.Method == "HEAD" || attempt == maxAttempts
	if first, ok := w.wants(); ok {
		if f, err = w.beginRange(first, fence, alone); f != nil || err != nil {
			return f, false, func() {}, err
		}
	} else {
		w.ask = ask{}
	}
	together := w.fillsTogether() // before spec: what is touched from here on is found by trueEnough
	spec, quiet := e.spec(w, w.req.Method, fence)
	if alone {
		return e.fills.Alone(w.ctx, fence, spec), true, quiet, nil
	}
	if e.joinsAny {
		fence = hop.Fence{}
	}
	f, leader, err = e.fills.Join(w.ctx, together, fence, spec)
	if !leader && w.ask.paid > 0 {
		w.credit().refund(w.ask.paid)
	}
	return f, leader, quiet, err
}

// take delivers what has come, unless it is not for this request.
func (w *walk) take(a *arrival) (answered bool) {
	e, f := w.edge, a.fill
	leave := f.Leave
	defer func() { leave() }()
	reply, r := f.Reply(), f.Response()
	w.status.hit = false
	w.status.forwarded(reply.Status, r != nil && !r.Transient && !e.table.Barred(r, e.now()), !a.leader)
	if !a.leader {
		if r == nil || !shareable(r) && !reply.Truth.IfError {
			w.alone = true // everybody asks for himself
			return false
		}
		if want := variantKey(w.key, w.req.Header, r.Vary); len(r.Vary) > 0 && r.Key != want {
			w.fillKey = want.Text
			return false
		}
		e.metrics.collapsed.Inc()
	}
	tested := r
	if r == nil && reply.Vouched {
		tested = w.attested(reply)
	}
	if tested != nil && !(w.trueEnough(tested) && w.settled(tested, reply.Truth.IfError)) {
		w.refused = tested // the next attempt knows its tags
		return false
	}
	if reply.Status >= 500 && w.stale != nil && e.table.Alive(w.stale) && w.serveStale() {
		return true
	}
	if whole := f.Whole(); whole != nil {
		return w.stored(whole)
	}
	if r != nil && r.Kind == response.Slice {
		if !w.fetches(r) {
			w.whole = true // who has joined gets a slice, and could not go on to the next
			return false
		}
		leave = func() {} // who reads the content leaves its first slice
		return w.takeSlice(a, r)
	}
	guessed := r == nil && w.ask.ranged() && !w.ask.asIs
	if guessed && !w.takesPart(reply) {
		w.whole = true // what was asked for is not what the client wants
		return false
	}
	body, ok := f.Body(w.ctx)
	if !ok {
		return false
	}
	if guessed && reply.Status == http.StatusPartialContent {
		return w.deliverPart(reply, body)
	}
	w.deliver(reply, r, a.leader, body)
	return true
}

// attested is what a tier vouches for and nobody here keeps (an answer to a HEAD, or one that
// is for this client alone), as far as it can be tested: it may come from a cache that has
// not heard yet of what makes it untrue.
func (w *walk) attested(reply *upstream.Reply) *response.Response {
	r := &response.Response{
		Key: response.NewKey(w.fillKey), Status: reply.Status, Header: reply.Header,
		Log: reply.Truth.Log, Born: reply.Truth.Born, Generation: w.demanded.generation,
	}
	r.Soften(reply.Truth.Soft)
	r.RaiseAsOf(reply.Truth.AsOf)
	r.RaiseTouches(w.demanded.touches)
	arrived := httpcache.Response{Status: reply.Status, Header: reply.Header, Sent: reply.Sent, Received: reply.Received}
	r.Facts, _ = httpcache.Assess(httpcache.Request{Method: http.MethodGet, Header: w.req.Header}, arrived, &w.rules.Policy)
	r.Scopes = append(append(r.Scopes, w.covers()...), w.rules.TagScopes(reply.Header)...)
	return r
}

// fillsTogether is what requests have in common that may share a fill: the key, the
// part that is wanted, and the last unsafe request that made them untrue.
func (w *walk) fillsTogether() string { return w.fillKey + w.ask.part() + w.touched() }

// touched tells fills apart that began before and after an unsafe request.
func (w *walk) touched() string { return w.edge.touched(w.covers()) + w.apart() }

func (e *Edge) touched(scopes []response.ScopeHash) string {
	if n := e.table.Touched(scopes); n > 0 {
		return "\n+touched " + strconv.FormatUint(n, 10)
	}
	return ""
}

// shareable reports whether those who waited for a response may have it: it has to be
// usable for them without validation (RFC 9111 §4). Policy: an error that is not
// stored is for all, too, since asking again for each would not help the origin.
func shareable(r *response.Response) bool {
	if r.Transient {
		return r.Status >= 500
	}
	return r.Shareable()
}

// trueEnough tests what arrived: it must be true as of the request's arrival, and
// satisfy the child that asks.
func (w *walk) trueEnough(r *response.Response) bool { return w.satisfies(r) && w.timely(r) }

// timely is trueEnough but for the child's demands.
func (w *walk) timely(r *response.Response) bool {
	if w.fence.Log != 0 && w.fence.Log == r.Log && w.fence.Log != w.edge.table.Clock().Log {
		return true // of the child's log, which this node does not know yet: the child tests it
	}
	// What was demanded of another log than that of the arrival is true as of the moment at
	// which this node joined it, after the request had arrived.
	later := r.Log == w.arrival.Log && r.AsOf() >= w.arrival.Seq || r.Log != w.arrival.Log && r.Log == w.edge.table.Clock().Log
	asked := later && r.Touches() >= w.touches && r.Generation == w.edge.table.Generation()
	return asked || w.edge.table.Alive(r)
}
