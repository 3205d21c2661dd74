// Package h2 serves HTTP/2 (RFC 9113): a loop of its own, one goroutine to a connection,
// which decodes requests in place, answers at once what the handler has at hand
// (exchange.Quick), and writes the answers of all input that has come in one piece.
// Everything else runs on goroutines beside it, in the order of its priority (RFC 9218).
//
// A request that is answered at once costs no goroutine, no map and no allocation but
// for literal strings in its head, which the client's table does not have yet.
package h2

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// Server serves connections of HTTP/2. Its fields must not change once it serves.
type Server struct {
	Handler exchange.Handler    // asked first without a goroutine if it is an exchange.Quick
	Now     func() time.Time    // nil: time.Now
	Limits  limits.Config       // zeros are defaults
	Limited func(limits.Reason) // told what was cut off, and why; nil: nobody is
	Log     *slog.Logger        // nil: slog.Default

	once   sync.Once
	limits limits.Config
	now    func() time.Time

	mu struct {
		sync.Mutex
		conns    map[*conn]struct{}
		draining bool
		idle     chan struct{} // closed when conns is empty; nil when nobody waits
	}
}

// ConnInfo says what a connection is.
type ConnInfo struct {
	Scheme string         // "http" or "https"
	Remote netip.AddrPort // of the client
	Unread []byte         // what was read from the connection already; Serve keeps none of it
}

// Serve runs a connection on the calling goroutine until it ends, and closes it. The
// connection begins with the client's preface (RFC 9113 §3.4), whether it was chosen by
// ALPN on TLS or by prior knowledge. Serve returns after every handler has.
func (s *Server) Serve(c net.Conn, info ConnInfo) {}

// Drain tells the clients with GOAWAY to send their next requests elsewhere, in two
// steps so that none is lost (RFC 9113 §6.8). Requests under way, and those that were
// sent before the client knew, are answered; then the connections end. It does not block.
func (s *Server) Drain() {}

// Shutdown drains and waits until every connection has ended. At the end of ctx it cuts
// those that are left and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error { return nil }

type conn struct{}
