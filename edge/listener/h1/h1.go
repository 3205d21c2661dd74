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
	draining atomic.Bool
	scribble bool // tests: spoil what belonged to a request once it is answered

	mu struct {
		sync.Mutex
		conns map[*conn]struct{}
		idle  chan struct{} // closed when conns is empty; nil when nobody waits
	}
}

// ConnInfo says what a connection is.
type ConnInfo struct {
	Scheme string         // "http" or "https"
	Remote netip.AddrPort // of the client
	Unread []byte         // what was read from the connection already; Serve keeps none of it
	// Early reports whether the bytes that were read last came as TLS early data; nil: never.
	Early func() bool
}

// Serve runs a connection on the calling goroutine until it ends, and closes it.
//
// A *net.TCPConn or *net.UnixConn is read and written by its file descriptor; hand it over as
// it is, and what was read from it already in info. Any other connection (TLS, say)
// is read and written by its methods.
//
// The first request that is not for this lane ends Serve's own work: Full is called with a connection whose first
// bytes are still unread, takes it over for good, closes it, and blocks until it is done
// with it; its NetConn is the connection that Serve was given. That connection has no
// deadlines and is not waited for by Shutdown. The preface of HTTP/2
// (RFC 9113 §3.4) is nothing for this lane and reaches Full like anything else.
func (s *Server) Serve(c net.Conn, info ConnInfo) {}

// Drain has every answer from now on be the last of its connection, and ends connections
// once they have been idle for two seconds. It does not block.
func (s *Server) Drain() {}

// Shutdown drains and waits until every connection has ended. At the end of ctx it cuts
// those that are left and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error { return nil }

type conn struct{}
