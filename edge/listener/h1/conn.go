package h1

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// fate is what becomes of a connection.
type fate uint8

const (
	open    fate = iota
	passed       // to the full lane
	closing      // after its last answer, so that the client can read that
	gone         // at once: the client has left, or an answer was broken off
)

// conn is a connection. All but its net.Conn belongs to the goroutine that serves it.
// There is one for each idle client, so that it is small: what a request needs is in a
// work, which it has only while bytes are there.
type conn struct {
	server *Server
	net    net.Conn
	raw    syscall.RawConn // of a socket that is read and written by its descriptor, else nil
	corked corked          // below TLS, where it can be corked, else nil
	info   ConnInfo
	w      *work
	ctx    *reqContext // of the next request; nil when it must be made

	onRead, onWrite func(fd uintptr) bool // made once

	fate   fate
	first  bool // no request has come yet
	cork   bool // the write that is under way is followed by another
	broken error

	accepted time.Time
	active   time.Time // the end of the last answer, or when the connection was accepted
	begun    time.Time // the first byte of a head that is not complete yet; zero when there is none
	due      time.Time // the read deadline that is set; zero when none is to be relied on
	dueWrite time.Time // the write deadline that is set
	look     [1]byte   // what an idle connection without a descriptor reads into
}

// work is what a connection needs while it reads a request and answers it.
type work struct {
	conn       *conn
	in         []byte // start:end is unread
	start, end int
	head       head
	req        exchange.Request
	out        outgoing
	to         responder
}

// inSize holds any usual head, or several; a larger one has a larger buffer of its own.
const inSize = 8 << 10

var works = sync.Pool{New: func() any { return &work{in: make([]byte, inSize)} }}

// get gives the connection a work.
func (c *conn) get() *work {
	if c.w == nil {
		c.w = works.Get().(*work)
		c.w.conn = c
	}
	return c.w
}

// put takes the work back; what is unread in it is lost.
func (c *conn) put() {
	w := c.w
	if w == nil {
		return
	}
	c.w, w.conn, w.start, w.end = nil, nil, 0, 0
	w.req, w.to = exchange.Request{}, responder{}
	w.out.reset()
	if len(w.in) > inSize {
		w.in = make([]byte, inSize)
	}
	if w.head.fields.Size() > keepSize/4 {
		w.head.fields = header.Block{}
	}
	works.Put(w)
}

func newConn(s *Server, c net.Conn, info ConnInfo) *conn {
	one := &conn{server: s, net: c, info: info, first: true, accepted: s.now()}
	one.active = one.accepted
	switch c := c.(type) {
	case *net.TCPConn:
		one.raw, _ = c.SyscallConn()
	case *net.UnixConn:
		one.raw, _ = c.SyscallConn()
	}
	if below, ok := c.(interface{ NetConn() net.Conn }); ok && one.raw == nil {
		one.corked, _ = below.NetConn().(corked)
	}
	if one.raw != nil {
		one.onRead, one.onWrite = one.readable, one.writable
	}
	return one
}

// run serves the connection to its end.
func (c *conn) run() {
	c.feed()
	if c.raw != nil {
		c.runSocket()
	} else {
		c.runOther()
	}
	c.finish()
}

// feed serves what was read before.
func (c *conn) feed() {
	unread := c.info.Unread
	if c.info.Unread = nil; len(unread) == 0 {
		return
	}
	w := c.get()
	if len(unread) >= len(w.in) {
		w.in = make([]byte, len(unread)+inSize)
	}
	w.end = copy(w.in, unread)
	if c.serve(); w.end == 0 {
		c.put()
	}
}

// serve answers what is complete among the bytes read.
func (c *conn) serve() {
	w, s := c.w, c.server
	for c.fate == open && w.start < w.end {
		size, v := w.head.read(w.in[w.start:w.end], s.limits.HeaderBytes, s.limits.HeaderFields)
		switch v {
		case accepted:
			c.begun = time.Time{}
			c.exchange(size)
		case incomplete:
			if c.begun.IsZero() {
				c.begun = s.now()
			}
			c.flush()
			w.room()
			return
		case foreign:
			c.fate = passed
		case manyBytes:
			c.refuse(431, limits.HeaderBytes)
		case manyFields:
			c.refuse(431, limits.HeaderFields)
		}
	}
	c.flush()
	if w.start == w.end {
		w.start, w.end = 0, 0
	}
}

// room makes place behind the bytes that are unread.
func (w *work) room() {
	if w.start > 0 {
		w.end = copy(w.in, w.in[w.start:w.end])
		w.start = 0
	}
	if w.end == len(w.in) { // HeaderBytes bounds it
		w.in = append(w.in, make([]byte, len(w.in))...)
	}
}

// wait says until when the connection may wait for bytes, and why not longer.
func (c *conn) wait() (until time.Time, why limits.Reason) {
	l := &c.server.limits
	switch {
	case !c.begun.IsZero():
		return c.begun.Add(l.HeadTimeout), limits.HeadTimeout
	case c.first:
		until, why = c.accepted.Add(l.HeadTimeout), limits.HeadTimeout
	default:
		until = c.active.Add(l.IdleTimeout)
	}
	if since := c.server.drained.Load(); since != nil {
		if t := later(c.active, *since).Add(quiet); t.Before(until) {
			until, why = t, limits.None
		}
	}
	if l.ConnTimeout > 0 {
		if t := c.accepted.Add(l.ConnTimeout); t.Before(until) {
			until, why = t, limits.ConnTimeout
		}
	}
	return until, why
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rest is called when there is nothing to read: it has the connection wait until more
// comes, with a deadline, or ends it when it has waited long enough.
//
// Setting a deadline costs more than it seems, so that the one that is set is kept as
// long as it is not too late. If it comes before it is due, rest is called again.
//
// The deadline of a write is kept likewise, but must not pass while the connection waits:
// TLS writes within a read when it is asked for other keys (RFC 8446 §4.6.3).
func (c *conn) rest() {
	for {
		until, why := c.wait()
		if !c.dueWrite.IsZero() {
			if c.due.IsZero() {
				c.dueWrite = time.Time{}
				_ = c.net.SetWriteDeadline(time.Time{})
			} else if c.dueWrite.Before(until) {
				until = c.dueWrite
			}
		}
		if !c.due.IsZero() && !c.due.After(until) {
			return
		}
		drained := c.server.drained.Load()
		left := until.Sub(c.server.now())
		switch {
		case left > 0:
		case until == c.dueWrite:
			c.due = time.Time{}
			continue
		default:
			c.timeout(why)
			return
		}
		c.due = until
		_ = c.net.SetReadDeadline(time.Now().Add(left))
		if drained == c.server.drained.Load() {
			return
		}
		c.due = time.Time{} // Drain may have come before us with its deadline
	}
}

// timeout ends a connection that has been waited for in vain.
func (c *conn) timeout(why limits.Reason) {
	c.fate = closing
	if why != limits.None {
		c.server.limited(why)
	}
	if !c.begun.IsZero() {
		c.get()
		c.say(408)
	}
}

// refuse answers a head that is beyond a limit.
func (c *conn) refuse(status int, why limits.Reason) {
	c.server.limited(why)
	c.fate = closing
	c.say(status)
}

// runOther reads a connection by its methods.
func (c *conn) runOther() {
	for c.fate == open {
		idle := c.w == nil
		c.rest()
		if last := c.fate == closing; last && idle {
			// Only a read tells whether a request has come in the meantime.
			c.fate = open
			_ = c.net.SetReadDeadline(time.Now().Add(lastLookTime))
			if !c.read() {
				c.fate = closing
			}
			c.due = time.Time{}
		} else if !last {
			c.read()
		}
	}
}

// lastLookTime is how long a connection that is about to be closed is read from.
const lastLookTime = time.Millisecond

// read reads and serves what comes next, and is false when nothing does before the deadline.
func (c *conn) read() bool {
	// Nobody tells when bytes are there but a read, which needs somewhere to put them.
	p := c.look[:]
	if c.w != nil {
		p = c.w.in[c.w.end:]
	}
	n, err := c.net.Read(p)
	if n > 0 {
		w := c.get()
		if &p[0] == &c.look[0] {
			w.in[0] = c.look[0]
		}
		w.end += n
		if c.serve(); w.end == 0 {
			c.put()
		}
	}
	switch {
	case err == nil || c.fate != open:
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.due = time.Time{}
		return n > 0
	default:
		c.fate = gone
	}
	return true
}
