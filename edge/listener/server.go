// Package listener accepts connections and carries requests between clients and an
// exchange.Handler. A Server learns what each connection is (a head of the PROXY
// protocol, TLS, ALPN), counts it, and hands it to the lane of its protocol: h1, h2 or
// h3. What the fast lane of HTTP/1.1 does not read itself goes to Full, which is
// net/http.
package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/exchange"
	"freshet/edge/listener/h1"
	"freshet/edge/listener/h2"
	"freshet/edge/listener/h3"
	"freshet/edge/listener/limits"
	"freshet/internal/run"
)

// Config is what a Server works with.
type Config struct {
	Handler exchange.Handler
	Now     func() time.Time      // nil: time.Now
	Log     *slog.Logger          // nil: nothing is logged
	Metrics prometheus.Registerer // nil: nothing is counted for others

	Plain  []net.Listener   // HTTP/1.1, and HTTP/2 by prior knowledge
	Secure []net.Listener   // HTTP/2 and HTTP/1.1 over TLS
	Packet []net.PacketConn // HTTP/3
	TLS    *tls.Config      // for Secure and Packet; its NextProtos are for Secure

	// Tier are HTTP/2 and HTTP/1.1 over TLS for other nodes of this cluster. Their requests
	// have the scheme http, as those of the plain listeners that nodes use otherwise: what the
	// client used is said in a field, where it matters. No head of the PROXY protocol is read.
	Tier    []net.Listener
	TierTLS *tls.Config                       // which lets nobody else in
	PeerOf  func(*tls.ConnectionState) string // who it is, as exchange.Request has it; never empty

	Generation uint8                      // of the process: see h3.Server
	Succeeded  func(context.Context) bool // as node.Env's; nil: nobody shares Packet

	ProxyFrom []netip.Prefix // whose connections begin with a head of the PROXY protocol
	Trusted   []netip.Prefix // to whom the limit of connections per address does not apply, beside loopback and ProxyFrom
	Limits    limits.Config  // zeros are defaults
	Drain     time.Duration  // how long requests under way may take when Run is to end; 0: they are cut
}

// Server accepts connections, by whatever protocol they speak, and has them served by
// its lanes. It owns its listeners from New on. Make it with New, then Run it once.
type Server struct {
	cfg     Config
	limits  limits.Config
	conns   *limits.Conns
	metrics *metrics
	log     *slog.Logger

	one   *h1.Server
	two   *h2.Server
	three *h3.Server // nil without Packet
	full  *http.Server
	queue *queue // of connections for full

	requests    context.Context // of those of full
	cutRequests context.CancelFunc

	serving sync.WaitGroup // connections over TCP
	mu      struct {
		sync.Mutex
		open     map[net.Conn]*client // by the socket
		full     map[*fullConn]struct{}
		draining bool
	}
}

// client is a connection over TCP.
type client struct {
	conn      net.Conn // the socket
	scheme    string
	remote    netip.AddrPort
	peer      string // as exchange.Request has it
	accepted  time.Time
	admission *limits.Admission
	upgraded  atomic.Bool // it speaks nothing but other protocols than HTTP
}

// New makes a server, which accepts nothing before Run.
func New(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, limits: cfg.Limits.WithDefaults(), log: cfg.Log, queue: newQueue()}
	s.mu.open, s.mu.full = make(map[net.Conn]*client), make(map[*fullConn]struct{})
	s.requests, s.cutRequests = context.WithCancel(context.Background())
	if err := s.limits.Validate(); err != nil {
		return nil, err
	}
	if (cfg.TierTLS == nil || cfg.PeerOf == nil) && len(cfg.Tier) > 0 {
		return nil, errors.New("listeners for tiers without a configuration of TLS")
	}
	if cfg.TLS == nil && len(cfg.Secure)+len(cfg.Packet) > 0 {
		return nil, errors.New("listeners for TLS or QUIC without a configuration of TLS")
	}
	s.conns = limits.NewConns(s.limits)
	var err error
	if s.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("metrics of the listeners: %w", err)
	}
	s.lanes()
	return s, nil
}

// lanes makes what serves each protocol.
func (s *Server) lanes() {
	cfg, limited := &s.cfg, s.metrics.limited
	s.one = &h1.Server{
		Handler: s.metrics.counting(cfg.Handler, protocol1), Now: cfg.Now, Limits: s.limits, Limited: limited, Log: s.log, Full: s.takeOver,
	}
	s.two = &h2.Server{Handler: s.metrics.counting(cfg.Handler, protocol2), Now: cfg.Now, Limits: s.limits, Limited: limited, Log: s.log, Tunnels: s.metrics.tunnels, Admit: s.admitTunnel}
	if len(cfg.Packet) > 0 {
		opened := s.metrics.open[protocol3]
		s.three = &h3.Server{
			Handler: s.metrics.counting(cfg.Handler, protocol3), Now: cfg.Now, Limits: s.limits, Conns: s.conns, Exempt: s.exempt, Limited: limited, Log: s.log, TLS: cfg.TLS, Generation: cfg.Generation,
			Opened: func() { s.metrics.accepted[kindQUIC].Inc(); opened.Inc() }, Closed: opened.Dec,
		}
	}
	s.full = &http.Server{
		Handler: &Full{
			Handler: s.metrics.counting(cfg.Handler, protocolFull), Now: cfg.Now, Limits: s.limits, Limited: limited,
		},
		BaseContext:       func(net.Listener) context.Context { return s.requests },
		ConnContext:       ConnContext,
		ConnState:         func(c net.Conn, state http.ConnState) { c.(*fullConn).changed(state) },
		ReadHeaderTimeout: s.limits.HeadTimeout,
		ReadTimeout:       s.limits.HeadTimeout + s.limits.BodyTimeout, // what net/http answers itself has a body, too: see Full
		IdleTimeout:       s.limits.IdleTimeout,
		MaxHeaderBytes:    s.limits.HeaderBytes,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/2 is not net/http's
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Run serves until ctx ends. Then it stops accepting and has every protocol tell its
// clients to go elsewhere; what is under way may take as long as Config.Drain. What is
// still under way then is cut, and the error wraps run.ErrDrainTimeout. A connection
// that is idle is closed when it has been quiet for two seconds, so that a request which
// is on its way to it is answered.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, len(s.cfg.Plain)+len(s.cfg.Secure)+len(s.cfg.Tier)+len(s.cfg.Packet)+1)
	fullLane := make(chan struct{})
	go func() {
		defer close(fullLane)
		_ = s.full.Serve(s.queue) // until the queue is closed
	}()
	var accepting, datagrams sync.WaitGroup
	check := func(err error) {
		if err != nil {
			failed <- err
		}
	}
	for _, ln := range s.cfg.Plain {
		accepting.Go(func() { check(s.accept(ln, kindPlain)) })
	}
	for _, ln := range s.cfg.Secure {
		accepting.Go(func() { check(s.accept(ln, kindTLS)) })
	}
	for _, ln := range s.cfg.Tier {
		accepting.Go(func() { check(s.accept(ln, kindTier)) })
	}
	for _, pc := range s.cfg.Packet {
		datagrams.Go(func() { check(s.packets(pc)) })
	}
	drain := s.cfg.Drain
	var err error
	select {
	case err = <-failed:
		drain = 0 // nothing accepts any more: those who are connected gain nothing from a drain
	case <-ctx.Done():
	}
	s.stopAccepting(drain > 0)
	accepting.Wait()
	err = errors.Join(err, s.drain(drain))
	datagrams.Wait()
	for _, pc := range s.cfg.Packet {
		pc.Close()
	}
	s.queue.Close()
	<-fullLane
	s.cutRequests()
	return err
}

// packets serves HTTP/3 on one socket.
func (s *Server) packets(pc net.PacketConn) error {
	if err := s.three.Serve(pc); !errors.Is(err, h3.ErrServerClosed) {
		return fmt.Errorf("serve HTTP/3 on %s: %w", pc.LocalAddr(), err)
	}
	return nil
}

// backlogTime is how long a listener goes on accepting what waits in its queue when it is
// to stop: the kernel resets what is left there.
const backlogTime = 10 * time.Millisecond

// stopAccepting has the accept loops end; with backlog, after what has connected already.
func (s *Server) stopAccepting(backlog bool) {
	s.mu.Lock()
	s.mu.draining = true
	s.mu.Unlock()
	s.one.Drain() // before clients can see that nobody is let in any more
	s.two.Drain()
	for _, ln := range slices.Concat(s.cfg.Plain, s.cfg.Secure, s.cfg.Tier) {
		timed, ok := ln.(interface{ SetDeadline(time.Time) error })
		if !backlog || !ok || timed.SetDeadline(time.Now().Add(backlogTime)) != nil {
			ln.Close()
		}
	}
}

func (s *Server) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.draining
}

// drain ends all connections, within a time.
func (s *Server) drain(within time.Duration) error {
	grace, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	shutdowns := []func(context.Context) error{s.one.Shutdown, s.two.Shutdown}
	if s.three != nil {
		shutdowns = append(shutdowns, func(grace context.Context) error {
			// Nobody accepts for us what comes over UDP until a successor has its sockets.
			if s.cfg.Succeeded != nil && s.cfg.Succeeded(grace) {
				s.three.HandOver()
			}
			return s.three.Shutdown(grace)
		})
	}
	var lanes sync.WaitGroup
	errs := make([]error, len(shutdowns))
	for i, shutdown := range shutdowns {
		lanes.Go(func() { errs[i] = shutdown(grace) })
	}
	s.drainFull()
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	cut := 0
	select {
	case <-done:
	case <-grace.Done():
		cut = s.cut()
	}
	<-done
	lanes.Wait()
	if cut > 0 || errors.Is(errors.Join(errs...), context.DeadlineExceeded) {
		return fmt.Errorf("serve: %w: connections were in use after %s", run.ErrDrainTimeout, within)
	}
	return nil
}

// cut closes what is open over TCP and says how many connections that were. Those that
// speak another protocol do not count: they go on for as long as both sides like.
func (s *Server) cut() int {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.mu.open)) // before one ends because its request is cut
	upgraded := 0
	for _, c := range s.mu.open {
		if c.upgraded.Load() {
			upgraded++
		}
	}
	s.mu.Unlock()
	s.cutRequests()
	for _, conn := range open {
		go conn.Close() // which waits for a handler that runs within a read
	}
	return len(open) - upgraded
}
