package h1

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// responder takes the answer to the request of a work.
type responder struct {
	w        *work
	answered bool
	slow     bool // the answer may have taken its time
	gathered bool // earlier answers were waiting for this one when its request was read

	// Where the answer begins in what is gathered, and how often something had been written
	// then.
	mark  int
	sends uint

	// Earlier answers must not wait for one that is long in coming: see hurry. It may run
	// beside the handler, and no longer once there is an answer.
	early struct {
		sync.Mutex
		waiting bool
	}
}

// exchange has the handler answer the request that was read, size bytes long.
func (c *conn) exchange(size int) {
	w, s := c.w, c.server
	now := s.now()
	r, h := &w.req, &w.head
	r.Method = http.MethodGet
	if h.head {
		r.Method = http.MethodHead
	}
	r.Scheme, r.Host, r.Port, r.Target, r.Header = c.info.Scheme, h.host, h.port, h.target, &h.fields
	r.Proto, r.Remote, r.Peer, r.Conn, r.Received = "HTTP/1.1", c.info.Remote, c.info.Peer, c.net, now
	r.Early = c.info.Early != nil && c.info.Early()
	w.to.w, w.to.answered, w.to.slow, w.to.gathered = w, false, false, len(w.out.buf) > 0
	w.to.early.waiting = w.to.gathered

	w.start += size
	c.first = false
	if c.ctx == nil || !c.ctx.begin() {
		c.ctx = &reqContext{conn: c}
	}
	c.call()
	if w.to.settle(); !w.to.answered {
		c.fate = gone
	}
	if c.ctx.end() {
		c.ctx, w.to.slow = nil, true
	}
	if c.active = now; w.to.slow {
		c.active = s.now()
	}
	if s.scribble {
		w.spoil(size)
	}
}

// call calls the handler. A panic ends the connection, as in net/http, and nothing else.
func (c *conn) call() {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		c.w.to.settle()
		c.w.to.retract()
		c.fate = gone
		if p != http.ErrAbortHandler {
			c.server.log.Error("handler panicked", "err", fmt.Sprint(p), "remote", c.info.Remote, "stack", string(debug.Stack()))
		}
	}()
	c.server.Handler.Serve(c.ctx, &c.w.req, &c.w.to)
}

// spoil overwrites what the request lay in.
func (w *work) spoil(size int) {
	for _, p := range [][]byte{w.in[w.start-size : w.start], w.head.fields.Wire()} {
		for i := range p {
			p[i] = '#'
		}
	}
}

// settle has hurry do nothing any more.
func (to *responder) settle() {
	if to.gathered {
		to.early.Lock()
		to.early.waiting = false
		to.early.Unlock()
	}
}

// hurry writes the answers that wait for this one: it will be a while.
func (to *responder) hurry() {
	to.early.Lock()
	defer to.early.Unlock()
	if to.early.waiting {
		to.early.waiting = false
		_ = to.w.conn.flush()
	}
}

// Inform sends an interim answer.
func (to *responder) Inform(status int, h *header.Block) {
	to.settle()
	if to.answered || status < 102 || status > 199 {
		return
	}
	to.slow = true
	o := &to.w.out
	o.buf = append(o.buf, statusLine(status)...)
	if h != nil {
		o.buf = append(o.buf, h.Wire()...)
	}
	o.buf = append(o.buf, "\r\n"...)
	_ = to.w.conn.flush()
}

// errAnswered and errLength are mistakes of a handler.
var (
	errAnswered = errors.New("request was answered before")
	errLength   = errors.New("body is not as long as promised")
)

// Respond sends the answer.
func (to *responder) Respond(a *exchange.Answer) error {
	if to.settle(); to.answered {
		return errAnswered
	}
	to.answered = true
	c := to.w.conn
	to.mark, to.sends = len(to.w.out.buf), to.w.out.sends
	if c.fate != open { // the client was gone before
		return abort(errors.New("connection is broken"))
	}
	if to.w.head.last || c.over() {
		c.fate = closing
	}
	err := to.respond(a)
	if err != nil {
		to.retract()
		c.fate = gone
		return abort(err)
	}
	return nil
}

// retract takes back an answer of which nothing was written: its head alone may look
// like the whole.
func (to *responder) retract() {
	if o := &to.w.out; to.answered && o.sends == to.sends {
		o.buf = o.buf[:to.mark]
	}
}

func abort(err error) error { return fmt.Errorf("%w: %w", exchange.ErrAborted, err) }

// over reports whether the connection is to end after the next answer.
func (c *conn) over() bool {
	s := c.server
	if s.drained.Load() != nil {
		return true
	}
	if most := s.limits.ConnTimeout; most == 0 || c.w.req.Received.Sub(c.accepted) < most {
		return false
	}
	s.limited(limits.ConnTimeout)
	return true
}

// respond writes head and body: in one go where both are there.
func (to *responder) respond(a *exchange.Answer) error {
	c, o := to.w.conn, &to.w.out
	bodied := !to.w.head.head && a.Status != http.StatusNoContent && a.Status != http.StatusNotModified
	length, how := a.Length, sized
	switch {
	case a.Status == http.StatusNoContent || a.Status == http.StatusNotModified:
		how = lengthless
	case length < 0 && bodied && a.Bytes == nil && a.Stream != nil:
		how = chunked
	case length < 0 && a.Bytes != nil:
		length = int64(len(a.Bytes))
	case length < 0 && !bodied:
		how = lengthless
	case length < 0:
		length = 0
	}
	o.buf = appendHead(o.buf, a, c.server.dateOf(to.date()), how, length, c.fate == closing)
	switch {
	case !bodied:
	case a.Bytes != nil:
		if int64(len(a.Bytes)) != length {
			return errLength
		}
		if len(a.Bytes) > copyLimit {
			return c.send(a.Bytes, nil)
		}
		o.buf = append(o.buf, a.Bytes...)
	case a.Stream != nil:
		to.slow = true
		return to.stream(a, how == chunked)
	case length > 0:
		return errLength
	}
	if c.more() && len(o.buf) < outSize {
		return nil
	}
	return c.flush()
}

// more reports whether another request may be complete already, whose answer can go
// out together with this one.
func (c *conn) more() bool {
	w := c.w
	return c.fate == open && w.end > w.start && bytes.Contains(w.in[w.start:w.end], crlfcrlf)
}

// date is the time of the answer. One that took long has a clock reading of its own.
func (to *responder) date() time.Time {
	c := to.w.conn
	if to.slow || c.ctx.armed() {
		return c.server.now()
	}
	return to.w.req.Received
}
