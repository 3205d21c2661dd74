package h3

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"freshet/edge/listener/limits"
)

// conn is one connection.
type conn struct {
	s        *Server
	q        *quic.Conn
	remote   netip.AddrPort
	accepted time.Time
	out      *quic.SendStream // the control stream

	handlers sync.WaitGroup
	proven   bool         // the handshake is complete; the goroutine that accepts streams alone
	next     atomic.Int64 // the first stream that was not accepted
	refused  atomic.Int64 // streams from this one on are refused
	open     atomic.Int64 // requests under way
	idle     atomic.Int64 // when the last one ended, Unix nanoseconds

	mu struct {
		sync.Mutex
		timer            *time.Timer
		ended            bool
		drained          time.Time // when it was begun to be drained
		last             bool      // the last GOAWAY was sent
		window           time.Time // resets and controls since then
		resets, controls int
		seen             [4]bool                        // critical streams of the client's, by type
		running          map[quic.StreamID]*quic.Stream // of requests that were not answered at once; nil for none yet
		early            [8]update                      // of priorities, for streams that are not among those
		earlyAt          int
	}
}

// Times of a drain (RFC 9114 §5.2).
const (
	firstGoAway = time.Second     // that requests still come after the first GOAWAY
	lastQuiet   = time.Second     // without a request after which a drained connection is closed
	drainTick   = time.Second / 4 // between two looks at that
)

// serve accepts requests until the connection ends, and returns after every handler has.
func (c *conn) serve() {
	defer c.handlers.Wait()
	defer c.stop()
	if err := c.greet(); err != nil {
		_ = c.q.CloseWithError(codeInternal, "")
		return
	}
	c.handlers.Go(c.acceptUni)
	for {
		q, err := c.q.AcceptStream(context.Background())
		if err != nil {
			return
		}
		if !c.take(int64(q.StreamID())) {
			q.CancelRead(codeRequestRejected)
			q.CancelWrite(codeRequestRejected)
			q.ReleaseStreamCredit()
			c.wasReset() // it does not listen
			continue
		}
		if !c.proven {
			select {
			case <-c.q.HandshakeComplete():
				c.proven = true
			default:
			}
		}
		c.open.Add(1)
		s := c.s.streams.Get().(*stream)
		s.begin(c, q, !c.proven)
		if s.atOnce() {
			s.finish()
			continue
		}
		c.handlers.Go(s.run)
	}
}

// take reports whether a stream is to be served: those that the last GOAWAY does not
// promise are not.
func (c *conn) take(id int64) bool {
	c.mu.Lock() // against a GOAWAY between the two
	defer c.mu.Unlock()
	if id >= c.refused.Load() {
		return false
	}
	c.next.Store(id + 4)
	return true
}

// greet opens the control stream (RFC 9114 §6.2.1) and starts the clock.
func (c *conn) greet() error {
	var err error
	if c.out, err = c.q.OpenUniStream(); err != nil {
		return err
	}
	if err := c.out.TryWriteAll(c.s.greeting); err != nil {
		return err
	}
	c.idle.Store(c.accepted.UnixNano())
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.drained.IsZero() { // meanwhile
		c.goAway(largestStreamID)
	}
	c.mu.timer = time.AfterFunc(c.pause(time.Now()), c.tick)
	return nil
}

// stop stops the clock.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.ended = true
	if c.mu.timer != nil {
		c.mu.timer.Stop()
	}
}

// ended counts a request that is done with.
func (c *conn) ended() {
	if c.open.Add(-1) == 0 {
		c.idle.Store(time.Now().UnixNano())
	}
}

// quiet is for how long no request has been under way.
func (c *conn) quiet(now time.Time) time.Duration {
	if c.open.Load() > 0 {
		return 0
	}
	return max(0, now.Sub(time.Unix(0, c.idle.Load())))
}

// pause is until the clock has something to do. With mu held.
func (c *conn) pause(now time.Time) time.Duration {
	if !c.mu.drained.IsZero() {
		return drainTick
	}
	p := c.s.limits.IdleTimeout - c.quiet(now)
	if most := c.s.limits.ConnTimeout; most > 0 {
		p = min(p, most-now.Sub(c.accepted))
	}
	return max(p, time.Millisecond)
}

// tick looks at how old and how idle the connection is, and leads it through its drain.
func (c *conn) tick() {
	now := time.Now()
	if most := c.s.limits.ConnTimeout; most > 0 && now.Sub(c.accepted) >= most && c.drain() {
		c.s.limited(limits.ConnTimeout)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	quiet := c.quiet(now)
	switch {
	case c.mu.ended:
		return
	case c.mu.drained.IsZero():
		if quiet >= c.s.limits.IdleTimeout {
			c.close()
			return
		}
	case !c.mu.last:
		if now.Sub(c.mu.drained) >= firstGoAway {
			// Requests that are on their way will be refused as not processed at all: their
			// clients send them again.
			c.mu.last = true
			c.refused.Store(c.next.Load())
			c.goAway(uint64(c.refused.Load()))
		}
	case quiet >= lastQuiet:
		c.close()
		return
	}
	c.mu.timer.Reset(c.pause(now))
}

// close ends the connection without a fault. With mu held.
func (c *conn) close() {
	c.mu.ended = true
	go func() { _ = c.q.CloseWithError(codeNoError, "") }()
}

// drain has the client send its next requests elsewhere, in two steps so that none is
// lost: from the last on, requests are refused. False if that was begun already.
func (c *conn) drain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.ended || !c.mu.drained.IsZero() {
		return false
	}
	c.mu.drained = time.Now()
	if c.mu.timer == nil {
		return true // greet will say it
	}
	c.goAway(largestStreamID)
	c.mu.timer.Reset(drainTick)
	return true
}

// goAway sends the frame. With mu held.
func (c *conn) goAway(id uint64) {
	b := appendHead(nil, frameGoAway, uint64(quicvarint.Len(id)))
	_ = c.out.TryWriteAll(quicvarint.Append(b, id)) // a client that does not even take this is cut in the end
}

// fail ends the connection for an error of its client's.
func (c *conn) fail(err connError) {
	c.s.log.Debug("connection error", "code", uint64(err.code), "why", err.text)
	_ = c.q.CloseWithError(err.code, err.text)
}

// wasReset counts a request that the client has given up, or that it should not have
// sent.
func (c *conn) wasReset() {
	if c.budget(&c.mu.resets, c.s.limits.Resets) {
		c.s.limited(limits.Resets)
		c.fail(connError{codeExcessiveLoad, "too many requests were given up"})
	}
}

// control counts a frame that brings no request on.
func (c *conn) control() error {
	if c.budget(&c.mu.controls, c.s.limits.Controls) {
		c.s.limited(limits.Controls)
		return connError{codeExcessiveLoad, "too many frames that bring no request on"}
	}
	return nil
}

// budget counts, and reports the one with which there is nothing left.
func (c *conn) budget(count *int, most int) (exceeded bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.mu.window) >= limits.Window {
		c.mu.window, c.mu.resets, c.mu.controls = now, 0, 0
	}
	*count++
	return *count == most
}

// addrPort is an address of UDP, IPv4 never as IPv6.
func addrPort(a net.Addr) netip.AddrPort {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := udp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
