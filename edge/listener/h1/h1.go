// Package h1 is the fast lane of HTTP/1.1: a strict recogniser for plain GET and HEAD
// requests, which answers them on the goroutine that reads the connection. What it does
// not recognise it passes on, bytes unread, to the full lane, which is net/http. It never
// accepts what net/http would refuse or read as another request.
//
// A connection holds no buffer while it is idle, and a request that is answered from
// memory allocates nothing and costs one write.
package h1

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// quiet is how long a connection of a draining server is idle before it is closed.
const quiet = 2 * time.Second

// Server serves connections of HTTP/1.1. Its fields must not change once it serves.
type Server struct {
	Handler exchange.Handler
	Now     func() time.Time    // nil: time.Now
	Limits  limits.Config       // zeros are defaults
	Limited func(limits.Reason) // told what was cut off, and why; nil: nobody is
	Log     *slog.Logger        // nil: slog.Default
	Full    func(net.Conn)      // see Serve; nil: what this lane does not recognise is refused

	once     sync.Once
	limits   limits.Config
	now      func() time.Time
	log      *slog.Logger
	date     atomic.Pointer[dateLine]
	drained  atomic.Pointer[time.Time] // since when it drains; nil when it does not
	scribble bool                      // tests: spoil what belonged to a request once it is answered

	mu struct {
		sync.Mutex
		conns map[*conn]struct{}
		empty chan struct{} // closed when the last connection ends; nil when nobody waits
	}
}

// ConnInfo says what a connection is.
type ConnInfo struct {
	Scheme string         // "http" or "https"
	Remote netip.AddrPort // of the client
	Peer   string         // as exchange.Request has it
	Unread []byte         // what was read from the connection already; Serve keeps none of it
	// Early reports whether the bytes that were read last came as TLS early data; nil: never.
	Early func() bool
}

// Serve runs a connection on the calling goroutine until it ends, and closes it.
//
// A *net.TCPConn or *net.UnixConn is read and written by its file descriptor: it is to be
// handed over as it is, with what was read from it already in info. Any other connection
// (TLS, say) is read and written by its methods.
//
// The first request that is not for this lane ends Serve's own work: Full is called with a
// connection whose first bytes are still unread, takes it over for good, closes it, and
// blocks until it is done with it; its NetConn is the connection that Serve was given. It
// has no deadlines, and Shutdown does not wait for it. The preface of HTTP/2
// (RFC 9113 §3.4) is nothing for this lane and reaches Full like anything else.
func (s *Server) Serve(c net.Conn, info ConnInfo) {
	s.once.Do(s.prepare)
	one := s.open(c, info)
	one.run()
}

func (s *Server) prepare() {
	s.limits = s.Limits.WithDefaults()
	if s.now = s.Now; s.now == nil {
		s.now = time.Now
	}
	if s.log = s.Log; s.log == nil {
		s.log = slog.Default()
	}
}

// open counts a connection in.
func (s *Server) open(c net.Conn, info ConnInfo) *conn {
	one := newConn(s, c, info)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.conns == nil {
		s.mu.conns = make(map[*conn]struct{})
	}
	s.mu.conns[one] = struct{}{}
	return one
}

// forget is called when a connection has ended or was passed on.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, c)
	if len(s.mu.conns) == 0 && s.mu.empty != nil {
		close(s.mu.empty)
		s.mu.empty = nil
	}
}

// Drain has every answer from now on be the last of its connection, and ends connections
// once they have been idle for two seconds. It does not block.
func (s *Server) Drain() {
	s.once.Do(s.prepare)
	now := s.now()
	if !s.drained.CompareAndSwap(nil, &now) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.conns {
		// Those that wait look at the clock, and see that there is less to wait for.
		_ = c.net.SetReadDeadline(past)
	}
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// Shutdown drains and waits until every connection has ended. At the end of ctx it cuts
// those that are left and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.mu.Lock()
	if len(s.mu.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.mu.empty == nil {
		s.mu.empty = make(chan struct{})
	}
	empty := s.mu.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.conns {
		// Close waits for a handler, as that runs within a read of the socket, and TLS for the
		// client to take an alert: no connection is to wait for another.
		go c.net.Close()
	}
	return ctx.Err()
}

func (s *Server) limited(why limits.Reason) {
	if s.Limited != nil {
		s.Limited(why)
	}
}
