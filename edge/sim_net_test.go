package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/hop"
)

// simTransport carries a process's requests to other nodes and the origin, each message
// late by what follows from the seed.
type simTransport struct {
	w     *sim
	from  *simProcess
	calls atomic.Uint64
}

var errSimCut = errors.New("cut by the history")

// lost is an error of the network.
func lost(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }

func (t *simTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	w, ctx := t.w, req.Context()
	to := t.target(req)
	rnd := rand.New(rand.NewPCG(w.seed, simSum([]string{t.from.n.name, to, req.Host, req.URL.Opaque}, uint64(t.from.ran), t.calls.Add(1))))
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(req.URL.Host)
	}
	if err := t.travels(ctx, rnd, to, true); err != nil {
		return nil, err
	}
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	if trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
	var res *http.Response
	var err error
	if to == "origin" {
		res, err = w.origin.answer(ctx, t.from.n.name, req, rnd)
	} else {
		res, err = t.serve(ctx, w.node(to), req)
	}
	if err != nil {
		return nil, err
	}
	if err := t.travels(ctx, rnd, to, false); err != nil {
		res.Body.Close()
		return nil, err
	}
	if to != "origin" {
		t.misreport(req, res)
	}
	return res, nil
}

// target is whom a request is for.
func (t *simTransport) target(req *http.Request) string {
	for _, n := range t.w.nodes {
		if n.addr.String() == req.URL.Host || n.addr.Addr().String() == req.URL.Host {
			return n.name
		}
	}
	return "origin"
}

func (w *sim) node(name string) *simNode {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// travels is one message's way.
func (t *simTransport) travels(ctx context.Context, rnd *rand.Rand, to string, there bool) error {
	w := t.w
	d := simExp(rnd, w.params.latency)
	if rnd.IntN(40) == 0 {
		d += simExp(rnd, 100*time.Millisecond)
	}
	if err := simSleep(ctx, d); err != nil {
		return err
	}
	if to == "origin" && !w.params.direct && t.from.n.name[0] == 'e' {
		return lost(errSimCut)
	}
	w.mu.Lock()
	cut := w.mu.cut[t.from.n.name+">"+to]
	w.mu.Unlock()
	if !cut {
		return nil
	}
	if rnd.IntN(2) == 0 { // nobody says so
		if err := simSleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return lost(errSimCut)
}

// serve has another node answer.
func (t *simTransport) serve(ctx context.Context, n *simNode, req *http.Request) (*http.Response, error) {
	p := n.process()
	if p == nil || !p.begins() {
		return nil, lost(errors.New("connection refused"))
	}
	ex := &exchange.Request{
		Method: req.Method, Scheme: "http", Target: req.URL.RequestURI(), Header: new(header.Block), Proto: "HTTP/1.1",
		Remote: netip.AddrPortFrom(t.from.n.addr.Addr(), 1000), Received: time.Now(),
	}
	ex.Host, ex.Port, _ = exchange.SplitHost(req.Host)
	for name, values := range req.Header {
		for _, value := range values {
			if err := ex.Header.Add(name, value); err != nil {
				p.serving.Done()
				return nil, err
			}
		}
	}
	if t.w.lie == lieFence || t.w.lie == lieUnasked {
		ex.Header.Del(hop.FenceField)
	}
	serving, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(p.ctx, func() { cancel(errKilled) })
	to := &hopResponder{req: req, heads: make(chan *http.Response, 1)}
	context.AfterFunc(serving, func() { to.end(errKilled) }) // unless it has ended
	go func() {                                              // which the end of the process waits for
		defer p.serving.Done()
		defer unhook()
		defer cancel(nil)
		p.Serve(serving, ex, to)
	}()
	select {
	case res := <-to.heads:
		return res, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-p.ctx.Done():
		return nil, lost(errKilled)
	}
}

// hopResponder makes of an answer what net/http makes of it. The body is carried over while
// it is read.
type hopResponder struct {
	req   *http.Request
	heads chan *http.Response
	mu    struct {
		sync.Mutex
		pipe  *io.PipeWriter
		ended bool
	}
}

func (*hopResponder) Inform(int, *header.Block) {}

func (h *hopResponder) Respond(a *exchange.Answer) error {
	fields := make(http.Header)
	for _, block := range []*header.Block{a.Header, a.Extra} {
		if block == nil {
			continue
		}
		for name, value := range block.All() {
			name = http.CanonicalHeaderKey(strings.Clone(name)) // the block is used again once Respond returns
			fields[name] = append(fields[name], strings.Clone(value))
		}
	}
	length := a.Length
	if a.Bytes != nil {
		length = int64(len(a.Bytes))
	}
	if h.req.Method == "HEAD" || a.Status == 304 || a.Status == 204 || a.Bytes == nil && a.Stream == nil {
		h.heads <- simAnswer(h.req, a.Status, fields, nil, length)
		return nil
	}
	r, w := io.Pipe()
	h.mu.Lock()
	h.mu.pipe = w
	if h.mu.ended {
		w.CloseWithError(lost(errKilled))
	}
	h.mu.Unlock()
	h.heads <- simAnswer(h.req, a.Status, fields, r, length)
	if a.Stream == nil {
		if _, err := w.Write(a.Bytes); err != nil {
			return exchange.ErrAborted
		}
		return w.Close()
	}
	if _, err := io.Copy(w, a.Stream); err != nil {
		w.CloseWithError(lost(err))
		return exchange.ErrAborted
	}
	return w.Close()
}

// end breaks the body off, if it has not ended.
func (h *hopResponder) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.ended = true
	if h.mu.pipe != nil {
		h.mu.pipe.CloseWithError(lost(err))
	}
}

// misreport changes what a tier says of the truth of its answer, as some of the lies have
// it.
func (t *simTransport) misreport(req *http.Request, res *http.Response) {
	l := t.w.lie
	if l != lieFence && l != lieReceipt && l != lie304 {
		return
	}
	asked, said := new(header.Block), new(header.Block)
	_ = asked.Set(hop.FenceField, req.Header.Get(hop.FenceField))
	if field := res.Header.Get(hop.TrueField); field == "" || said.Set(hop.TrueField, field) != nil {
		return
	}
	truth, ok, _ := hop.ReadTruth(said)
	fence, err := hop.ReadFence(asked)
	if !ok || err != nil {
		return
	}
	switch clock := t.from.table.Clock(); {
	case l == lieFence:
		truth.Log = fence.Log
		truth.Born, truth.AsOf = max(truth.Born, fence.Born), max(truth.AsOf, fence.Highest())
	case truth.Log != clock.Log:
		return
	case l == lieReceipt && truth.Satisfies(fence):
		truth.AsOf = max(truth.AsOf, clock.Seq)
	case l == lie304 && res.StatusCode == 304:
		truth.Born = max(truth.Born, clock.Seq)
		truth.AsOf = max(truth.AsOf, truth.Born)
		truth.Soft = hop.Soft{}
	default:
		return
	}
	told := new(header.Block)
	if truth.AppendTo(told) == nil {
		res.Header.Set(hop.TrueField, told.Get(hop.TrueField))
	}
}

// clientAnswer is what a client has got.
type clientAnswer struct {
	quick  bool // taken by ServeQuick
	status int
	header header.Block
	body   []byte
	broken error
	// What a listener would hand on later belongs to the next answer by then.
	done bool
}

// whole reports whether it is what was asked for, to its end.
func (c *clientAnswer) whole() bool {
	return (c.status == http.StatusOK || c.status == http.StatusPartialContent) && c.broken == nil
}

func (*clientAnswer) Inform(int, *header.Block) {}

func (c *clientAnswer) Respond(a *exchange.Answer) error {
	if c.quick && a.Stream != nil {
		return exchange.ErrNotAtOnce
	}
	c.status, c.done = a.Status, true
	for _, block := range []*header.Block{a.Header, a.Extra} {
		if block == nil {
			continue
		}
		for name, value := range block.All() {
			if err := c.header.Add(name, value); err != nil {
				c.broken = err
			}
		}
	}
	switch {
	case a.Bytes != nil:
		c.body = append([]byte(nil), a.Bytes...)
	case a.Stream != nil:
		c.body, c.broken = io.ReadAll(a.Stream)
		if c.broken == nil && a.Length >= 0 && int64(len(c.body)) != a.Length {
			c.broken = fmt.Errorf("%d of %d bytes", len(c.body), a.Length)
		}
		if c.broken != nil {
			return exchange.ErrAborted
		}
	}
	return nil
}

// clockOf is for the trace.
func clockOf(p *simProcess) command.Clock { return p.table.Clock() }
