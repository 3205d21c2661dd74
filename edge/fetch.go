package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

var (
	errNoParent = errors.New("no parent is known")
	errUntrue   = errors.New("the parent's answer is not true enough")
)

// spec says how to fill one key. req is copied: the fill outlives it.
func (e *Edge) spec(s *site.Document, req *exchange.Request, key response.Key, scopes []response.ScopeHash, fence hop.Fence) upstream.Spec {
	req = req.Clone()
	generation := e.table.Generation()
	return upstream.Spec{
		MaxBody: e.maxBody,
		Fetch: func(ctx context.Context) (*upstream.Reply, error) {
			up := upstream.Request{Method: req.Method, Host: policy.Authority(s, req), Target: req.Target, Header: policy.FillHeader(req)}
			return e.ask(ctx, e.parents.For(s, key.Text), up, fence)
		},
		Admit: func(reply *upstream.Reply) *response.Response {
			return e.admit(s, req, reply, &response.Response{Key: key, Scopes: scopes, Generation: generation})
		},
		Keep: func(r *response.Response) { e.keep(key, r) },
	}
}

// passSpec says how to hand a request on whose answer is not stored.
func (e *Edge) passSpec(s *site.Document, req *exchange.Request) upstream.Spec {
	return upstream.Spec{
		Fetch: func(ctx context.Context) (*upstream.Reply, error) {
			up := upstream.Request{
				Method: req.Method, Host: policy.Authority(s, req), Target: req.Target,
				Header: policy.PassHeader(req), Body: req.Body, Length: req.Length,
			}
			parents := e.parents.For(s, policy.KeyText(s, req))
			if req.Body != nil && len(parents) > 1 {
				parents = parents[:1] // a body can be sent once
			}
			return e.ask(ctx, parents, up, hop.Fence{})
		},
		Admit: func(*upstream.Reply) *response.Response { return nil },
	}
}

// ask tries the parents in order until one gives an answer that satisfies fence. A
// tier's answer that says it could not reach anybody counts only if no other
// parent does better.
func (e *Edge) ask(ctx context.Context, parents []upstream.Parent, req upstream.Request, fence hop.Fence) (*upstream.Reply, error) {
	hop.Strip(req.Header)
	if err := e.markPassage(req.Header); err != nil {
		return nil, err
	}
	plain := req.Header
	failed := errNoParent
	for i, parent := range parents {
		req.Header = plain
		if parent.Kind == upstream.Mid {
			req.Header = plain.Clone()
			if err := errors.Join(e.proof.Prove(req.Header), fence.AppendTo(req.Header)); err != nil {
				return nil, err
			}
		}
		if parent.Host != "" {
			req.Host = parent.Host
		}
		stamp := e.stamp(fence) // before the request leaves
		reply, err := e.client.Do(ctx, parent, req)
		if err == nil {
			err = judge(reply, fence)
		}
		e.metrics.asked(parent, err)
		if err == nil && reply.Status >= 502 && reply.Status <= 504 && parent.Kind == upstream.Mid && i+1 < len(parents) {
			err = fmt.Errorf("%s answers %d: %w", parent, reply.Status, upstream.ErrUnreachable)
			reply.Body.Close()
		}
		if err != nil {
			e.log.Debug("parent did not answer", "parent", parent.Name, "err", err)
			failed = err
			if ctx.Err() != nil || req.Body != nil {
				return nil, failed
			}
			continue
		}
		if parent.Kind != upstream.Mid {
			reply.Truth = stamp
		}
		return reply, nil
	}
	return nil, failed
}

// judge refuses an answer of a tier that does not vouch for what was demanded; the
// zero fence demands nothing.
func judge(reply *upstream.Reply, fence hop.Fence) error {
	if reply.Parent.Kind != upstream.Mid || fence == (hop.Fence{}) || reply.Vouched && reply.Truth.Satisfies(fence) {
		return nil
	}
	reply.Body.Close()
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

// admit makes of r, which has what was known before the answer, what is to be
// stored of it, or shared with those who wait for the same; nil when it is for
// nobody but the one who asked.
func (e *Edge) admit(s *site.Document, req *exchange.Request, reply *upstream.Reply, r *response.Response) *response.Response {
	rules := policy.Defaults(s)
	facts, why := httpcache.Assess(
		httpcache.Request{Method: req.Method, Header: req.Header},
		httpcache.Response{Status: reply.Status, Header: reply.Header, Sent: reply.Sent, Received: reply.Received}, &rules)
	if why == httpcache.Stored && (facts.By == httpcache.ByNoCache || facts.By == httpcache.ByNothing) {
		why = httpcache.ByLifetime // of use only to who can validate it
	}
	shared := (why == httpcache.ByStatusCode || why == httpcache.ByLifetime) && reply.Status >= 500 // to those who wait, and not stored
	r.Status, r.Facts, r.Log, r.Born = reply.Status, facts, reply.Truth.Log, reply.Truth.Born
	r.RaiseAsOf(reply.Truth.AsOf)
	if why != httpcache.Stored && !shared {
		e.metrics.notStored(why)
		if req.Method == http.MethodGet {
			r.Kind = response.Pass
			r.Facts = httpcache.Facts{Freshness: httpcache.Freshness{Received: reply.Received, Lifetime: passMemory}}
			e.store.Put(r)
		}
		return nil
	}
	h, err := e.storedHeader(reply)
	if err != nil {
		return nil // no room for what has to be added: hand it on as it is
	}
	httpcache.WithholdFrom(h, facts.Withheld)
	r.Header = h
	if r.Vary = httpcache.VaryNames(reply.Header); len(r.Vary) > 0 {
		r.Key = variantKey(r.Key, req.Header, r.Vary)
	}
	return r
}

// storedHeader is the header block as it is kept and sent: without what is
// computed for each delivery, with our passage in Via and a Date.
func (e *Edge) storedHeader(reply *upstream.Reply) (*header.Block, error) {
	h := reply.Header.Clone()
	h.Filter(func(name, _ string) bool {
		return !header.EqualName(name, "Age") && !header.EqualName(name, "Cache-Status") && !header.EqualName(name, "Via")
	})
	if !h.Has("Date") { // RFC 9110 §6.6.1
		if err := h.Add("Date", reply.Received.UTC().Format(http.TimeFormat)); err != nil {
			return nil, err
		}
	}
	return h, h.Add("Via", appendList(reply.Header.Joined("Via"), "1.1 "+e.pseudonym))
}

// keep stores a whole response, and where its key has variants the list of what
// tells them apart.
func (e *Edge) keep(key response.Key, r *response.Response) {
	if r.Status >= 500 || r.Log != e.table.Clock().Log {
		return
	}
	e.store.Put(r)
	if len(r.Vary) == 0 {
		return
	}
	index := &response.Response{Key: key, Kind: response.Varies, Vary: r.Vary, Facts: r.Facts, Log: r.Log, Born: r.Born, Scopes: r.Scopes, Generation: r.Generation}
	index.RaiseAsOf(r.AsOf())
	e.store.Put(index)
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
	if !e.table.Clock().Before(fenceClock(fence)) {
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
