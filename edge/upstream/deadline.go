package upstream

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"
)

// Errors of a try that takes too long. Each is a net.Error that is a timeout.
var (
	// ErrNoConnection: no connection came about in time.
	ErrNoConnection error = lateError("no connection in time")
	// ErrNoHead: the head of the answer did not come in time.
	ErrNoHead error = lateError("no answer in time")
	// ErrNotTaken: the parent did not take the request's body.
	ErrNotTaken error = lateError("the request's body is not taken")
)

type lateError string

func (e lateError) Error() string { return string(e) }

// Timeout is of net.Error.
func (lateError) Timeout() bool { return true }

// Temporary is of net.Error.
func (lateError) Temporary() bool { return true }

// progress watches a try up to the head of its answer, and breaks it off when it stands
// still. It sees how far the request got.
type progress struct {
	limits Limits
	cancel context.CancelCauseFunc
	timer  *time.Timer

	mu        sync.Mutex
	late      error // that the timer stands for
	over      bool
	sought    bool // a connection was
	connected bool // the parent may have got something of the request
}

// watch makes the context of a try.
func watch(ctx context.Context, limits Limits) (context.Context, *progress) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &progress{limits: limits, cancel: cancel, late: ErrNoConnection}
	p.timer = time.AfterFunc(limits.Connect, p.expire)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// On a connection that turns out to be dead it begins anew.
		GetConn:      func(string) { p.seek() },
		GotConn:      func(httptrace.GotConnInfo) { p.expect(nil, 0, true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { p.expect(ErrNoHead, limits.FirstByte, true) },
		// An answer that comes before the request's end is waited for as well.
		GotFirstResponseByte: func() { p.expect(ErrNoHead, limits.FirstByte, true) },
	}), p
}

// seek waits for a connection.
func (p *progress) seek() {
	p.mu.Lock()
	p.sought = true
	p.mu.Unlock()
	p.expect(ErrNoConnection, p.limits.Connect, false)
}

// expect waits for what is next, for a time; with nil for as long as it takes.
func (p *progress) expect(late error, within time.Duration, connected bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = p.connected || connected
	if p.over {
		return
	}
	if p.late = late; late == nil {
		p.timer.Stop()
	} else {
		p.timer.Reset(within)
	}
}

func (p *progress) expire() {
	p.mu.Lock()
	late := p.late
	if p.over {
		late = nil
	}
	p.mu.Unlock()
	if late != nil {
		p.cancel(late)
	}
}

// end stops the watch, at the head or a failure. It reports whether a connection was sought,
// and whether the parent may have got something of the request.
func (p *progress) end() (sought, connected bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
	return p.sought, p.connected
}
