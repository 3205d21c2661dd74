package edge

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// content is what there is to answer with, before the client's conditions and
// ranges are looked at.
type content struct {
	status int
	header *header.Block
	facts  *httpcache.Facts
	size   int64  // of the body; -1 when not known
	bytes  []byte // all of it, or what is held of it from byte from on
	from   int64
	stream io.Reader // from its start, where there are no bytes
	extra  *header.Block
	trail  func() *header.Block
}

// stored answers from what is stored.
func (w *walk) stored(r *response.Response) {
	c := content{status: r.Status, header: r.Header, facts: &r.Facts, extra: w.extra("", r.Age(w.edge.now()), r.Truth())}
	if r.Body != nil {
		c.bytes, c.size = r.Body.Bytes(), r.Body.Len()
	}
	w.answer(c)
}

// deliver answers with what is arriving from above; r is nil when it is not kept.
// The one for whom it was fetched gets the fields too that are not to be reused
// (RFC 9111 §5.2.2.4).
func (w *walk) deliver(reply *upstream.Reply, r *response.Response, leader bool, body io.Reader) {
	if w.passed {
		w.edge.metrics.requests.pass.Inc()
	} else {
		w.edge.metrics.requests.miss.Inc()
	}
	c := content{status: reply.Status, size: reply.Length, stream: body, trail: reply.Trailer}
	chain := reply.Header.Joined("Cache-Status")
	if r != nil && !(leader && len(r.Withheld) > 0) {
		c.header, c.facts, c.extra = r.Header, &r.Facts, w.extra(chain, r.Age(w.edge.now()), r.Truth())
		if r.Kind == response.Partial { // it is the part that was asked for
			c.facts = nil
			_ = c.extra.Add("Content-Range", reply.Header.Get("Content-Range"))
		}
		w.answer(c)
		return
	}
	var err error
	if c.header, err = w.edge.passedHeader(reply.Header); err != nil {
		w.fail(err)
		return
	}
	if !w.passed && reply.Status != http.StatusPartialContent {
		// What the client asked of its own copy was not passed on: it is answered here.
		facts, _ := httpcache.Assess(w.asked(), httpcache.Response{
			Status: reply.Status, Header: reply.Header, Sent: reply.Sent, Received: reply.Received,
		}, &w.rules.Policy)
		c.facts = &facts
	}
	c.extra = w.extra(chain, 0, reply.Truth)
	w.answer(c)
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
// wants, and sends it.
func (w *walk) answer(c content) {
	a := exchange.Answer{Status: c.status, Header: c.header, Extra: c.extra, Bytes: c.bytes, Stream: c.stream, Length: c.size, Trailer: c.trail}
	if c.facts != nil {
		switch httpcache.Preconditions(w.asked(), c.status, c.facts) {
		case httpcache.NotModified:
			a.Status, a.Header = http.StatusNotModified, httpcache.NotModifiedHeader(c.header, c.facts)
			a.Bytes, a.Stream, a.Length = nil, nil, -1
		case httpcache.AskOrigin:
			w.pass("request")
			return
		default:
			w.selectRange(c, &a)
		}
	}
	h, err := w.rules.ClientHeader(a.Header)
	if err != nil {
		w.fail(err)
		return
	}
	a.Header = h
	w.respond(&a)
}

// selectRange makes of an answer the part that the client wants, where that can be
// told and had.
func (w *walk) selectRange(c content, a *exchange.Answer) {
	if c.size < 0 {
		return // it may turn out shorter than what is asked for
	}
	selection, spans := httpcache.SelectRange(w.asked(), c.status, c.facts, c.size)
	switch {
	case selection == httpcache.Unsatisfied:
		a.Status, a.Bytes, a.Stream, a.Length = http.StatusRequestedRangeNotSatisfiable, nil, nil, 0
		h := new(header.Block)
		_ = h.Add("Content-Range", httpcache.UnsatisfiedRange(c.size))
		a.Header = h
	case selection == httpcache.Partial && len(spans) == 1:
		a.Status, a.Length = http.StatusPartialContent, spans[0].Len()
		_ = a.Extra.Add("Content-Range", httpcache.ContentRange(spans[0], c.size))
		if c.bytes != nil {
			a.Bytes = c.bytes[spans[0].Start-c.from : spans[0].End-c.from]
		} else {
			a.Stream = &section{from: c.stream, skip: spans[0].Start, left: spans[0].Len()}
		}
	case selection == httpcache.Partial && c.bytes != nil && c.from == 0:
		w.multipart(c, spans, a)
	}
	// Several ranges of what is still arriving: the whole is as good an answer (RFC
	// 9110 §14.2).
}

// multipart makes an answer of several parts.
func (w *walk) multipart(c content, spans []httpcache.Span, a *exchange.Answer) {
	boundary := strings.ReplaceAll(rand.Text(), "=", "")
	plan := httpcache.NewMultipart(spans, c.size, c.header.Get("Content-Type"), boundary)
	var parts []io.Reader
	for _, p := range plan.Parts {
		parts = append(parts, strings.NewReader(p.Head), bytes.NewReader(c.bytes[p.Span.Start:p.Span.End]))
	}
	h := c.header.Clone()
	if h.Set("Content-Type", plan.ContentType) != nil {
		return
	}
	a.Status, a.Header, a.Bytes, a.Length = http.StatusPartialContent, h, nil, plan.Length
	a.Stream = io.MultiReader(append(parts, strings.NewReader(plan.Tail))...)
}

// section reads a part of what is read from its start.
type section struct {
	from       io.Reader
	skip, left int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.skip > 0 {
		n, err := io.CopyN(io.Discard, s.from, s.skip)
		s.skip -= n
		if err != nil {
			return 0, fmt.Errorf("skip to the range: %w", noEOF(err))
		}
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.from.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if s.left > 0 {
		err = noEOF(err)
	}
	return n, err
}

// noEOF: an end that comes too early breaks the transfer off.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// extra are the fields of this delivery alone: Age, Cache-Status (after what the
// tiers above said), and for a node of ours how true the answer is.
func (w *walk) extra(chain string, age time.Duration, truth hop.Truth) *header.Block {
	h := new(header.Block)
	if w.status.hit || age >= time.Second {
		_ = h.Add("Age", fmt.Sprint(int64(age/time.Second)))
	}
	// An overlong chain from above is left out rather than the answer refused.
	if err := h.Add("Cache-Status", appendList(chain, string(w.status.append(nil)))); err != nil {
		_ = h.Add("Cache-Status", string(w.status.append(nil)))
	}
	if w.trusted {
		_ = truth.AppendTo(h)
	}
	return h
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
