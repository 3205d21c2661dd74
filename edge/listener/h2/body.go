package h2

import (
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// chunkSize is the piece in which bodies of requests are kept until they are read.
const chunkSize = 16 << 10

type chunk struct {
	r, w  int
	bytes [chunkSize]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// body is that of one request: bytes that have come and that the handler has not read,
// no more than the windows allow. It is not used again, since a handler's transport may
// read it when the handler has long returned.
type body struct {
	conn *conn
	st   *stream // nil after the handler has returned; guarded by conn.mu
	most int64   // bytes that are allowed; 0: any number
	// tunnel: it is what a client of another protocol says, when it likes.
	tunnel bool

	mu struct { // taken after conn.mu
		sync.Mutex
		chunks   []*chunk
		want     int64 // -1: not known
		got      int64
		buffered int64
		asked    bool
		ended    bool
		patient  bool // it may be silent for long
		err      error
		wake     chan struct{} // made when somebody waits, closed when something comes
	}
}

// take keeps bytes that have come, unless nobody wants them any more. It reports whether
// there may be as many.
func (b *body) take(p []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.got += int64(len(p))
	if b.mu.err == nil && b.most > 0 && b.mu.got > b.most {
		b.conn.srv.limited(limits.BodyBytes)
		b.drop(exchange.ErrBodyTooLarge)
	}
	if b.mu.err != nil || b.mu.want >= 0 && b.mu.got > b.mu.want {
		b.conn.freed.Add(int64(len(p)))
		return b.mu.want < 0 || b.mu.got <= b.mu.want
	}
	b.mu.buffered += int64(len(p))
	for len(p) > 0 {
		last := len(b.mu.chunks) - 1
		if last < 0 || b.mu.chunks[last].w == chunkSize {
			b.mu.chunks = append(b.mu.chunks, chunks.Get().(*chunk))
			last++
		}
		at := b.mu.chunks[last]
		n := copy(at.bytes[at.w:], p)
		at.w += n
		p = p[n:]
	}
	b.notify()
	return true
}

// drop forgets what is there and refuses what comes. b.mu is held.
func (b *body) drop(err error) {
	b.mu.err = err
	for _, at := range b.mu.chunks {
		at.r, at.w = 0, 0
		chunks.Put(at)
	}
	b.mu.chunks = nil
	b.conn.freed.Add(b.mu.buffered)
	b.mu.buffered = 0
	b.notify()
}

func (b *body) notify() {
	if b.mu.wake != nil {
		close(b.mu.wake)
		b.mu.wake = nil
	}
}

// end says that all has come, and reports whether that is as much as was announced.
func (b *body) end() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.want >= 0 && b.mu.got != b.mu.want {
		return false
	}
	b.mu.ended = true
	b.notify()
	return true
}

// rest is how many bytes are to come after came of them, -1 if that is not known.
func (b *body) rest(came int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.want < 0 {
		return -1
	}
	return max(0, b.mu.want-came)
}

// answered tells it that an answer has begun that may depend on what is still to come: the
// client may take its time from now on.
func (b *body) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.patient = true
}

// fail ends it with an error for who reads it.
func (b *body) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.err == nil && !(b.mu.ended && b.mu.buffered == 0) {
		b.drop(err)
	}
}

// Read reads what has come, and waits for it if need be.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.mu.buffered == 0 {
		switch {
		case b.mu.err != nil:
			return 0, fmt.Errorf("read the request's body: %w", b.mu.err)
		case b.mu.ended:
			return 0, io.EOF
		}
		b.wait()
	}
	var n int
	for n < len(p) && len(b.mu.chunks) > 0 {
		at := b.mu.chunks[0]
		k := copy(p[n:], at.bytes[at.r:at.w])
		at.r += k
		n += k
		if at.r == at.w {
			at.r, at.w = 0, 0
			chunks.Put(at)
			b.mu.chunks[0] = nil
			b.mu.chunks = b.mu.chunks[1:]
		}
	}
	b.mu.buffered -= int64(n)
	b.mu.Unlock()
	b.conn.consumed(b, int64(n))
	b.mu.Lock()
	return n, nil
}

// wait waits for something to come, not longer than is allowed. b.mu is held, and free
// meanwhile.
func (b *body) wait() {
	if b.mu.wake == nil {
		b.mu.wake = make(chan struct{})
	}
	wake, first, patient := b.mu.wake, !b.mu.asked, b.mu.patient
	b.mu.asked = true
	b.mu.Unlock()
	if first {
		b.conn.proceed(b)
	}
	if b.tunnel { // who has asked for it ends it
		<-wake
		b.mu.Lock()
		return
	}
	limit := b.conn.srv.limits.BodyTimeout
	if patient {
		limit = b.conn.srv.limits.QuietTimeout
	}
	timer := time.NewTimer(limit)
	stalled := false
	select {
	case <-wake:
	case <-timer.C:
		stalled = true
	}
	timer.Stop()
	b.mu.Lock()
	if stalled && patient == b.mu.patient && b.mu.buffered == 0 && !b.mu.ended && b.mu.err == nil {
		b.conn.srv.limited(limits.BodyTimeout)
		b.drop(exchange.ErrBodyStalled)
	}
}

// proceed sends 100 to a client that waits for it (RFC 9110 §10.1.1).
func (c *conn) proceed(b *body) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := b.st; st != nil && st.expect && st.broken == nil && !st.remoteDone {
		st.expect = false
		c.mu.out = c.mu.enc.appendHead(c.output(), st.id, false, &exchange.Answer{Status: 100}, -1)
		c.kickAside()
	}
}

// consumed lets the client send n bytes more in place of those that were read.
func (c *conn) consumed(b *body, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allow(n)
	if b.st != nil {
		b.st.allow(n)
	}
	if len(c.mu.out) > 0 {
		c.kickAside()
	}
}

// allow lets the client send n bytes more on the connection, and those that were freed.
// It is told when there is enough to tell. conn.mu is held.
func (c *conn) allow(n int64) {
	c.mu.unread += n + c.freed.Swap(0)
	if c.mu.unread >= connWindow/2 && c.mu.dead == nil {
		c.mu.out = appendWindowUpdate(c.output(), 0, uint32(c.mu.unread))
		c.mu.receive += c.mu.unread
		c.mu.unread = 0
	}
}

// allow is the same for a stream.
func (st *stream) allow(n int64) {
	c := st.conn
	st.unread += n
	if st.unread >= streamWindow/2 && !st.remoteDone && st.broken == nil && c.mu.dead == nil {
		c.mu.out = appendWindowUpdate(c.output(), st.id, uint32(st.unread))
		st.receive += st.unread
		st.unread = 0
	}
}

// remoteDone ends the request of a stream. conn.mu is held.
func (c *conn) remoteDone(st *stream) {
	if !st.remoteDone {
		st.remoteDone = true
		c.mu.bodies--
		c.over(st)
	}
}

// abandon resets a stream. conn.mu is held.
func (c *conn) abandon(st *stream, code http2.ErrCode, err error) {
	if st.broken != nil {
		return
	}
	if c.mu.dead == nil {
		c.resetNow(st.id, code)
	}
	c.breakOff(st, err)
}
