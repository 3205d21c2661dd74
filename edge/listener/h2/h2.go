// Package h2 serves HTTP/2 (RFC 9113): a loop of its own, one goroutine to a connection,
// which decodes requests in place, answers at once what the handler has at hand
// (exchange.Quick), and writes the answers of all input that has come in one piece.
// Everything else runs on goroutines beside it, in the order of its priority (RFC 9218).
//
// A request that is answered at once costs no goroutine, no map and no allocation but
// for literal strings in its head, which the client's table does not have yet.
package h2

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// Server serves connections of HTTP/2. Its fields must not change once it serves.
type Server struct {
	Handler exchange.Handler    // asked first without a goroutine if it is an exchange.Quick
	Now     func() time.Time    // nil: time.Now
	Limits  limits.Config       // zeros are defaults
	Limited func(limits.Reason) // told what was cut off, and why; nil: nobody is
	// Admit, if not nil, counts a stream that is to speak another protocol as the connection that
	// it is: false says that there are enough already. release takes it out of the count.
	Admit   func(netip.Addr) (release func(), ok bool)
	Tunnels func(change int) // told of streams that begin (1) and end (-1) to speak another protocol; nil: nobody is
	Log     *slog.Logger     // nil: slog.Default

	once   sync.Once
	limits limits.Config

	scribble func(*header.Block) // tests: spoil what belonged to a request once it is answered

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
	Peer   string         // as exchange.Request has it
	// Upgraded, if not nil, is set while all streams of the connection speak another protocol
	// than HTTP, and after that: no drain succeeds the better for waiting for those.
	Upgraded *atomic.Bool
	Unread   []byte // what was read from the connection already, 32 KiB at most; Serve keeps none of it
}

// Serve runs a connection on the calling goroutine until it ends, and closes it. The
// connection begins with the client's preface (RFC 9113 §3.4), whether it was chosen by
// ALPN on TLS or by prior knowledge. Serve returns after every handler has.
func (s *Server) Serve(nc net.Conn, info ConnInfo) {
	s.init()
	c := s.newConn(nc, info)
	s.mu.Lock()
	s.mu.conns[c] = struct{}{}
	draining := s.mu.draining
	s.mu.Unlock()
	defer s.ended(c)
	if draining {
		c.mu.Lock()
		c.drain()
		c.mu.Unlock()
	}
	c.serve()
}

func (s *Server) init() {
	s.once.Do(func() {
		s.limits = s.Limits.WithDefaults()
		s.mu.Lock()
		s.mu.conns = make(map[*conn]struct{})
		s.mu.Unlock()
	})
}

func (s *Server) newConn(nc net.Conn, info ConnInfo) *conn {
	c := &conn{srv: s, nc: nc, info: info, cork: corkOf(nc), begun: time.Now()}
	c.info.Unread = nil
	c.quick, _ = s.Handler.(exchange.Quick)
	c.in = input{conn: nc, block: c.beforeBlock, woken: c.woken, small: make([]byte, smallInput)}
	c.in.room(len(info.Unread))
	c.in.w = copy(c.in.buf(), info.Unread)
	c.at, c.received = c.begun, c.begun
	if s.Now != nil {
		c.received = s.Now()
	}
	c.framer = http2.NewFramer(nil, &c.in)
	c.framer.SetMaxReadFrameSize(maxFrame)
	c.framer.SetReuseFrames()
	c.dec = hpack.NewDecoder(tableSize, c.emit)
	c.dec.SetMaxStringLength(2 * s.limits.HeaderBytes)
	c.resets.most, c.controls.most = s.limits.Resets, s.limits.Controls
	c.mu.enc = newEncoder()
	c.mu.streams = make(map[uint32]*stream)
	c.mu.window, c.mu.first = firstWindow, firstWindow
	c.mu.receive = connWindow
	c.mu.grants = grants{left: min(firstGrants, s.limits.Streams), most: s.limits.Streams, since: c.begun}
	c.greet()
	return c
}

func (s *Server) ended(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, c)
	if len(s.mu.conns) == 0 && s.mu.idle != nil {
		close(s.mu.idle)
		s.mu.idle = nil
	}
}

func (s *Server) limited(why limits.Reason) {
	if s.Limited != nil {
		s.Limited(why)
	}
}

func (s *Server) panicked(r any, stack []byte) {
	log := s.Log
	if log == nil {
		log = slog.Default()
	}
	log.Error("handler panicked", "err", r, "stack", string(stack))
}
