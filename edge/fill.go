package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"freshet/edge/exchange"
	"freshet/edge/policy"
	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
	"freshet/internal/site"
)

// fill is one fetch of a key: what it asks for, and what is made of the answer. It
// holds copies: it outlives the request that began it.
type fill struct {
	edge  *Edge
	req   *exchange.Request
	rules *policy.Decision
	base  *response.Response // to be validated; nil to fetch anew
	key   response.Key
	// selected is the text of the key that the request selects: key, or a variant of it.
	selected string
	scopes   []response.ScopeHash
	doc      *site.Document
	fromTier bool // a cache of this cluster asked first
	alone    bool // it is for one client
	asker    asker
	ask      ask
	part     httpcache.Part     // of a 206 that is stored
	head     *response.Response // of which a slice is asked for; nil where none is known
	credit   *credit            // that what arrives is charged to; nil for none
	strict   bool               // nothing but a strong validator confirms base
	spare    bool               // base stays as it is: the request forbids to store what updates it

	// Of the moment before the request leaves: what became untrue since then.
	generation uint64
	touches    uint64
}

// question is what parents are wanted for.
func (f *fill) question() upstream.Question {
	return upstream.Question{Key: f.key.Text, FromTier: f.fromTier, Pass: f.alone, Client: f.asker.client, Cookie: f.asker.server}
}

// fetch asks the parents, conditionally where there is something to validate. An
// answer 304 to something else than what was asked for is asked for again whole.
func (f *fill) fetch(ctx context.Context, parents []upstream.Parent, fence hop.Fence, inform func(int, *header.Block)) (*upstream.Reply, error) {
	conditional := f.base != nil && f.req.Method == http.MethodGet
	var asked sync.Map // names of parents
	for {
		request := func(p upstream.Parent) (upstream.Request, error) {
			asked.Store(p.Name, true)
			up := upstream.Request{
				Key: f.key.Text, Method: f.req.Method, Host: f.rules.Authority, Target: f.rules.Target,
				Header: f.rules.FillHeader(f.req), Inform: inform,
			}
			err := f.edge.forOrigin(p, &up, f.rules, false)
			if err == nil {
				err = sayEarly(up.Header, f.req)
			}
			if err == nil && conditional {
				_, err = httpcache.AddConditions(up.Header, f.base.Header, &f.base.Facts, openTo(f.base, fence) || f.strict)
			}
			if err == nil && f.ask.ranged() {
				err = up.Header.Set("Range", f.ask.field)
			}
			return up, err
		}
		reply, err := f.edge.ask(ctx, f.doc, parents, fence, f.asker, request)
		if err != nil {
			reply, err = f.lastResort(ctx, parents, &asked, fence, err, request)
		}
		if err != nil || reply.Status != http.StatusNotModified {
			return reply, err
		}
		if !conditional {
			reply.Body.Close()
			return nil, fmt.Errorf("%s answers 304 to a request without conditions: %w", reply.Parent, upstream.ErrBadAnswer)
		}
		if httpcache.Match304(&f.base.Facts, reply.Header, reply.Received) != httpcache.Mismatch {
			return reply, nil
		}
		reply.Body.Close()
		conditional = false
	}
}

// admit makes what is to be stored of an answer, or shared with those who wait for
// the same; nil when it is for nobody but the one who asked.
func (f *fill) admit(reply *upstream.Reply) *response.Response {
	r := &response.Response{
		Key: f.key, Status: reply.Status, Log: reply.Truth.Log, Born: reply.Truth.Born, Generation: f.generation,
	}
	r.Soften(reply.Truth.Soft)
	r.RaiseAsOf(reply.Truth.AsOf)
	r.RaiseTouches(f.touches)
	arrived := httpcache.Response{Status: reply.Status, Header: reply.Header, Sent: reply.Sent, Received: reply.Received}
	switch {
	case reply.Status == http.StatusNotModified:
		return f.freshen(arrived, httpcache.Match304(&f.base.Facts, reply.Header, reply.Received), r)
	case f.req.Method == http.MethodHead && f.base != nil && reply.Status == http.StatusOK:
		f.freshenByHead(arrived, reply.Length, r)
		return nil
	}
	why := f.assess(r, arrived)
	if why == httpcache.ByPartial && f.admitPart(r, reply) {
		return r
	}
	if f.ask.ranged() && reply.Status != http.StatusOK {
		f.edge.metrics.notStored(httpcache.ByPartial)
		f.rememberRange(r, why)
		return nil // it may speak of the range alone
	}
	r.Set = setOf(r.Status, &r.Facts, reply.Length)
	f.edge.metrics.notStored(why)
	r.Transient = why != httpcache.Stored
	if r.Transient && (reply.Status < 500 || why != httpcache.ByStatusCode && why != httpcache.ByLifetime) {
		f.remember(r, why)
		return nil
	}
	if r.Header == nil {
		return nil // no room for what has to be added: hand it on as it is
	}
	return r
}

// assess fills in what follows from the head of what is to be stored.
func (f *fill) assess(r *response.Response, arrived httpcache.Response) httpcache.NoStore {
	facts, why := httpcache.Assess(httpcache.Request{Method: http.MethodGet, Header: f.req.Header}, arrived, &f.rules.Policy)
	if f.req.Method != http.MethodGet {
		why = httpcache.ByMethod
	}
	r.Facts, r.Scopes = facts, f.scopes
	r.Scopes = append(r.Scopes[:len(r.Scopes):len(r.Scopes)], f.rules.TagScopes(arrived.Header)...)
	h, err := f.edge.storedHeader(arrived)
	if err != nil {
		return why
	}
	httpcache.WithholdFrom(h, facts.Withheld)
	r.Header = h
	if r.Vary = f.rules.Varying(httpcache.VaryNames(h)); len(r.Vary) > 0 {
		r.Key = variantKey(f.key, f.req.Header, r.Vary)
	}
	return why
}

// freshen makes of the base and an update of its header what is stored now (RFC
// 9111 §4.3.4). By a strong validator it is as true as the update; a weak one extends
// its life alone.
func (f *fill) freshen(update httpcache.Response, match httpcache.Matching, r *response.Response) *response.Response {
	base := f.base
	before := base.Header.Clone()
	before.Del("Via") // ours stands in it; the update has its own
	h, err := httpcache.Freshen(before, update.Header, update.Received)
	if err != nil {
		return nil
	}
	update.Status, update.Header = base.Status, h
	r.Status, r.Body = base.Status, base.Body
	r.Kind, r.Complete, r.Set = base.Kind, base.Complete, base.Set
	if match == httpcache.MatchStrong {
		if base.Log == r.Log && base.Generation == r.Generation {
			r.Born = max(base.Born, r.Born)
		}
	} else {
		kept := base.WithBody(base.Body)
		kept.Transient = false
		r = kept
	}
	why := f.assess(r, update)
	r.Transient, f.spare = why != httpcache.Stored, f.ofRequest(why)
	if r.Header == nil {
		return nil
	}
	return r
}

// freshenByHead updates what is stored by the answer to a HEAD, or drops it when
// the answer speaks of something else (RFC 9111 §4.3.5).
func (f *fill) freshenByHead(update httpcache.Response, length int64, r *response.Response) {
	base := f.base
	if length >= 0 && length != base.Length() || !httpcache.MatchHead(&base.Facts, base.Length(), update.Header, update.Received) {
		f.edge.drop(base.Key)
		return
	}
	match := httpcache.MatchWeak
	if httpcache.StrongMatch(base.ETag, update.Header.Get("ETag")) {
		match = httpcache.MatchStrong
	}
	get := *f
	get.req = f.req.Clone()
	get.req.Method = http.MethodGet
	if fresh := get.freshen(update, match, r); fresh != nil {
		get.keep(fresh)
	}
}

// ofRequest reports whether an answer that is not stored might be if another request
// had led to it.
func (f *fill) ofRequest(why httpcache.NoStore) bool {
	return why == httpcache.ByAuth || !f.rules.Policy.IgnoreRequestDirectives && httpcache.ParseRequest(f.req.Header).NoStore
}

// remember notes that answers to a key are not to be stored, so that those who ask
// for it do not wait for one another. What lies in the request alone, and errors, are
// no property of the key.
func (f *fill) remember(r *response.Response, why httpcache.NoStore) {
	if f.req.Method != http.MethodGet || r.Status >= 500 || f.ofRequest(why) {
		return
	}
	note := r.WithBody(nil)
	note.Key, note.Kind, note.Header, note.Vary = response.NewKey(f.selected), response.Pass, nil, nil
	note.Facts = httpcache.Facts{Freshness: httpcache.Freshness{Received: r.Received, Lifetime: passMemory}}
	f.edge.put(note)
}

// rangeNote is the key of the note that ranges of what is under a key, given as text,
// cannot be kept.
func rangeNote(selected string) response.Key { return response.NewKey(selected + "\n+range") }

// rememberRange notes that a 206 was not to be stored, so that the next range is asked
// for as it is: nothing is gained by asking for more.
func (f *fill) rememberRange(r *response.Response, why httpcache.NoStore) {
	if f.ask.asIs || r.Status != http.StatusPartialContent || f.ofRequest(why) {
		return
	}
	note := r.WithBody(nil)
	note.Key, note.Kind, note.Header, note.Vary = rangeNote(f.selected), response.Pass, nil, nil
	note.Facts = httpcache.Facts{Freshness: httpcache.Freshness{Received: r.Received, Lifetime: passMemory}}
	f.edge.put(note)
}

// keep stores a whole response, and where its key has variants the list of what
// tells them apart. An error does not take the place of what can still be used
// instead of it.
func (f *fill) keep(r *response.Response) {
	e := f.edge
	switch {
	case f.isDisowned():
		return
	case r.Kind == response.Slice:
		f.keepSlice(r)
		return
	case r.Kind == response.Content && r.Complete > 0 && r.Body != nil && r.Body.Len() != r.Complete:
		return // of a 206 that said that it is the whole
	case r.Transient && f.base != nil && r.Status < 500 && !f.spare:
		e.drop(f.base.Key)
		return
	case r.Transient || r.Log != e.table.Clock().Log:
		return
	case r.Status >= 500 && f.base != nil && f.base.At(r.Received) != httpcache.Expired:
		return
	case r.Kind == response.Sliced:
		if held := e.store.Get(f.place(r)); held != nil && f.isOlder(r, held) {
			return // while it came, which may take hours, the content has changed
		}
	}
	f.put(r)
}

// put stores a response and what tells the variants of its key apart.
func (f *fill) put(r *response.Response) {
	key := f.putSearch(r)
	if key != f.key {
		r = r.WithBody(r.Body)
		r.Key = variantKey(key, f.req.Header, r.Vary)
		r.Scopes = append(r.Scopes[:len(r.Scopes):len(r.Scopes)], key.Scope())
	}
	f.edge.put(r)
	if len(r.Vary) == 0 {
		return
	}
	index := r.WithBody(nil)
	index.Key, index.Kind, index.Header, index.Set, index.Complete = key, response.Varies, nil, 0, 0
	f.edge.put(index)
}

// storedHeader is the header block as it is kept and sent: without what is
// computed for each delivery, with our passage in Via and a Date.
func (e *Edge) storedHeader(arrived httpcache.Response) (*header.Block, error) {
	h := arrived.Header.Clone()
	h.Filter(func(name, _ string) bool {
		return !header.EqualName(name, "Age") && !header.EqualName(name, "Cache-Status") && !header.EqualName(name, "Via")
	})
	var err error
	if !h.Has("Date") { // RFC 9110 §6.6.1
		err = h.Add("Date", arrived.Received.UTC().Format(http.TimeFormat))
	}
	return h, errors.Join(err, h.Add("Via", appendList(arrived.Header.Joined("Via"), "1.1 "+e.pseudonym)))
}
