// Package h3 carries requests over HTTP/3 (RFC 9114) on QUIC: a serving loop of its own
// on the streams of quic-go. A request that has come whole and whose answer is in RAM is
// answered on the goroutine that accepts streams (exchange.Quick), by one write of head
// and body; every other one runs on a goroutine beside it.
//
// QPACK has no dynamic table here, in either direction: a table would save a few dozen
// bytes of an answer, and make requests wait for one another's packets.
package h3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// ErrServerClosed is what Serve returns after Drain or Shutdown.
var ErrServerClosed = errors.New("server is closed")

// Server serves HTTP/3 on any number of UDP sockets. Its fields may not change after the
// first call of a method.
type Server struct {
	Handler exchange.Handler      // asked first without a goroutine if it is an exchange.Quick
	Now     func() time.Time      // nil: time.Now
	Limits  limits.Config         // zero fields are defaults
	Conns   *limits.Conns         // shared with other listeners; nil: one of its own
	Exempt  func(netip.Addr) bool // whose connections are counted in total alone; nil: nobody's
	Limited func(limits.Reason)   // counts what was cut; may be nil
	Opened  func()                // a connection begins; may be nil
	Closed  func()                // it has ended; may be nil
	Log     *slog.Logger          // nil: nothing is logged
	// Generation is what connection IDs begin with, for packets to find this process beside
	// one that hands over to it, or that it hands over to.
	Generation uint8
	TLS        *tls.Config // as for TCP: the Server makes its own clone for QUIC

	once     sync.Once
	limits   limits.Config
	now      func() time.Time
	log      *slog.Logger
	quick    exchange.Quick // nil: the handler is none
	tls      *tls.Config
	greeting []byte // what the control stream begins with
	streams  sync.Pool
	// Of all sockets: a client whose address changes may come to another one, which knows
	// its token, and tells it that its connection is not to be found there (RFC 9000 §10.3).
	tokenKey quic.TokenGeneratorKey
	resetKey quic.StatelessResetKey
	warned   sync.Once
	recent   arrivals

	draining atomic.Bool
	refusing atomic.Bool // what begins
	mu       struct {
		sync.Mutex
		closed     bool // not even those are served that were accepted before the drain
		conns      map[*conn]struct{}
		empty      chan struct{} // closed when conns is empty; nil when nobody waits
		listeners  map[*quic.EarlyListener]struct{}
		transports []*quic.Transport
	}
}

// Windows of flow control: what a client may have sent and nobody has read.
const (
	streamWindow = 2 << 20
	connWindow   = 4 << 20
)

// maxUniStreams that a client may have open: three that it needs, and some of extensions.
const maxUniStreams = 16

func (s *Server) init() {
	s.once.Do(func() {
		s.limits = s.Limits.WithDefaults()
		s.now, s.log = s.Now, s.Log
		if s.now == nil {
			s.now = time.Now
		}
		if s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		if s.Conns == nil {
			s.Conns = limits.NewConns(s.limits)
		}
		s.quick, _ = s.Handler.(exchange.Quick)
		s.streams.New = func() any { return newStream() }
		s.mu.conns = make(map[*conn]struct{})
		s.mu.listeners = make(map[*quic.EarlyListener]struct{})
		// What a section takes as RFC 9114 §4.2.2 counts it.
		section := uint64(s.limits.HeaderBytes + 28*s.limits.HeaderFields)
		settings := appendHead(nil, settingMaxSection, section)
		s.greeting = append(appendHead([]byte{streamControl}, frameSettings, uint64(len(settings))), settings...)
		s.tls = s.forQUIC(settings)
		_, _ = rand.Read(s.tokenKey[:]) // never fails
		_, _ = rand.Read(s.resetKey[:])
	})
}

// forQUIC is the configuration of TLS for QUIC. Its tickets say by which settings early
// data was promised: they may not be lower when it comes (RFC 9114 §7.2.4.2).
func (s *Server) forQUIC(settings []byte) *tls.Config {
	c := s.TLS.Clone()
	c.NextProtos = []string{"h3"}
	c.MinVersion = tls.VersionTLS13
	mark := append([]byte("freshet h3 "), settings...)
	wrap, unwrap := c.WrapSession, c.UnwrapSession
	if wrap == nil {
		wrap = c.EncryptTicket
	}
	if unwrap == nil {
		unwrap = c.DecryptTicket
	}
	c.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, mark)
		return wrap(cs, ss)
	}
	c.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := unwrap(identity, cs)
		if err != nil || ss == nil || !ss.EarlyData {
			return ss, err
		}
		ss.EarlyData = false
		for _, extra := range ss.Extra {
			if bytes.Equal(extra, mark) {
				ss.EarlyData = true
			}
		}
		return ss, nil
	}
	return c
}

// Serve serves on a UDP socket until Shutdown, or an error of the socket. What was
// accepted before an error goes on until Shutdown has returned, and needs the socket until
// then. Serve does not close it.
func (s *Server) Serve(pc net.PacketConn) error {
	s.init()
	s.prepare(pc)
	tr := &quic.Transport{
		Conn: pc, ConnContext: s.admit, VerifySourceAddress: func(net.Addr) bool { return s.recent.many() },
		ConnectionIDGenerator: connIDs{s.Generation},
	}
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		return ErrServerClosed
	}
	ln, err := tr.ListenEarly(s.tls, &quic.Config{
		HandshakeIdleTimeout:           s.limits.HandshakeTimeout / 2, // twice that is its limit in all
		MaxIdleTimeout:                 s.limits.IdleTimeout,
		MaxStreamReceiveWindow:         streamWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             int64(s.limits.Streams),
		MaxIncomingUniStreams:          maxUniStreams,
		RequireStreamCreditRelease:     true, // a stream that its client resets still occupies its handler
		Allow0RTT:                      true, // for safe methods: see refuse
		InitialStreamReceiveWindow:     256 << 10,
		InitialConnectionReceiveWindow: 512 << 10,
	})
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("listen for QUIC: %w", err)
	}
	s.mu.transports = append(s.mu.transports, tr)
	s.mu.listeners[ln] = struct{}{}
	s.mu.Unlock()
	for {
		q, err := ln.Accept(context.Background())
		if err != nil {
			s.mu.Lock()
			closed := s.mu.closed
			delete(s.mu.listeners, ln)
			s.mu.Unlock()
			if closed {
				return ErrServerClosed
			}
			return fmt.Errorf("accept QUIC connections: %w", err)
		}
		s.take(q)
	}
}

// take has a connection served.
func (s *Server) take(q *quic.Conn) {
	c := &conn{s: s, q: q, remote: addrPort(q.RemoteAddr()), accepted: time.Now()}
	c.refused.Store(largestStreamID + 4)
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		_ = q.CloseWithError(codeNoError, "")
		return
	}
	s.mu.conns[c] = struct{}{}
	s.mu.Unlock()
	if s.draining.Load() { // its handshake has begun before
		c.drain()
	}
	if s.Opened != nil {
		s.Opened()
	}
	go func() {
		c.serve()
		if s.Closed != nil {
			s.Closed()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.mu.conns, c)
		if len(s.mu.conns) == 0 && s.mu.empty != nil {
			close(s.mu.empty)
			s.mu.empty = nil
		}
	}()
}

var errRefused = errors.New("connection refused")

// admit counts a connection before its handshake, until it ends. Its address may be
// forged; what that can do is bounded by arrivals.
func (s *Server) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if s.refusing.Load() {
		return nil, errRefused // at once: its client goes elsewhere, or to TCP
	}
	addr := addrPort(info.RemoteAddr).Addr()
	if s.Exempt != nil && s.Exempt(addr) {
		addr = netip.Addr{}
	}
	admission, why := s.Conns.Admit(addr)
	if why != limits.None {
		s.limited(why)
		return nil, errRefused
	}
	context.AfterFunc(ctx, admission.Release)
	return ctx, nil
}

// freeArrivals is how many connections a second may begin before their clients have to
// prove their addresses. Those that were forged are gone after the handshake's timeout: in
// the defaults there are never as many as one address may have.
const freeArrivals = 100

// arrivals counts the connections of each second whose addresses are not proven.
type arrivals struct {
	state atomic.Uint64 // the second, and the count in the last 20 bits
}

// many reports whether the next one has to prove its address by Retry (RFC 9000 §8.1.2).
func (a *arrivals) many() bool {
	second := uint64(time.Now().Unix()) << 20
	for {
		old := a.state.Load()
		next := old + 1
		if old>>20<<20 != second {
			next = second + 1
		} else if old-second >= freeArrivals {
			return true
		}
		if a.state.CompareAndSwap(old, next) {
			return false
		}
	}
}

// limited tells that a limit has cut something.
func (s *Server) limited(why limits.Reason) {
	if s.Limited != nil {
		s.Limited(why)
	}
}

// Drain has the server refuse new connections and tells the clients of the others with
// GOAWAY to send their next requests elsewhere (RFC 9114 §5.2). Requests under way, and
// those that were sent before the client knew, are answered. It does not wait.
func (s *Server) Drain() {
	s.refusing.Store(true)
	s.drain()
}

// HandOver is Drain when a successor shares the sockets and gets what begins from now on
// (see run.SteerQUIC). What is in our sockets' queues already is let in, and told as the
// others are.
func (s *Server) HandOver() { s.drain() }

func (s *Server) drain() {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	for c := range s.mu.conns {
		c.drain()
	}
}

// queueTime is how long, after HandOver, handshakes may begin and get under way.
const queueTime = time.Second

// Shutdown drains unless that was begun, waits for the connections to end, closes what is left of them when
// ctx ends, and returns ctx's error then if that cut a request off.
func (s *Server) Shutdown(ctx context.Context) (err error) {
	if !s.draining.Load() {
		s.Drain()
	}
	if !s.refusing.Load() {
		select {
		case <-time.After(queueTime):
		case <-ctx.Done():
		}
	}
	select {
	case <-s.none():
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.mu.closed = true
	for c := range s.mu.conns {
		if c.open.Load() > 0 {
			err = ctx.Err()
		}
		go func() { _ = c.q.CloseWithError(codeNoError, "") }()
	}
	s.mu.Unlock()
	<-s.none()
	s.mu.Lock()
	listeners, transports := slices.Collect(maps.Keys(s.mu.listeners)), s.mu.transports
	s.mu.transports = nil
	s.mu.Unlock()
	for _, ln := range listeners {
		_ = ln.Close()
	}
	for _, tr := range transports {
		_ = tr.Close()
	}
	return err
}

// none is closed when there is no connection.
func (s *Server) none() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.conns) == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if s.mu.empty == nil {
		s.mu.empty = make(chan struct{})
	}
	return s.mu.empty
}
