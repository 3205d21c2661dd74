package h2

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/listener/limits"
)

// Output is gathered in a buffer which the connection has only while there is any.
const (
	outputSize  = 64 << 10  // bytes that are written at once: four records of TLS
	outputSlack = 8 << 10   // for the heads after which it turns out to be full
	outputMost  = 256 << 10 // bytes of what the client has us say: beyond that it floods us
)

var outputs = sync.Pool{New: func() any { return new([outputSize + outputSlack]byte) }}

// output is the buffer to append to. conn.mu is held.
func (c *conn) output() []byte {
	if c.mu.out == nil {
		c.mu.out = outputs.Get().(*[outputSize + outputSlack]byte)[:0]
	}
	return c.mu.out
}

func freeOutput(b []byte) {
	if cap(b) == outputSize+outputSlack {
		outputs.Put((*[outputSize + outputSlack]byte)(b[:outputSize+outputSlack]))
	}
}

// gather moves into the output what streams have to send, in the order of their
// priorities, until it is full. conn.mu is held.
func (c *conn) gather() {
	for len(c.mu.ready) > 0 && len(c.mu.out) < outputSize-frameHead {
		st := c.pick()
		if st == nil {
			return
		}
		c.take(st)
	}
}

// take moves the next part of a stream's piece into the output.
func (c *conn) take(st *stream) {
	p := &st.piece
	b := c.output()
	if p.answer != nil {
		last := p.end && len(p.data) == 0 && p.trailer == nil
		b = c.mu.enc.appendHead(b, st.id, last, p.answer, p.length)
		if st.status = p.answer.Status; st.status >= 200 {
			st.expect = false // it is too late for 100
		}
		p.answer = nil
		st.sentEnd = last
	}
	if n := len(p.data); n > 0 {
		room := int64(outputSize - frameHead - len(b))
		if n = int(min(int64(n), st.window, c.mu.window, maxFrame, room)); n > 0 {
			b = c.appendData(b, st.id, p.data[:n], p.end && n == len(p.data) && p.trailer == nil)
			st.sentEnd = p.end && n == len(p.data) && p.trailer == nil
			st.window -= int64(n)
			p.data = p.data[n:]
		}
	} else if p.end && p.trailer == nil && !st.sentEnd {
		b = c.appendData(b, st.id, nil, true)
		st.sentEnd = true
	}
	if len(p.data) == 0 && p.trailer != nil {
		b = c.mu.enc.appendTrailer(b, st.id, p.trailer)
		p.trailer, st.sentEnd = nil, true
	}
	c.mu.out = b
	if st.sentEnd && !st.remoteDone && !st.upgraded {
		c.answeredEarly(st.id, st.status, st.receive, st.body.rest(st.came))
		st.body.fail(errClosed)
		c.remoteDone(st)
	}
	c.over(st)
	if len(p.data) == 0 {
		c.unready(st)
		st.nudge()
	} else {
		st.progress = time.Now()
	}
}

// over counts a stream that has ended on both sides, once.
func (c *conn) over(st *stream) {
	if st.sentEnd && st.remoteDone && st.broken == nil && !st.over {
		st.over = true
		c.mu.answered++
	}
}

// appendData appends a DATA frame. A client may answer it with a WINDOW_UPDATE for the
// stream and one for the connection, and with two more for each KiB: Go's sends them with
// every 4 KiB that are read.
func (c *conn) appendData(b []byte, id uint32, data []byte, end bool) []byte {
	var flags http2.Flags
	if end {
		flags = http2.FlagDataEndStream
	}
	c.mu.window -= int64(len(data))
	c.mu.updates = min(c.mu.updates+2+len(data)/512, 1<<20)
	return append(appendFrame(b, len(data), http2.FrameData, flags, id), data...)
}

// kick has what there is written, by the calling goroutine if nobody writes yet: it may
// block, and conn.mu, which is held, is free meanwhile.
func (c *conn) kick() {
	if c.mu.writing || c.mu.dead != nil {
		return
	}
	c.mu.writing = true
	c.writeOnce()
	c.writeRest()
}

// kickAside has what there is written by another goroutine.
func (c *conn) kickAside() {
	if c.mu.writing || c.mu.dead != nil {
		return
	}
	c.mu.writing = true
	c.writeRest()
}

// soon is how long the head of an answer waits for the beginning of its body, so that
// both are written at once.
const soon = 500 * time.Microsecond

// kickSoon has what there is written with what comes next, or soon.
func (c *conn) kickSoon() {
	if c.mu.writing || c.mu.dead != nil {
		return
	}
	if c.mu.flushTimer != nil {
		c.mu.flushTimer.Reset(soon)
		return
	}
	c.mu.flushTimer = time.AfterFunc(soon, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.mu.out) > 0 {
			c.kickAside()
		}
	})
}

// writeRest leaves what is left to a goroutine, which ends when nothing is.
func (c *conn) writeRest() {
	if c.mu.dead == nil && c.sendable() {
		c.wg.Go(func() {
			runtime.Gosched() // handlers that are about to answer come first
			c.mu.Lock()
			defer c.mu.Unlock()
			for c.mu.dead == nil && c.sendable() {
				c.writeOnce()
			}
			c.wrote()
		})
		return
	}
	c.wrote()
}

// wrote ends a turn of writing.
func (c *conn) wrote() {
	c.mu.writing = false
	c.watchDeadline()
	if c.mu.quiet != nil {
		close(c.mu.quiet)
		c.mu.quiet = nil
	}
	c.finishDrain()
}

// sendable reports whether there is something to write.
func (c *conn) sendable() bool {
	if len(c.mu.out) > 0 {
		return true
	}
	for _, st := range c.mu.ready {
		if st.sendable() {
			return true
		}
	}
	return false
}

// writeOnce fills the output and writes it. The caller holds conn.mu, which is free
// meanwhile, and is the one who writes.
func (c *conn) writeOnce() {
	c.gather()
	b := c.mu.out
	if len(b) == 0 {
		return
	}
	c.mu.out = nil
	c.mu.Unlock()
	at, err := c.write(b)
	c.mu.Lock()
	if c.mu.out == nil && cap(b) == outputSize+outputSlack {
		c.mu.out = b[:0]
	} else {
		freeOutput(b)
	}
	c.mu.progress = at
	if len(c.mu.out) == 0 && len(c.mu.ready) == 0 {
		freeOutput(c.mu.out)
		c.mu.out = nil
	}
	if err != nil {
		c.die(err)
	}
}

// TLS writes while it reads, when a client asks for other keys (RFC 8446 §4.6.3), and
// cannot be used any more if the deadline of our last write has passed by then: the reader
// lifts it while nobody writes. conn.mu is held by those who call what follows.

// watchDeadline has the reader wake up in time for that.
func (c *conn) watchDeadline() {
	if lift := c.lift(); !c.mu.writing && !c.deadline.IsZero() && c.mu.armed.After(lift) {
		c.mu.armed = lift
		_ = c.nc.SetReadDeadline(lift)
	}
}

// liftDeadline takes the deadline of writes away if it is near.
func (c *conn) liftDeadline(now time.Time) {
	if !c.mu.writing && !c.deadline.IsZero() && !now.Before(c.lift()) {
		c.deadline = time.Time{}
		_ = c.nc.SetWriteDeadline(c.deadline)
	}
}

func (c *conn) lift() time.Time { return c.deadline.Add(-c.srv.limits.WriteTimeout / 4) }

// write writes b within the time for it, and says when it began to. Only who writes
// calls it.
func (c *conn) write(b []byte) (time.Time, error) {
	now := time.Now()
	if timeout := c.srv.limits.WriteTimeout; c.deadline.Sub(now) < timeout/4*3 {
		// Setting a deadline costs more than the write's share of a hit: a quarter of the
		// time is given away.
		c.deadline = now.Add(timeout)
		if err := c.nc.SetWriteDeadline(c.deadline); err != nil {
			return now, err
		}
	}
	if c.cork != nil && len(b) > maxFrame { // more than one record
		c.cork.Cork()
	}
	_, err := c.nc.Write(b)
	if c.cork != nil && len(b) > maxFrame {
		if flushed := c.cork.Uncork(); err == nil {
			err = flushed
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.srv.limited(limits.WriteTimeout)
	}
	return now, err
}
