package h2

import (
	"context"
	"time"

	"golang.org/x/net/http2"
)

// drainPing is sent after the first GOAWAY: its answer says that the client has seen that.
var drainPing = [8]byte{'f', 'r', 'e', 's', 'h', 'e', 't', '!'}

// drainWait is how long that answer is waited for.
const drainWait = time.Second

// Drain tells the clients with GOAWAY to send their next requests elsewhere, in two
// steps so that none is lost (RFC 9113 §6.8). Requests under way, and those that were
// sent before the client knew, are answered; then the connections end. It does not block.
func (s *Server) Drain() {
	s.init()
	s.mu.Lock()
	s.mu.draining = true
	conns := make([]*conn, 0, len(s.mu.conns))
	for c := range s.mu.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		c.drain()
		c.mu.Unlock()
	}
}

// Shutdown drains and waits until every connection has ended. At the end of ctx it cuts
// those that are left and returns the error of ctx, unless all of them speak another
// protocol, which goes on for as long as both sides like.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.mu.Lock()
	if len(s.mu.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.mu.idle == nil {
		s.mu.idle = make(chan struct{})
	}
	idle := s.mu.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	var err error
	s.mu.Lock()
	for c := range s.mu.conns {
		c.mu.Lock()
		if !c.mu.alone {
			err = ctx.Err()
		}
		c.mu.Unlock()
		go c.nc.Close() // which may wait, with TLS, for a client to take an alert
	}
	s.mu.Unlock()
	<-idle // handlers end as their streams have
	return err
}

// firstWait is how old a connection is at least that ends without having had a request.
const firstWait = 2 * time.Second

// drain begins the end of a connection. One that has just been opened was opened for a
// request, which is let in first: Go's client gives a request up, rather than open another
// connection, that finds a new one at its end. conn.mu is held.
func (c *conn) drain() {
	if c.mu.goAway > 0 || c.mu.dead != nil {
		return
	}
	if c.mu.lastID == 0 {
		if wait := firstWait - time.Since(c.begun); wait > 0 {
			if c.mu.drainTimer == nil {
				c.mu.drainTimer = time.AfterFunc(wait, func() {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.drain()
				})
			}
			return
		}
	}
	if c.mu.drainTimer != nil {
		c.mu.drainTimer.Stop()
	}
	c.mu.goAway, c.mu.drainPing = 1, true
	b := appendGoAway(c.output(), maxWindow, http2.ErrCodeNo, "")
	c.mu.out = appendPing(b, 0, drainPing)
	c.kickAside()
	c.mu.drainTimer = time.AfterFunc(drainWait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.drainFinally()
	})
}

// drainFinally says which stream is the last. conn.mu is held.
func (c *conn) drainFinally() {
	if c.mu.goAway != 1 || c.mu.dead != nil {
		return
	}
	c.mu.goAway, c.mu.last = 2, c.mu.lastID
	c.mu.out = appendGoAway(c.output(), c.mu.last, http2.ErrCodeNo, "")
	c.kickAside()
	c.finishDrain()
}

// finishDrain ends the connection once its last stream has. conn.mu is held.
func (c *conn) finishDrain() {
	if c.mu.goAway == 2 && len(c.mu.streams) == 0 && !c.mu.writing && len(c.mu.out) == 0 && c.mu.dead == nil {
		c.lookUp()
	}
}
