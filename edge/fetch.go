package edge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/policy"
	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
	"freshet/internal/site"
)

// passMemory is how long a key is remembered whose answers were not to be stored.
const passMemory = 10 * time.Second

var errUntrue = errors.New("the parent's answer is not true enough")

// fill is the fetch of what the request is for, by a method. It shares nothing with
// the request.
func (w *walk) fill(method string) *fill {
	w.own()
	e, req := w.edge, w.req.Clone()
	req.Method = method
	rules := w.site.Decide(req, w.trusted)
	f := &fill{
		edge: e, req: req, rules: &rules, base: w.base, key: w.key, selected: w.fillKey, scopes: w.covers(), ask: w.ask,
		doc: w.site.Document(), fromTier: w.trusted, alone: w.alone, strict: w.lag == lagLeaseEnded, generation: w.demanded.generation, touches: w.demanded.touches,
	}
	if w.ask.ranged() && !w.ask.asIs {
		f.credit = w.credit()
	}
	if w.alone {
		f.asker = w.asker()
	}
	return f
}

// spec says how to fill the key of a request. The fill outlives the request, so the
// spec shares nothing with it but interim answers, which quiet ends: it must be
// called before the request is answered.
func (e *Edge) spec(w *walk, method string, fence hop.Fence) (spec upstream.Spec, quiet func()) {
	inform, quiet := informer(w.to)
	f := w.fill(method)
	spec = f.spec(fence, inform, w.seenKey, w.seenCount)
	w.heed(f, &spec, fence)
	return spec, quiet
}

// spec says how to carry the fill out. looked is the count of changes of what stands
// under seen, of the moment before the request looked there.
func (f *fill) spec(fence hop.Fence, inform func(int, *header.Block), seen response.Key, looked uint32) upstream.Spec {
	e := f.edge
	spec := upstream.Spec{
		MaxBody: e.maxBody,
		Settled: func() bool { return e.slicing.changes.of(seen) != looked },
		Fetch: func(ctx context.Context) (*upstream.Reply, error) {
			reply, err := f.fetch(ctx, e.parents.For(f.doc, f.question()), fence, inform)
			switch {
			case err != nil && f.credit != nil:
				f.credit.refund(f.ask.paid)
			case err == nil && f.ask.ranged():
				reply.Body = &metered{ReadCloser: reply.Body, fill: f, reply: reply}
			}
			return reply, err
		},
		Admit: f.admit,
		Keep:  f.keep,
	}
	if e.slicing.on {
		spec.Cut, spec.Load, spec.Cease = f.cut, f.load, f.cease
	}
	return spec
}

// passSpec says how to hand a request on whose answer is not stored. It shares the
// request's body, which goes on to the parent also while its answer arrives; reads of it
// fail once the request has been answered.
func (e *Edge) passSpec(w *walk) (spec upstream.Spec, quiet func()) {
	w.own()
	inform, quiet := informer(w.to)
	return upstream.Spec{
		Fetch: func(ctx context.Context) (*upstream.Reply, error) {
			asker := w.asker()
			parents := e.parents.For(w.site.Document(), upstream.Question{Key: w.key.Text, FromTier: w.trusted, Pass: true, Client: asker.client, Cookie: asker.server})
			return e.ask(ctx, w.site.Document(), parents, hop.Fence{}, asker, func(p upstream.Parent) (upstream.Request, error) {
				up := upstream.Request{
					Key: w.key.Text, Method: w.req.Method, Host: w.rules.Authority, Target: w.rules.Target,
					Header: w.rules.PassHeader(w.req), Body: w.req.Body, Length: w.req.Length, Inform: inform,
				}
				if _, ok := w.to.(exchange.Upgrader); ok {
					up.Upgrade = w.req.Upgrade
				}
				if err := e.forOrigin(p, &up, &w.rules, true); err != nil {
					return up, err
				}
				return up, errors.Join(sayEarly(up.Header, w.req), sayOfHop(up.Header, w.req))
			})
		},
		Admit: func(*upstream.Reply) *response.Response { return nil },
	}, quiet
}

// sayOfHop says to the parent what the client has said to this node alone, where it holds
// for the next hop as well: that trailers are welcome (RFC 9110 §10.1.4), and that its body
// waits for a word (§10.1.1). The listener gives that word when the body is first read.
func sayOfHop(h *header.Block, req *exchange.Request) (err error) {
	if wantsTrailers(req.Header) {
		err = h.Set("TE", "trailers")
	}
	if req.Body != nil && strings.EqualFold(req.Header.Get("Expect"), "100-continue") {
		err = errors.Join(err, h.Set("Expect", "100-continue"))
	}
	return err
}

// wantsTrailers reports whether TE says that trailers are welcome.
func wantsTrailers(h *header.Block) bool {
	for value := range h.Values("TE") {
		for coding := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(coding, " \t"), "trailers") {
				return true
			}
		}
	}
	return false
}

// forOrigin makes of a request what an origin gets, rather than a tier of ours.
func (e *Edge) forOrigin(p upstream.Parent, up *upstream.Request, rules *policy.Decision, pass bool) error {
	if p.OfCluster() {
		return nil
	}
	up.Target = rules.OriginTarget()
	return rules.EditForOrigin(up.Header, pass)
}

// informer passes interim answers on to a responder until it is told to be quiet.
func informer(to exchange.Responder) (inform func(int, *header.Block), quiet func()) {
	var mu sync.Mutex
	ended := false
	inform = func(status int, h *header.Block) {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			to.Inform(status, h)
		}
	}
	return inform, func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
	}
}

// ask asks the parents for an answer that satisfies fence, on behalf of asker; request makes
// what each is asked.
func (e *Edge) ask(ctx context.Context, doc *site.Document, parents []upstream.Parent, fence hop.Fence, asker asker, request func(upstream.Parent) (upstream.Request, error)) (*upstream.Reply, error) {
	return e.client.Ask(ctx, upstream.Plan{
		Site: doc.Site, Parents: parents,
		Request: func(parent upstream.Parent) (upstream.Request, error) {
			req, err := request(parent)
			if err != nil {
				return req, err
			}
			hop.Strip(req.Header)
			if err := e.markPassage(req.Header); err != nil {
				return req, err
			}
			if parent.OfCluster() {
				return req, errors.Join(e.proof.Prove(req.Header), fence.AppendTo(req.Header), asker.tell(req.Header))
			}
			req.Stamp = e.stamp(fence) // before the request leaves
			return req, nil
		},
		Judge: func(reply *upstream.Reply) error { return judge(reply, fence) },
		Asked: func(parent upstream.Parent, err error) {
			e.metrics.asked(parent, err)
			if err != nil {
				e.log.Debug("parent did not answer", "parent", parent.Name, "err", err)
			}
		},
	})
}

// judge refuses an answer of a tier that does not vouch for what was demanded; the
// zero fence demands nothing.
func judge(reply *upstream.Reply, fence hop.Fence) error {
	if !reply.Parent.OfCluster() || fence == (hop.Fence{}) || reply.Vouched && reply.Truth.Satisfies(fence) {
		return nil
	}
	return fmt.Errorf("%s: %w", reply.Parent, errUntrue)
}

// stamp is the truth of what the origin is about to be asked for: nothing that
// was applied, or that the fence speaks of, can be missed by it.
func (e *Edge) stamp(fence hop.Fence) hop.Truth {
	clock := e.table.Clock()
	born := fence.Highest()
	if fence.Log == clock.Log {
		born = max(born, clock.Seq)
	}
	return hop.Truth{Log: fence.Log, Born: born, AsOf: born}
}

// variantKey is the key of the variant of key that a request selects.
func variantKey(key response.Key, request *header.Block, names []string) response.Key {
	if len(names) == 0 {
		return key
	}
	return response.NewKey(string(httpcache.AppendVariant([]byte(key.Text+"\n"), request, names)))
}

// awaitFence waits a moment for the node's log when a child knows more of it, or
// of another one.
func (e *Edge) awaitFence(ctx context.Context, fence hop.Fence) {
	if fence == (hop.Fence{}) || !e.table.Clock().Before(fenceClock(fence)) {
		return
	}
	deadline := time.NewTimer(fenceWait)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for e.table.Clock().Before(fenceClock(fence)) {
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
