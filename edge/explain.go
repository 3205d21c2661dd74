package edge

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/command"
	"freshet/internal/httpcache"
)

// fetchLimit is how long an explanation waits for a parent.
const fetchLimit = 15 * time.Second

// explain says what Serve would do with a request now. It takes the steps of the
// walk without answering anybody, and changes nothing that is stored. fetch: a
// parent is asked by GET, within fetchLimit; else it only reads.
func (e *Edge) explain(ctx context.Context, req *exchange.Request, fetch bool) *Explanation {
	f := e.env.File
	w := new(walk)
	w.enlist(e, ctx, req, nil)
	w.own()
	x := &Explanation{
		Node: f.Name, Role: string(f.Role), Method: req.Method, URL: req.Scheme + "://" + req.Authority() + req.Target,
	}
	refused, text := w.admit()
	x.Clock = e.clockNow(w.covers())
	if w.site != nil {
		x.Site = w.site.Name()
	}
	if text != "" {
		x.Outcome, x.Status, x.ProxyStatus, x.Why = Refused, refused.status, refused.reason, text
		return x
	}
	x.Rules = w.rules.Rules()
	switch {
	case w.rules.Preflight != nil:
		x.Outcome, x.Status, x.Why = Preflight, http.StatusNoContent, "the site's rules answer the CORS preflight"
	case w.rules.Redirect.Status != 0:
		x.Outcome, x.Status, x.Location = Redirected, w.rules.Redirect.Status, w.rules.Redirect.Location
		x.Why = "a rule of the site redirects"
	default:
		w.explainWay(x)
		if fetch {
			x.Fetched = w.explainFetch(x.Outcome)
		}
	}
	return x
}

// explainWay is what becomes of a request that the site wants to be answered.
func (w *walk) explainWay(x *Explanation) {
	e := w.edge
	if why := w.past(); why != "" {
		w.status = cacheStatus{node: e.pseudonym, fwd: why}
		x.Outcome, x.Why = Passed, passedWhy[why]
	} else {
		r, verdict := w.look()
		held := r
		if held == nil {
			held = e.store.Get(response.NewKey(w.fillKey))
		}
		if index := e.store.Get(w.key); index != nil && index.Kind == response.Varies {
			x.Vary, x.Variant = index.Vary, strings.TrimPrefix(w.fillKey, w.key.Text)
		}
		x.Outcome, x.Why = outcomes[verdict], w.why(verdict, r, held, x.Vary)
		if held != nil {
			x.Stored = w.storedNow(held)
		}
		if r != nil && !w.status.hit && verdict <= httpcache.UseAndRefresh {
			x.Outcome = Forwarded // for the slices that are missing
		} else if verdict == httpcache.Use || verdict == httpcache.UseAndRefresh {
			x.Status = r.Status
		} else if verdict == httpcache.Unsatisfiable {
			x.Status = http.StatusGatewayTimeout
		}
	}
	x.CacheStatus, x.Key, x.OriginTarget = string(w.status.append(nil)), w.key.Text, w.rules.OriginTarget()
	for _, s := range w.namedScopes() {
		if s.Kind == command.ScopeKey {
			s = command.Scope{Kind: s.Kind} // it stands above
		}
		x.Scopes = append(x.Scopes, strings.TrimSpace(string(s.Kind)+" "+s.Site+s.Value))
	}
	for _, p := range e.parents.For(w.site.Document(), upstream.Question{Key: w.key.Text}) {
		x.Parents = append(x.Parents, e.parentNow(p, w.site.Name()))
	}
}

// parentNow is a parent as far as a site asks it.
func (e *Edge) parentNow(p upstream.Parent, site string) ParentNow {
	s := e.client.State(p, site)
	now := ParentNow{
		Name: p.Name, Kind: p.Kind.String(), URL: p.URL, Breaker: s.Breaker, Retry: seconds(s.Retry),
		Open: s.Open, Limit: s.Limit, Queued: s.Queued, P95: seconds(s.P95), Slow: s.Slow,
	}
	if s.Last != nil {
		now.LastError = s.Last.Error()
	}
	if err := p.Server.Usable(); err != nil {
		now.Problem = err.Error()
	} else if e.checks.Unhealthy(site, p.URL) {
		now.Problem = "it fails its checks, and is asked after the others"
	}
	return now
}

// namedScopes are the scopes of the walk by their names.
func (w *walk) namedScopes() []command.Scope {
	site := w.site.Name()
	path, _, _ := strings.Cut(w.rules.Target, "?")
	scopes := []command.Scope{
		{Kind: command.ScopeURL, Site: site, Value: w.rules.Target},
		{Kind: command.ScopeKey, Site: site, Value: w.key.Text},
	}
	for i := range path {
		if path[i] == '/' && len(scopes) < 2+command.MaxBoundaries {
			scopes = append(scopes, command.Scope{Kind: command.ScopePrefix, Site: site, Value: path[:i+1]})
		}
	}
	return append(scopes, command.Scope{Kind: command.ScopeSite, Site: site}, command.Scope{Kind: command.ScopeAll})
}

func (e *Edge) clockNow(scopes []response.ScopeHash) ClockNow {
	clock, fence := e.table.Clock(), e.table.Fence(scopes)
	now := ClockNow{Log: clock.Log.String(), Applied: clock.Seq.String(), Floor: fence.Floor.String()}
	if fence.Hard > 0 {
		now.Mark = fence.Hard.String()
	}
	if fence.Soft > 0 {
		now.Soft = fence.Soft.String()
	}
	return now
}

func (w *walk) storedNow(r *response.Response) *StoredNow {
	s := &StoredNow{
		Kind: kinds[r.Kind], Status: r.Status, Log: r.Log.String(),
		Born: r.Born.String(), Dead: string(w.edge.table.Test(r)), AsOf: r.Truth().AsOf.String(),
	}
	var room httpcache.Facts
	life, soft := r.Life(w.req.Received, &room)
	s.LifeNow = lifeNow(life, w.req.Received)
	if soft {
		s.Soft = r.Soft().Seq.String()
	}
	if r.Body != nil {
		s.Bytes = r.Body.Len()
	}
	if r.Kind == response.Sliced {
		s.Whole, s.Slices = r.Complete, (r.Complete+response.SliceSize-1)/response.SliceSize
		s.Bytes, s.Held = w.heldOf(r)
	}
	if r.Header != nil {
		s.Groups = httpcache.Groups(r.Header)
		s.Tags, _ = httpcache.Tags(r.Header)
	}
	return s
}

// maxExplained is how many slices of a content are looked for: an origin may claim any
// size.
const maxExplained = 1 << 16

// heldOf is what is stored of a content in slices: the bytes, and which slices are there
// at least in part, of the first maxExplained.
func (w *walk) heldOf(head *response.Response) (bytes int64, held string) {
	for n := range min((head.Complete+response.SliceSize-1)/response.SliceSize, maxExplained) {
		key := response.SliceKey(head.Key, head.Set, n)
		if !w.edge.store.Has(key) {
			continue
		}
		slice := w.edge.store.Get(key)
		switch {
		case slice == nil || w.edge.table.Test(slice) != invalidate.Living:
			continue
		case slice.Body != nil:
			bytes += slice.Body.Len()
		}
		for _, p := range slice.Pieces {
			bytes += int64(len(p.Data))
		}
		held = appendRun(held, n)
	}
	return bytes, held
}

// appendRun adds a number to a list of runs, such as 0-3,7.
func appendRun(runs string, n int64) string {
	last := runs[strings.LastIndexByte(runs, ',')+1:]
	from, to, isRun := strings.Cut(last, "-")
	if !isRun {
		to = from
	}
	switch {
	case runs == "":
		return strconv.FormatInt(n, 10)
	case to == strconv.FormatInt(n-1, 10):
		return runs[:len(runs)-len(last)] + from + "-" + strconv.FormatInt(n, 10)
	}
	return runs + "," + strconv.FormatInt(n, 10)
}

func lifeNow(f *httpcache.Facts, now time.Time) LifeNow {
	l := LifeNow{
		State: states[f.At(now)], Age: seconds(f.Age(now)), Lifetime: seconds(f.Lifetime), LifetimeFrom: f.Source.String(),
		TTL: seconds(f.TTL(now)), StaleWhileRevalidate: seconds(f.StaleWhileRevalidate),
		StaleIfError: seconds(f.StaleIfError), NoStale: f.NoStale, ETag: f.ETag,
	}
	if !f.LastModified.IsZero() {
		l.LastModified = f.LastModified.UTC().Format(time.RFC3339)
	}
	return l
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// explainFetch asks the parents as the walk would, but by GET, without conditions
// and for the whole, and says what would be made of the answer. Its body is not
// read.
func (w *walk) explainFetch(outcome Outcome) *FetchedNow {
	e := w.edge
	ctx, cancel := context.WithTimeout(w.ctx, fetchLimit)
	defer cancel()
	w.ask = ask{}
	fill := w.fill(http.MethodGet)
	ask, quiet := e.passSpec(w)
	quiet()
	if outcome != Passed {
		parents, fence := e.parents.For(w.site.Document(), upstream.Question{Key: w.key.Text}), w.demand(1)
		ask.Fetch = func(ctx context.Context) (*upstream.Reply, error) { return fill.fetch(ctx, parents, fence, nil) }
	}
	began := e.now()
	reply, err := ask.Fetch(ctx)
	if err != nil {
		return &FetchedNow{Error: err.Error(), Took: seconds(e.now().Sub(began))}
	}
	defer reply.Body.Close()
	r := &response.Response{Key: fill.key, Status: reply.Status}
	why := fill.assess(r, httpcache.Response{Status: reply.Status, Header: reply.Header, Sent: reply.Sent, Received: reply.Received})
	x := &FetchedNow{
		Parent: reply.Parent.Name, Status: reply.Status, Bytes: reply.Length, Took: seconds(reply.Received.Sub(began)),
		Reason: string(why), Why: unstoredWhy[why], Vary: r.Vary, Withheld: r.Withheld,
		Above: reply.Header.Joined("Cache-Status"), LifeNow: lifeNow(&r.Facts, reply.Received),
	}
	switch {
	case outcome == Passed:
		x.Reason, x.Why = w.status.fwd, "the request goes past the cache"
	case why == httpcache.Stored && reply.Length > e.maxBody:
		x.Reason, x.Why = "size", "it is larger than what this node stores of one response"
	case why == httpcache.Stored && e.table.Barred(r, e.now()):
		x.Reason, x.Why = "barred", "a purge or ban that covers it says that nothing such is stored for a while"
	}
	x.Stored = x.Reason == ""
	return x
}
