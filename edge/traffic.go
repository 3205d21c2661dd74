package edge

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"

	"freshet/edge/exchange"
	"freshet/internal/load"
	"freshet/internal/run"
)

// traffic counts what goes on and out. It lies in many cache lines, as spread does.
type traffic [16]stripe

type stripe struct {
	inFlight atomic.Int64
	bytes    atomic.Uint64 // of bodies
	_        [48]byte
}

func (t *traffic) stripe() *stripe { return &t[rand.Uint32()%uint32(len(t))] }

// counts is what load is told of.
func (e *Edge) counts() load.Counts {
	r := &e.metrics.requests
	c := load.Counts{Hits: r.hit.sum() + r.stale.sum()}
	c.Requests = c.Hits + r.miss.sum() + r.pass.sum() + r.refused.sum() + r.failed.sum()
	for i := range e.traffic {
		c.InFlight += e.traffic[i].inFlight.Load()
		c.Bytes += e.traffic[i].bytes.Load()
	}
	return c
}

// loadTask says on the bus how busy the node is.
func (e *Edge) loadTask() run.Task {
	return run.Task{Name: "load", Run: func(ctx context.Context) error {
		m := load.NewMeter(e.env.File.Name, string(e.env.File.Role), e.counts)
		return m.Publish(ctx, e.env.Bus, e.log, e.env.Complete)
	}}
}

// tallied makes the body of an answer count what goes out of it; what counts is nil for an
// answer that lies in RAM.
func (w *walk) tallied(a *exchange.Answer) *tally {
	if a.Stream == nil {
		return nil
	}
	stream := &tally{from: a.Stream, stripe: w.stripe}
	a.Stream = stream
	if to, ok := stream.from.(io.WriterTo); ok {
		a.Stream = tallyTo{stream, to}
	}
	return stream
}

// bodyless reports whether an answer has no body, whatever its length.
func (w *walk) bodyless(a *exchange.Answer) bool {
	return w.req.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
}

// tally counts what is read of a body.
type tally struct {
	from   io.Reader
	stripe *stripe
	bytes  int64
}

func (c *tally) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.add(int64(n))
	return n, err
}

func (c *tally) add(n int64) {
	c.bytes += n
	c.stripe.bytes.Add(uint64(n))
}

// tallyTo counts what a body writes itself.
type tallyTo struct {
	*tally
	to io.WriterTo
}

func (c tallyTo) WriteTo(w io.Writer) (int64, error) {
	n, err := c.to.WriteTo(w)
	c.add(n)
	return n, err
}
