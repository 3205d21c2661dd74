// Package exchange is one request and its answer, whatever protocol carries them.
// Listeners build a Request and call a Handler; the Handler answers through the
// Responder that the listener gave. The lanes differ in how they read and write,
// never in what is decided between.
package exchange

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"freshet/internal/header"
)

// ErrAborted: an answer was begun and could not be finished; the listener has
// broken the transfer off, so that the client cannot take it for a whole one.
var ErrAborted = errors.New("transfer aborted")

// Errors of reading a Request's Body, wrapped: the client sends more than the listener
// allows (413), has not sent on in time (408), or sends what is no body (400).
var (
	ErrBodyTooLarge  = errors.New("request body is larger than allowed")
	ErrBodyStalled   = errors.New("request body stalled")
	ErrBodyMalformed = errors.New("malformed request body")
)

// ErrNoRoom: a listener takes no more connections of a client, nor what counts as one.
var ErrNoRoom = errors.New("the client has as many connections as it may")

// Request is what a client asks. Its strings and header block belong to the
// listener and are valid until Serve returns; Clone what lives longer.
type Request struct {
	Method string
	Scheme string // "http" or "https"
	Host   string // as SplitHost gives it; never empty
	Port   string // as the client gave it beside the host; may be empty
	Target string // origin-form, as sent: an absolute path and optional query (RFC 9112 §3.2.1)
	Header *header.Block
	Body   io.Reader // nil when there is none; for the handler to read, not to close
	Length int64     // of Body in bytes; -1 when not known, 0 without a body
	Proto  string    // "HTTP/1.1", "HTTP/2.0", …: for Via and logs

	// Upgrade is what the client would rather speak on this connection, as it lists it
	// (RFC 9110 §7.8); empty for nothing. It is set only where the Responder is an Upgrader,
	// for a GET without a body, and names no version of HTTP or TLS.
	Upgrade string

	Remote   netip.AddrPort
	Conn     net.Conn  // that carries the request, for its counters alone: never read, written or closed; nil when not known
	Peer     string    // role and name ("edge/edge-1") of the node of this cluster that asks, as its certificate says; empty for everybody else
	Early    bool      // it came as TLS early data, which may be a replay (RFC 8470)
	Received time.Time // the one clock reading of the request's start
}

// Clone is a copy without body and connection, which shares nothing with the listener's
// buffers.
func (r *Request) Clone() *Request {
	c := *r
	c.Method, c.Scheme, c.Proto = strings.Clone(r.Method), strings.Clone(r.Scheme), strings.Clone(r.Proto)
	c.Peer = strings.Clone(r.Peer)
	c.Host, c.Port, c.Target = strings.Clone(r.Host), strings.Clone(r.Port), strings.Clone(r.Target)
	c.Header = r.Header.Clone()
	c.Body, c.Length, c.Conn = nil, 0, nil
	return &c
}

// Answer is what goes back. Header is sent as it stands and may be shared by many
// answers; Extra follows it and belongs to this answer alone. Neither holds
// Content-Length, Transfer-Encoding or Connection: those are the listener's.
type Answer struct {
	Status int
	Header *header.Block // nil for none
	Extra  *header.Block // nil for none

	// The body: Bytes, else Stream, else none. A listener leaves it out where the
	// request's method or the status has none (HEAD, 204, 304).
	Bytes []byte
	// Stream is read to its end; an error breaks the transfer off, and so does an end
	// before Length. If it is an io.WriterTo the listener has it write itself, to a writer
	// that sends each piece at once and is an io.ReaderFrom for open files, which the kernel
	// copies to the connection where it can. It is closed, if need be, by whoever answers,
	// after Respond: the listener never does, and has no use for it after that.
	Stream io.Reader
	// Length of the body in bytes; -1 when it is not known. It is what a HEAD says
	// of the body that it does not send.
	Length int64
	// Trailer, if not nil, is called after the last byte of Stream and gives the
	// trailer fields, nil for none (RFC 9110 §6.5).
	Trailer func() *header.Block
}

// Responder takes the answer to one request.
type Responder interface {
	// Inform sends an interim answer (RFC 9110 §15.2), 102 to 199, before the final
	// one. A protocol that has none ignores it.
	Inform(status int, h *header.Block)
	// Respond sends the final answer, once, and returns when the last byte has been
	// handed to the connection: from then on the answer and its blocks are used again for
	// another, so that a listener which sends later copies what it has not sent. After
	// ErrAborted, or an error of the connection, nothing more can be sent.
	Respond(*Answer) error
}

// Upgrader is a Responder that can give the client's connection up to another protocol.
type Upgrader interface {
	// Upgrade sends, in place of Respond, an answer that has the client go over to one of the
	// protocols that Request.Upgrade lists. a.Status is 101 and a's blocks have the field
	// Upgrade; Bytes, Stream and Trailer are nil. A protocol that has no 101 sends what it has
	// in its place. From then on nothing of the exchange is left but the tunnel, which is the
	// caller's to close before Serve returns. It must not be used after that. ErrNoRoom where
	// the tunnel would be one connection too many; nothing was sent then.
	Upgrade(a *Answer) (Tunnel, error)
}

// Tunnel is a connection whose bytes are no longer HTTP's. Read and Write may be called
// by two goroutines at once; Close has both end.
type Tunnel interface {
	io.ReadWriteCloser
	// CloseWrite tells the other side that nothing more comes from this one.
	CloseWrite() error
}

// Handler answers requests. Serve must answer exactly once and blocks until it
// has; ctx ends when the client goes away or Serve returns. Once its Done has been called
// ctx is this request's for good: a listener that uses its contexts again gives the next
// request another one.
type Handler interface {
	Serve(ctx context.Context, req *Request, to Responder)
}

// ErrNotAtOnce is what Respond of ServeQuick returns when it would have to wait. Nothing
// was sent; ServeQuick returns false then.
var ErrNotAtOnce = errors.New("the answer cannot be taken at once")

// Quick is a Handler that often has its answer in RAM. A listener asks it on the goroutine
// that reads the connection, and calls Serve on one of its own only when that was in vain.
type Quick interface {
	Handler
	// ServeQuick answers at once, or returns false and has then done nothing that could
	// be seen: Serve will be called with the same request. It must not block (no disk, no
	// network, no lock that is held for long, no timer), must not read Body, and must keep
	// nothing of req or to. Its one answer has its body, if any, in Bytes and no Trailer;
	// Respond takes all of it or returns ErrNotAtOnce. After any other error of Respond
	// the request is done with.
	ServeQuick(req *Request, to Responder) (served bool)
}
