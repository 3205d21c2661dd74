package h2

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// moreFrames is how many CONTINUATION frames a header block may have.
const moreFrames = 64

// earlyPriority is what PRIORITY_UPDATE said of a stream that was not open yet.
type earlyPriority struct {
	id       uint32
	priority priority
}

// headers takes a HEADERS frame.
func (c *conn) headers(fh http2.FrameHeader) error {
	if fh.StreamID%2 == 0 {
		return connError{http2.ErrCodeProtocol, "HEADERS on a stream that cannot be"}
	}
	p, err := c.in.next(int(fh.Length))
	if err != nil {
		return err
	}
	if fh.Flags.Has(http2.FlagHeadersPadded) {
		if len(p) == 0 || int(p[0]) >= len(p) {
			return connError{http2.ErrCodeProtocol, "more padding than frame"}
		}
		p = p[1 : len(p)-int(p[0])]
	}
	bound := false
	if fh.Flags.Has(http2.FlagHeadersPriority) {
		if len(p) < 5 {
			return connError{http2.ErrCodeFrameSize, "a HEADERS frame is too small"}
		}
		bound = binary.BigEndian.Uint32(p)&maxWindow == fh.StreamID
		p = p[5:]
	}
	if err := c.beginHead(fh); err != nil {
		return err
	}
	c.head.selfBound = bound
	return c.fragment(p, fh.Flags.Has(http2.FlagHeadersEndHeaders))
}

// beginHead finds out what the header block of a HEADERS frame is.
func (c *conn) beginHead(fh http2.FrameHeader) error {
	if c.next == nil {
		c.next = streams.Get().(*stream)
	}
	c.next.fields.Reset()
	c.head.begin(fh.StreamID, &c.next.fields)
	c.head.end = fh.Flags.Has(http2.FlagHeadersEndStream)
	if fh.StreamID > c.mu.lastID { // only the reader changes it
		c.mu.Lock()
		c.mu.lastID = fh.StreamID
		c.head.discard = c.mu.goAway == 2 && fh.StreamID > c.mu.last
		if c.mu.drainTimer != nil { // it was waited for
			c.drain()
		}
		c.mu.Unlock()
		c.opened[fh.StreamID/2%uint32(len(c.opened))] = fh.StreamID
		c.lastHead = c.at
		return nil
	}
	c.head.trailer = true
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.mu.streams[fh.StreamID]
	switch {
	case st != nil && !st.remoteDone && st.broken == nil:
		return nil
	case c.dropLate(fh.StreamID, 0, true), c.givenUp(fh.StreamID):
		c.head.discard = true
		return nil
	case st != nil, c.opened[fh.StreamID/2%uint32(len(c.opened))] == fh.StreamID:
		return connError{http2.ErrCodeStreamClosed, "HEADERS on a stream that is closed"}
	}
	return connError{http2.ErrCodeProtocol, "streams are opened out of order"}
}

// largeHead is the size of a head, in bytes, of which nothing is kept once input ends.
const largeHead = 4 << 10

// forgetHead gives back the memory of the head that was read last.
func (c *conn) forgetHead() {
	c.head = head{}
	if c.next != nil {
		c.next.free()
		c.next = nil
	}
}

// continuation takes a CONTINUATION frame; the Framer knows that it belongs here.
func (c *conn) continuation(fh http2.FrameHeader) error {
	p, err := c.in.next(int(fh.Length))
	if err != nil {
		return err
	}
	if c.head.more++; c.head.more > moreFrames {
		c.srv.limited(limits.HeaderBytes)
		return connError{http2.ErrCodeEnhanceYourCalm, "too many CONTINUATION frames"}
	}
	if err := c.control(); err != nil {
		return err
	}
	return c.fragment(p, fh.Flags.Has(http2.FlagContinuationEndHeaders))
}

// fragment takes a part of a header block.
func (c *conn) fragment(p []byte, last bool) error {
	h := &c.head
	h.open = !last
	// Huffman coding may make a string longer, too, but nobody sends it so.
	if h.bytes += len(p); h.bytes > 2*c.srv.limits.HeaderBytes {
		c.srv.limited(limits.HeaderBytes)
		return connError{http2.ErrCodeEnhanceYourCalm, "a header block is too large"}
	}
	if _, err := c.dec.Write(p); err != nil {
		if err == hpack.ErrStringLength {
			c.srv.limited(limits.HeaderBytes)
			return connError{http2.ErrCodeEnhanceYourCalm, "a header field is too large"}
		}
		return connError{http2.ErrCodeCompression, "a malformed header block"}
	}
	if !last {
		return nil
	}
	if err := c.dec.Close(); err != nil {
		return connError{http2.ErrCodeCompression, "a malformed header block"}
	}
	c.dec.SetEmitEnabled(true)
	switch {
	case h.discard:
		return c.control()
	case h.selfBound:
		return c.streamError(h.id, http2.ErrCodeProtocol)
	case h.trailer:
		return c.trailer()
	}
	return c.request()
}

// emit takes a field of a header block from the decoder.
func (c *conn) emit(f hpack.HeaderField) {
	l := &c.srv.limits
	c.head.add(f, l.HeaderBytes, l.HeaderFields)
	if c.head.tooLarge || c.head.tooMany || c.head.discard {
		c.dec.SetEmitEnabled(false) // the rest only has to keep the table right
	}
}

// trailer ends the body of a request; what it says is dropped.
func (c *conn) trailer() error {
	h := &c.head
	if !h.end || h.malformed != "" {
		return c.streamError(h.id, http2.ErrCodeProtocol)
	}
	return c.bodyDone(h.id)
}

// request answers the request whose head is complete, or has it answered.
func (c *conn) request() error {
	h := &c.head
	h.finish()
	switch {
	case h.malformed != "":
		return c.streamError(h.id, http2.ErrCodeProtocol)
	case h.tooLarge, h.tooMany:
		c.srv.limited(reasonOf(h))
		return c.refuse(431)
	case h.method == "CONNECT" && h.protocol == "":
		return c.refuse(405)
	case h.protocol != "" && h.protocol != webSocket:
		return c.refuse(501) // RFC 9220 §3
	case h.path == "*":
		return c.refuse(200) // nothing is said of the server as a whole (RFC 9110 §9.3.7)
	}
	host, port, ok := exchange.SplitHost(h.authority)
	if !ok {
		return c.refuse(400)
	}
	st := c.next
	st.conn, st.id, st.priority = c, h.id, h.priority
	st.head, st.expect = h.method == "HEAD", h.expect
	st.req = exchange.Request{
		Method: h.method, Scheme: c.info.Scheme, Host: host, Port: port, Target: h.path, Header: h.fields,
		Proto: "HTTP/2.0", Remote: c.info.Remote, Peer: c.info.Peer, Conn: c.nc, Received: c.received,
	}
	if h.protocol != "" {
		if err := st.offer(); err != nil {
			c.srv.limited(limits.HeaderBytes)
			return c.refuse(431)
		}
	}
	if c.quick != nil && h.end && (st.head || h.method == "GET") {
		if served, err := c.serveQuick(st); served || err != nil {
			return err
		}
	}
	return c.open(st)
}

func reasonOf(h *head) limits.Reason {
	if h.tooMany {
		return limits.HeaderFields
	}
	return limits.HeaderBytes
}

// refuse answers a request with a status that needs no handler. It counts as a control
// frame: nothing else bounds how many such answers a client provokes.
func (c *conn) refuse(status int) error {
	c.mu.Lock()
	a := exchange.Answer{Status: status}
	c.mu.out = c.mu.enc.appendHead(c.output(), c.head.id, true, &a, 0)
	if !c.head.end {
		c.answeredEarly(c.head.id, status, streamWindow, c.head.length)
	}
	c.mu.Unlock()
	return c.control()
}

// serveQuick asks the handler for what it has at hand.
func (c *conn) serveQuick(st *stream) (served bool, err error) {
	c.atOnce.begin(st)
	defer func() {
		if r := recover(); r != nil {
			c.srv.panicked(r, debug.Stack())
			served, err = true, nil
			if !c.atOnce.answered {
				err = c.resetInternal(st.id)
			}
		}
	}()
	if !c.quick.ServeQuick(&st.req, &c.atOnce) {
		if !c.atOnce.answered {
			return false, nil
		}
		return true, nil
	}
	if !c.atOnce.answered {
		return true, c.resetInternal(st.id)
	}
	if c.srv.scribble != nil {
		c.srv.scribble(&st.fields)
	}
	return true, nil
}

func (c *conn) resetInternal(id uint32) error {
	c.mu.Lock()
	c.resetNow(id, http2.ErrCodeInternal)
	c.mu.Unlock()
	return nil
}

// open makes the request a stream, which waits for its handler to be begun.
func (c *conn) open(st *stream) error {
	h := &c.head
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.goAway == 2 && h.id > c.mu.last {
		return nil // it was promised that nothing is done for it
	}
	// A stream whose answer was sent is no more one for the client, which may open another
	// before its handler has returned; one that the client has reset still is one here.
	if most := c.srv.limits.Streams; len(c.mu.streams)-c.mu.answered >= most || len(c.mu.streams) >= 2*most {
		c.srv.limited(limits.Streams)
		c.resetNow(h.id, http2.ErrCodeRefusedStream)
		if !c.acked {
			return c.control() // it does not know better yet
		}
		return c.reset()
	}
	c.next = nil
	st.wake = make(chan struct{}, 1)
	st.window, st.receive = c.mu.first, streamWindow
	if c.earlyAt > 0 {
		for _, e := range c.early {
			if e.id == st.id {
				st.priority = e.priority
			}
		}
	}
	if h.end {
		st.remoteDone = true
	} else {
		b := &body{conn: c, st: st, most: c.srv.limits.BodyBytes}
		b.mu.want = h.length
		b.mu.patient = exchange.IsGRPC(h.fields.Get("Content-Type"))
		if b.most > 0 && h.length > b.most {
			c.srv.limited(limits.BodyBytes)
			b.mu.err = exchange.ErrBodyTooLarge
		}
		if st.body = b; st.key == "" {
			st.req.Body, st.req.Length = b, h.length
		} else {
			b.tunnel, b.most, b.mu.err = true, 0, nil
		}
		c.mu.bodies++
	}
	c.mu.streams[st.id] = st
	c.tunnelsAlone()
	c.mu.queue = append(c.mu.queue, st)
	return nil
}

// startQueued begins handlers of streams that wait for it, the most urgent ones first.
// conn.mu is held.
func (c *conn) startQueued() {
	now := time.Now()
	for len(c.mu.queue) > 0 && c.mu.dead == nil && c.mu.running < c.srv.limits.Streams {
		if !c.mu.grants.take(now) {
			// Handlers that run may bring one, or go on for as long as their clients like.
			if c.mu.grantTimer == nil {
				c.mu.grantTimer = time.AfterFunc(grantEvery, c.granted)
			}
			return
		}
		first := 0
		for i, st := range c.mu.queue {
			if st.priority.urgency < c.mu.queue[first].priority.urgency {
				first = i
			}
		}
		st := c.mu.queue[first]
		copy(c.mu.queue[first:], c.mu.queue[first+1:])
		c.mu.queue[len(c.mu.queue)-1] = nil
		c.mu.queue = c.mu.queue[:len(c.mu.queue)-1]
		c.mu.running++
		st.running = true
		st.ctx = new(streamContext)
		c.wg.Go(func() { c.run(st) })
	}
}

// granted looks again for a grant that time may have brought.
func (c *conn) granted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.grantTimer = nil
	if c.mu.dead == nil {
		c.startQueued()
	}
}

// run runs the handler of a stream.
func (c *conn) run(st *stream) {
	to := &responder{st: st}
	defer c.finish(st, to)
	defer func() {
		if r := recover(); r != nil {
			c.srv.panicked(r, debug.Stack())
			to.failed = fmt.Errorf("handler panicked: %v", r)
		}
	}()
	c.srv.Handler.Serve(st.ctx, &st.req, to)
}

// finish ends a stream after its handler has returned.
func (c *conn) finish(st *stream, to *responder) {
	st.ctx.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.broken == nil && !st.sentEnd {
		c.abandon(st, http2.ErrCodeInternal, errClosed) // not answered, or not to the end
	}
	if st.upgraded {
		c.tunnel(-1)
		if st.release != nil {
			st.release()
		}
		if st.broken == nil && !st.remoteDone {
			c.resetNow(st.id, http2.ErrCodeNo) // nobody listens any more
		}
	}
	c.remoteDone(st)
	if st.body != nil {
		st.body.st = nil
		st.body.fail(errClosed)
	}
	c.allow(0)
	delete(c.mu.streams, st.id)
	c.tunnelsAlone()
	if st.over {
		c.mu.answered--
	}
	c.mu.running--
	c.mu.lastEnd = time.Now()
	if st.broken != errGone && st.broken != errStalled {
		c.mu.grants.earned()
	}
	if c.mu.dead == nil {
		c.startQueued()
		c.kickAside()
	}
	to.gone = true
	if c.srv.scribble != nil {
		c.srv.scribble(&st.fields)
	}
	st.free()
	c.finishDrain()
}

// breakOff ends a stream before its time: nothing more is sent, and its handler is told
// if it has begun. conn.mu is held.
func (c *conn) breakOff(st *stream, err error) {
	if st.broken != nil {
		return
	}
	st.broken = err
	c.unready(st)
	c.remoteDone(st)
	if st.body != nil {
		st.body.fail(err)
		c.allow(0)
	}
	if st.running {
		st.ctx.end()
		st.nudge()
		return
	}
	c.unqueue(st)
}

// unqueue forgets a stream whose handler has not begun. conn.mu is held.
func (c *conn) unqueue(st *stream) {
	for i, queued := range c.mu.queue {
		if queued == st {
			copy(c.mu.queue[i:], c.mu.queue[i+1:])
			c.mu.queue[len(c.mu.queue)-1] = nil
			c.mu.queue = c.mu.queue[:len(c.mu.queue)-1]
			break
		}
	}
	delete(c.mu.streams, st.id)
	if st.body != nil {
		st.body.st = nil
	}
	st.free()
}
