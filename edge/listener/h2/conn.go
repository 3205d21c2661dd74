package h2

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// Errors that end a connection without being anybody's fault.
var (
	errDone = errors.New("the connection has served its time")
	errIdle = errors.New("the connection was idle")
)

// conn is one connection. The goroutine that runs serve reads it; who has set
// mu.writing writes it.
type conn struct {
	srv   *Server
	nc    net.Conn
	info  ConnInfo
	cork  *corked        // nil: records go out one by one
	quick exchange.Quick // nil: the handler is none
	wg    sync.WaitGroup // handlers and the writer

	// The reader's own.
	in       input
	framer   *http2.Framer
	dec      *hpack.Decoder
	head     head
	next     *stream // for the next request
	atOnce   atOnce
	at       time.Time // when input came last
	received time.Time // the same for requests, by the server's clock
	headAt   time.Time // when the frame or header block began that has to come to its end
	begun    time.Time
	lastHead time.Time // when the last request came
	settled  bool      // the client's SETTINGS have come
	acked    bool      // it knows ours
	resets   budget
	controls budget
	opened   [64]uint32 // streams that were opened last, by half their id
	early    [8]earlyPriority
	earlyAt  int

	freed atomic.Int64 // bytes of bodies that nobody will read, for mu.unread

	deadline time.Time // of writes; the writer's own

	mu struct {
		sync.Mutex
		enc     encoder
		out     []byte // to be written; nil while there is nothing
		writing bool
		quiet   chan struct{} // closed when nobody writes; nil when nobody waits for it
		dead    error         // nothing more is to be sent on any stream
		ending  bool          // the reader is to look at finished

		streams    map[uint32]*stream // those whose handlers have not ended
		queue      []*stream          // those of them that have not begun
		running    int
		answered   int  // streams that are over
		bodies     int  // requests that have not come to their end
		tunnels    int  // streams that speak another protocol
		alone      bool // there is nothing but those
		grants     grants
		grantTimer *time.Timer
		lastEnd    time.Time // of a handler

		ready      []*stream // those with a piece to send
		turn       uint64
		sharedNext bool
		window     int64 // what may be sent of all bodies, in bytes
		first      int64 // the same of a new stream
		updates    int   // WINDOW_UPDATE frames that were called for
		progress   time.Time

		receive int64 // what may be received of all bodies
		unread  int64 // taken by handlers and not yet made known to the client

		goAway     uint8  // GOAWAY frames sent
		last       uint32 // the last stream that the second one promises
		lastID     uint32 // the last that the client has opened
		armed      time.Time
		drainPing  bool
		drainTimer *time.Timer
		late       []late // requests that were answered before they had come, the oldest first
		lateTimer  *time.Timer
		flushTimer *time.Timer  // for what is to be written unless more comes at once
		gaveUp     *[256]uint32 // streams that we have reset last, by half their id; nil for none
	}
}

// serve runs the connection to its end.
func (c *conn) serve() {
	err := c.hello()
	for err == nil {
		err = c.frame()
	}
	c.end(err)
	c.wg.Wait()
}

// greet says our SETTINGS, which need not wait for the client's preface (RFC 9113 §3.4).
func (c *conn) greet() {
	b := appendFrame(c.output(), 5*6, http2.FrameSettings, 0, 0)
	b = appendSetting(b, http2.SettingMaxConcurrentStreams, uint32(c.srv.limits.Streams))
	b = appendSetting(b, http2.SettingInitialWindowSize, streamWindow)
	b = appendSetting(b, http2.SettingMaxHeaderListSize, uint32(c.srv.limits.HeaderBytes))
	b = appendSetting(b, http2.SettingNoRFC7540Priorities, 1)
	b = appendSetting(b, http2.SettingEnableConnectProtocol, 1) // RFC 8441
	c.mu.out = appendWindowUpdate(b, 0, connWindow-firstWindow)
}

// hello reads the client's preface.
func (c *conn) hello() error {
	c.in.phase, c.headAt = inFrame, c.begun
	p, err := c.in.next(len(http2.ClientPreface))
	if err == nil && string(p) != http2.ClientPreface {
		err = connError{http2.ErrCodeProtocol, "not the preface of HTTP/2"}
	}
	return err
}

// beforeBlock is called when all input that had come is dealt with: it begins what
// waited for that, and writes what all this has brought.
func (c *conn) beforeBlock() error {
	if c.head.size > largeHead && !c.head.open {
		c.forgetHead()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.queue) > 0 {
		c.startQueued()
	}
	c.allow(0)
	switch {
	case len(c.mu.out) == 0 && len(c.mu.ready) == 0:
	case c.mu.bodies > 0, len(c.mu.late) > 0, len(c.mu.ready) > 0:
		// A client may wait with reading until we have taken its bodies, and there may be
		// more to write than can be written at once.
		c.kickAside()
	default:
		c.kick()
	}
	if len(c.mu.out) > outputMost {
		c.srv.limited(limits.Controls)
		return connError{http2.ErrCodeEnhanceYourCalm, "too much to say"}
	}
	if c.mu.ending {
		c.mu.ending, c.mu.armed = false, time.Time{}
		if err := c.finished(time.Now()); err != nil {
			return err
		}
	}
	due := c.due()
	if c.mu.armed.IsZero() || c.mu.armed.After(due) {
		c.mu.armed = due
		if err := c.nc.SetReadDeadline(due); err != nil {
			return err
		}
	}
	c.watchDeadline()
	return nil
}

// due is when the reader has to look at the time next. conn.mu is held.
func (c *conn) due() time.Time {
	l := &c.srv.limits
	var due time.Time
	switch {
	case c.in.phase == inFrame || c.head.open:
		due = c.headAt.Add(l.HeadTimeout)
	case c.lastHead.IsZero():
		due = c.begun.Add(l.HeadTimeout)
	case len(c.mu.streams) > 0:
		due = time.Now().Add(l.IdleTimeout)
	default:
		due = later(c.lastHead, c.mu.lastEnd).Add(l.IdleTimeout)
	}
	if l.ConnTimeout > 0 && c.mu.goAway == 0 {
		if end := c.begun.Add(l.ConnTimeout); end.Before(due) {
			due = end
		}
	}
	return due
}

// woken is called after a read: with an error that ends the connection, unless it was
// only time to look at something.
func (c *conn) woken(err error) error {
	if err == nil {
		c.at = time.Now()
		c.received = c.at
		if c.srv.Now != nil {
			c.received = c.srv.Now()
		}
		if c.in.phase == atBoundary && !c.head.open {
			c.headAt = c.at
		}
		return nil
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.armed = time.Time{}
	now := time.Now()
	c.liftDeadline(now)
	return c.finished(now)
}

// finished reports, as an error, whether the connection is to end. conn.mu is held.
func (c *conn) finished(now time.Time) error {
	if c.mu.dead != nil {
		return c.mu.dead
	}
	if c.mu.goAway == 2 && len(c.mu.streams) == 0 && !c.head.open && !c.mu.writing && len(c.mu.out) == 0 {
		return errDone
	}
	l := &c.srv.limits
	if l.ConnTimeout > 0 && c.mu.goAway == 0 && now.Sub(c.begun) >= l.ConnTimeout {
		c.srv.limited(limits.ConnTimeout)
		c.drain()
	}
	if c.due().After(now) {
		return nil
	}
	if c.in.phase == inFrame || c.head.open || c.lastHead.IsZero() {
		if c.in.phase != inFrame && !c.head.open && c.settled {
			return errIdle // it never asked for anything
		}
		c.srv.limited(limits.HeadTimeout)
		return connError{http2.ErrCodeNo, "a frame or header block did not come to its end"}
	}
	return errIdle
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// die ends everything on the connection. conn.mu is held.
func (c *conn) die(err error) {
	if c.mu.dead != nil {
		return
	}
	c.mu.dead = err
	for _, st := range c.mu.streams {
		c.breakOff(st, errClosed)
	}
	c.lookUp()
}

// lookUp has the reader look whether the connection is finished. conn.mu is held.
func (c *conn) lookUp() {
	c.mu.ending = true
	c.mu.armed = time.Unix(1, 0)
	_ = c.nc.SetReadDeadline(c.mu.armed) // it fails where reading does too
}

// How long and how much is read of a client that was sent away, so that it can read our
// last word: a connection that is closed with input unread is reset.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// end says why the connection ends, if there is anybody to be told, and closes it.
func (c *conn) end(err error) {
	c.mu.Lock()
	written := c.mu.dead // an error of writing
	goAway := c.mu.goAway
	var e connError
	told := written == nil && (errors.As(err, &e) || err == errDone || err == errIdle)
	if told {
		// Let the one who writes come to an end, but not wait long for the client.
		if c.mu.writing {
			_ = c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
			quiet := make(chan struct{})
			c.mu.quiet = quiet
			c.die(err)
			c.mu.Unlock()
			<-quiet
			c.mu.Lock()
		}
	}
	c.die(err)
	b, last := c.mu.out, c.mu.lastID
	c.mu.out = nil
	for _, t := range []*time.Timer{c.mu.grantTimer, c.mu.drainTimer, c.mu.lateTimer, c.mu.flushTimer} {
		if t != nil {
			t.Stop()
		}
	}
	c.mu.Unlock()
	if told {
		if goAway < 2 || e.code != http2.ErrCodeNo {
			b = appendGoAway(b, last, e.code, e.why)
		}
		c.lastWord(b)
	}
	freeOutput(b)
	c.nc.Close()
	c.in.release()
	if c.next != nil {
		c.next.free()
	}
}

// lastWord writes b and waits, a little, for the client to close.
func (c *conn) lastWord(b []byte) {
	until := time.Now().Add(lingerTime)
	_ = c.nc.SetWriteDeadline(until)
	if _, err := c.nc.Write(b); err != nil {
		return
	}
	if half, ok := c.nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(until)
	for left := lingerBytes; left > 0; {
		n, err := c.nc.Read(c.in.buf())
		if left -= n; err != nil {
			return
		}
	}
}
