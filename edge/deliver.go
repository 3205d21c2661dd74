package edge

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// content is what there is to answer with, before the client's conditions and
// ranges are looked at. Its body is in sliced, held or stream, the first that is there.
type content struct {
	status int
	header *header.Block
	facts  *httpcache.Facts // nil where the client's conditions and ranges are not ours to look at
	size   int64            // of the body; -1 when not known
	sliced *sliced
	held   response.Body
	stream io.ReadCloser // of all from byte from on, as it arrives
	from   int64
	truth  hop.Truth
	age    time.Duration
	chain  string // Cache-Status of the tiers above
	trail  func() *header.Block
}

// stored answers from what is stored, unless that turns out to be gone.
func (w *walk) stored(r *response.Response) (answered bool) {
	if r.Kind == response.Sliced {
		w.own() // slices may have to be fetched
	}
	w.held = content{status: r.Status, header: r.Header, facts: &r.Facts, held: r.Body, truth: r.Truth(), age: r.Age(w.now())}
	c := &w.held
	switch {
	case r.Kind == response.Sliced:
		c.sliced, c.size = &sliced{w: w, head: r}, r.Complete
	case r.Body != nil:
		c.size = r.Body.Len()
	}
	err := w.answer(c)
	if err == nil {
		return true
	}
	if errors.Is(err, errGone) || errors.Is(err, errIncomplete) {
		w.edge.drop(r.Key)
	}
	return w.goesBack(err)
}

// deliver answers with what is arriving from above; r is nil when it is not kept.
// The one for whom it was fetched gets the fields too that are not to be reused
// (RFC 9111 §5.2.2.4).
func (w *walk) deliver(reply *upstream.Reply, r *response.Response, leader bool, body io.ReadCloser) {
	c := content{status: reply.Status, size: reply.Length, stream: body, trail: reply.Trailer, chain: reply.Header.Joined("Cache-Status")}
	w.bind(reply, r)
	if r != nil && r.Complete > 0 {
		c.status, c.size = r.Status, r.Complete // a part that is the whole
	}
	if r != nil && !(leader && len(r.Withheld) > 0) {
		c.header, c.facts, c.truth, c.age = r.Header, &r.Facts, r.Truth(), r.Age(w.now())
		c.truth.IfError = reply.Truth.IfError
	} else if err := w.passOn(&c, reply); err != nil {
		w.fail(err)
		return
	}
	if c.status != http.StatusPartialContent {
		c.header = withoutContentRange(c.header, reply)
	}
	if err := w.answer(&c); err != nil {
		w.fail(err)
	}
}

// passOn makes c hand on the head of an answer.
func (w *walk) passOn(c *content, reply *upstream.Reply) (err error) {
	c.truth = reply.Truth
	if c.header, err = w.edge.passedHeader(reply.Header); err != nil {
		return err
	}
	if !w.passed && c.status != http.StatusPartialContent && c.status != http.StatusRequestedRangeNotSatisfiable {
		// What the client asked of its own copy was not passed on: it is answered here.
		facts, _ := httpcache.Assess(w.asked(), httpcache.Response{
			Status: c.status, Header: reply.Header, Sent: reply.Sent, Received: reply.Received,
		}, &w.rules.Policy)
		c.facts = &facts
	}
	return nil
}

// withoutContentRange is the header of a whole that came as a part.
func withoutContentRange(h *header.Block, reply *upstream.Reply) *header.Block {
	if reply.Status != http.StatusPartialContent || !h.Has("Content-Range") {
		return h
	}
	h = h.Clone()
	h.Del("Content-Range")
	return h
}

// passedHeader is the header of an answer that is handed on.
func (e *Edge) passedHeader(from *header.Block) (*header.Block, error) {
	h := from.Clone()
	h.Filter(func(name, _ string) bool {
		return !header.EqualName(name, "Cache-Status") && !header.EqualName(name, "Via")
	})
	return h, h.Add("Via", appendList(from.Joined("Via"), "1.1 "+e.pseudonym))
}

// answer shapes the content by what the client has already and which part of it it
// wants, and sends it. With an error nothing has been sent.
func (w *walk) answer(c *content) error {
	defer c.close()
	w.extra.Reset()
	w.out = exchange.Answer{Status: c.status, Header: c.header, Length: c.size, Trailer: c.trail}
	a := &w.out
	var plan plan
	if c.facts != nil {
		switch httpcache.Preconditions(w.asked(), c.status, c.facts) {
		case httpcache.NotModified:
			a.Status, a.Header, a.Length = http.StatusNotModified, httpcache.NotModifiedHeader(&w.draft, c.header, c.facts), -1
			plan.bodyless = true
		case httpcache.AskOrigin:
			c.close()
			w.pass("request")
			return nil
		default:
			w.selectRange(c, a, &plan, &w.extra)
		}
	}
	if a.Bytes = w.inRAM(c, &plan); a.Bytes == nil {
		body, err := w.open(c, &plan)
		if err != nil {
			return err
		}
		if body != nil {
			defer body.Close()
			a.Stream = body
		}
	}
	w.told(c)
	w.addExtra(c)
	var err error
	if a.Header, err = w.rules.ClientHeader(a.Header, &w.draft); err != nil {
		return err
	}
	a.Extra = &w.extra
	whole := w.respond(a)
	if plan.account != nil {
		if c.sliced == nil && whole {
			plan.account.handed(a.Length)
		}
		plan.account.finish(whole)
	}
	return nil
}

// inRAM are the bytes of an answer whose body lies in RAM, in one piece; else nil.
func (w *walk) inRAM(c *content, p *plan) []byte {
	if p.bodyless || w.req.Method == http.MethodHead || c.sliced != nil || c.held == nil || p.texts != nil {
		return nil
	}
	bytes := c.held.Bytes()
	if bytes != nil && p.spans != nil {
		return bytes[p.spans[0].Start:p.spans[0].End]
	}
	return bytes
}

// told settles what the answer says of how it came about, now that its beginning is
// there.
func (w *walk) told(c *content) {
	if c.sliced != nil && c.sliced.went && w.status.fwdStatus == 0 {
		w.status.hit, w.status.fwd = false, "partial"
		w.status.forwarded(http.StatusPartialContent, true, false)
	}
	if !w.quick { // else it is counted when it was taken
		w.count()
	}
}

// count counts the request by what its answer came from.
func (w *walk) count() {
	m := &w.edge.metrics.requests
	switch {
	case w.passed:
		m.pass.Inc()
	case !w.status.hit && w.status.detail != staleIfError:
		m.miss.Inc()
	case w.status.hit && w.status.ttl >= 0:
		m.hit.Inc()
	default:
		m.stale.Inc()
	}
}

// noEOF: an end that comes too early breaks the transfer off.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// addExtra adds the fields of this delivery alone: Age, Cache-Status (after what the
// tiers above said), and for a node of ours how true the answer is.
func (w *walk) addExtra(c *content) {
	h := &w.extra
	if w.status.hit || c.age >= time.Second {
		w.line = strconv.AppendInt(w.line[:0], int64(c.age/time.Second), 10)
		_ = h.AddBytes("Age", w.line)
	}
	w.line = w.line[:0]
	if c.chain != "" {
		w.line = append(append(w.line, c.chain...), ", "...)
	}
	above := len(w.line)
	w.line = w.status.append(w.line)
	// An overlong chain from above is left out rather than the answer refused.
	if err := h.AddBytes("Cache-Status", w.line); err != nil {
		_ = h.AddBytes("Cache-Status", w.line[above:])
	}
	w.addAffinity(c.header)
	if w.trusted {
		c.truth.IfError = c.truth.IfError || w.status.detail == staleIfError
		_ = c.truth.AppendTo(h)
	}
}

// invalidate makes untrue what the answer to an unsafe method speaks of: its target
// and what it points to (RFC 9111 §4.4), and cache groups (RFC 9875 §3). It is this
// node's matter alone; a purge is for all.
func (w *walk) invalidate(reply *upstream.Reply) {
	for _, target := range httpcache.Invalidated(w.req.Method, w.req.Scheme, w.req.Authority(), w.req.Target, reply.Status, reply.Header) {
		w.edge.table.Touch(w.rules.TargetScope(target))
	}
	for _, group := range httpcache.InvalidatedGroups(w.req.Method, reply.Status, reply.Header) {
		w.edge.table.Touch(w.rules.GroupScope(group))
	}
}
