package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/edge/upstream/guard"
)

// errOutdone ends a try when another one has the answer.
var errOutdone = errors.New("another parent was faster")

// try is one request to one parent, with the place that it takes there.
type try struct {
	client *Client
	ctx    context.Context // of the one who asks
	asker  context.Context // likewise, of a try that goes on without; else nil
	site   string
	parent Parent
	limits Limits
	link   *guard.Link
	leaves guard.Leaves
	req    Request
	body   *sentBody // that is in req; nil for none

	sought    bool // a connection was
	connected bool // the parent may have got something of the request
	stop      context.CancelCauseFunc
	released  sync.Once
	ended     sync.Once
}

// repeatable reports whether the request may be sent again after a parent got some of it: it
// is idempotent (RFC 9110 §9.2.2), and all of it is still there.
func (t *try) repeatable() bool {
	switch t.req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return t.body == nil && t.req.Upgrade == ""
	}
	return false
}

// taken reports whether some of the request's body is gone.
func (t *try) taken() bool { return t.body != nil && t.body.read.Load() }

// release gives the place back. It may be called more than once.
func (t *try) release() { t.released.Do(t.link.Release) }

// end gives the place back, and the link. It may be called more than once.
func (t *try) end() {
	t.ended.Do(func() {
		t.release()
		t.link.Leave()
	})
}

// begin makes what the try runs under; to be called before do, by whoever may abandon it.
func (t *try) begin() (context.Context, *progress) {
	ctx, p := watch(t.ctx, t.limits)
	t.stop = p.cancel
	if t.body != nil {
		t.body.progress = p
	}
	return ctx, p
}

// detach has the try go on to the head of the answer though who asks has gone, or has an
// answer: it decides what becomes of the parent. To be called before begin.
func (t *try) detach() { t.asker, t.ctx = t.ctx, context.WithoutCancel(t.ctx) }

// attach undoes that, for the body. It fails when who asks has gone.
func (t *try) attach() error {
	if t.asker == nil {
		return nil
	}
	t.ctx = t.asker
	context.AfterFunc(t.asker, func() { t.stop(context.Cause(t.asker)) })
	return context.Cause(t.asker)
}

// do asks the parent, and says to its guard how that went.
func (t *try) do(ctx context.Context, p *progress) (*Reply, error) {
	began := t.client.now()
	reply, err := t.client.Do(ctx, t.parent, t.req)
	took := t.client.now().Sub(began)
	t.sought, t.connected = p.end()
	cause := context.Cause(ctx)
	switch {
	case err != nil && isLate(cause):
		err = fmt.Errorf("ask %s: %w: %w", t.parent, ErrUnreachable, cause)
	case err == nil && cause != nil: // between the head and here
		reply.Body.Close()
		err = fmt.Errorf("ask %s: %w: %w", t.parent, ErrUnreachable, cause)
	}
	if err != nil {
		t.failed(err, cause, took)
		t.stop(nil)
		t.end()
		return nil, err
	}
	if t.body == nil {
		t.first(took)
	}
	t.reached()
	if t.leaves.Exchange.Probe {
		t.answered() // its body may take hours
		t.leaves.Exchange = guard.Permit{}
	}
	if reply.Conn != nil {
		t.answered()
		t.end()
		return reply, nil
	}
	if reply.isStream() {
		t.release() // it may go on for hours, with little to do for the parent: it is no load
		t.answered()
		t.leaves.Exchange = guard.Permit{} // and all end at once where a server is restarted
	}
	reply.Body = &guardedBody{ReadCloser: reply.Body, try: t, paced: reply.Length >= 0}
	if err := t.attach(); err != nil {
		reply.Body.Close()
		return nil, fmt.Errorf("ask %s: %w", t.parent, err)
	}
	return reply, nil
}

func isLate(err error) bool {
	var late lateError
	return errors.As(err, &late)
}

// first counts a time to the first byte.
func (t *try) first(took time.Duration) {
	t.link.Node.First.Add(took)
	t.client.metrics.firstByte(t.parent, took)
}

// failed says to the guard that no answer came. That a client went away is not the parent's
// failure, nor is what is wrong with a client's body.
func (t *try) failed(err, cause error, took time.Duration) {
	switch {
	case errors.Is(cause, errOutdone):
		if t.connected {
			t.link.Node.First.Add(took) // it would have taken longer still
		}
		t.leaves.Void()
	case t.ctx.Err() != nil, t.body != nil && t.body.broken.Load(), !t.sought:
		t.leaves.Void()
	case t.connected:
		t.reached()
		t.spoiled(err, t.blame())
	case isTLS(err): // which a site has its own way of
		t.leaves.Reach.Void()
		t.spoiled(err, 0)
	default:
		t.leaves.Exchange.Void()
		t.link.Saw(err)
		if t.leaves.Reach.Failed(0) {
			t.client.changed(BreakerChange{Parent: t.parent, Open: true, Err: err})
		}
	}
}

// reached says that there was a connection.
func (t *try) reached() {
	if t.leaves.Reach.Passed() {
		t.client.changed(BreakerChange{Parent: t.parent})
	}
}

// answered says that the parent has done its part, spoiled that it has not.
func (t *try) answered() {
	if t.leaves.Exchange.Passed() {
		t.client.changed(BreakerChange{Parent: t.parent, Site: t.site})
	}
}

func (t *try) spoiled(err error, blame uint64) {
	t.link.Saw(err)
	if t.leaves.Exchange.Failed(blame) {
		t.client.changed(BreakerChange{Parent: t.parent, Site: t.site, Open: true, Err: err})
	}
}

// blame stands for what was asked for.
func (t *try) blame() uint64 { return xxh3.HashString(t.req.Key) | 1 }

func isTLS(err error) bool {
	var (
		alert    tls.AlertError
		record   tls.RecordHeaderError
		verify   *tls.CertificateVerificationError
		host     x509.HostnameError
		unknown  x509.UnknownAuthorityError
		unusable x509.CertificateInvalidError
		dial     *net.OpError
	)
	return errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &verify) ||
		errors.As(err, &host) || errors.As(err, &unknown) || errors.As(err, &unusable) ||
		errors.As(err, &dial) && dial.Op == "handshake"
}

// sentBody is a request's body that knows what became of it. The parent has to take what
// is sent within the time that is allowed between bytes.
type sentBody struct {
	io.Reader
	progress *progress
	read     atomic.Bool // some of it is gone
	broken   atomic.Bool // by the one who sends it
}

// Read is of io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	b.progress.expect(nil, 0, true) // the client has limits of its own
	n, err := b.Reader.Read(p)
	switch err {
	case nil:
		b.progress.expect(ErrNotTaken, b.progress.limits.BetweenBytes, true)
	case io.EOF:
		b.progress.expect(ErrNoHead, b.progress.limits.BetweenBytes+b.progress.limits.FirstByte, true)
	default:
		b.broken.Store(true)
	}
	return n, err
}

// Pace is measured of bodies that come to this much, or take this long.
const (
	paceBytes = 64 << 10
	paceTime  = 500 * time.Millisecond
	// paceEvery is how often it is measured of one that goes on and on.
	paceEvery = 2 * time.Second
)

// guardedBody gives the place back at the body's end, and says to the guard how that came.
type guardedBody struct {
	io.ReadCloser
	try     *try
	once    sync.Once
	paced   bool // its pace is the parent's, not that of what happens
	bytes   int64
	blocked time.Duration // in reading them
}

// Read is of io.Reader.
func (b *guardedBody) Read(p []byte) (int, error) {
	began := b.try.client.now()
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	b.blocked += b.try.client.now().Sub(began)
	if b.blocked >= paceEvery {
		b.measure()
	}
	if err != nil {
		b.finish(err)
	}
	return n, err
}

// Close is of io.Closer.
func (b *guardedBody) Close() error {
	err := b.ReadCloser.Close()
	b.finish(io.EOF) // as far as it was wanted
	b.try.stop(nil)
	return err
}

func (b *guardedBody) measure() {
	if b.paced && (b.bytes >= paceBytes || b.blocked >= paceTime) {
		mib := max(float64(b.bytes), 1) / (1 << 20)
		b.try.link.Node.Pace.Add(time.Duration(min(float64(b.blocked)/mib, float64(time.Hour))))
	}
	b.bytes, b.blocked = 0, 0
}

func (b *guardedBody) finish(err error) {
	b.once.Do(func() {
		t := b.try
		b.measure()
		switch {
		case err == io.EOF:
			t.answered()
		case t.ctx.Err() != nil, t.body != nil && t.body.broken.Load():
			t.leaves.Exchange.Void()
		default:
			t.spoiled(err, t.blame())
		}
		t.end()
	})
}
