package nameserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/node"
	"freshet/internal/run"
	"freshet/internal/site"
)

// Config is what a Server is made of.
type Config struct {
	Listen    []string     // host:port, served over UDP and TCP; port 0 is one free port for both
	Advertise []netip.Addr // the router's own addresses; if empty those that it listens on
	Zones     []node.Zone
	TTL       time.Duration // of steered answers; whole seconds
	Steer     Steer
	Log       *slog.Logger
	Metrics   prometheus.Registerer
}

// Server is the name server.
type Server struct {
	cfg     Config
	zones   []*zone
	fixed   map[string][]netip.Addr
	ttl     uint32 // seconds
	log     *slog.Logger
	metrics *metrics
	sockets []socket
	slots   chan struct{} // one for each TCP connection that may be open
	names   atomic.Pointer[names]
}

// socket is one address that is listened on.
type socket struct {
	udp *net.UDPConn
	tcp *net.TCPListener
}

func (s socket) close() {
	_ = s.udp.Close()
	_ = s.tcp.Close()
}

// New checks cfg. Until SetSites was called every question gets SERVFAIL.
func New(cfg Config) (*Server, error) {
	zones, fixed, err := compileZones(cfg.Zones)
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg:     cfg,
		zones:   zones,
		fixed:   fixed,
		ttl:     uint32(cfg.TTL / time.Second),
		log:     cfg.Log,
		metrics: newMetrics(cfg.Metrics),
		slots:   make(chan struct{}, maxConnections),
	}, nil
}

// Listen opens the sockets, all or none. Run must follow: it closes them.
func (s *Server) Listen() error {
	for _, addr := range s.cfg.Listen {
		socket, err := listen(addr)
		if err != nil {
			for _, other := range s.sockets {
				other.close()
			}
			s.sockets = nil
			return err
		}
		s.sockets = append(s.sockets, socket)
	}
	return nil
}

// Addrs are the addresses that are listened on, after Listen.
func (s *Server) Addrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, socket := range s.sockets {
		ap := socket.tcp.Addr().(*net.TCPAddr).AddrPort()
		addrs = append(addrs, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
	}
	return addrs
}

// SetSites makes the server answer for the hosts of the sites, and for no others.
// Listen must have been called; calls must not overlap.
func (s *Server) SetSites(sites *site.Snapshot) {
	var self []netip.Addr
	for _, addr := range s.cfg.Advertise {
		self = addAddr(self, addr)
	}
	if len(self) == 0 {
		for _, ap := range s.Addrs() {
			self = addAddr(self, ap.Addr())
		}
	}
	serial := nextSerial(s.names.Load(), sites.Version(), time.Now())
	s.names.Store(newNames(s.zones, s.fixed, self, sites, serial))
}

// Run serves until ctx ends, then answers what it has read and closes the sockets.
func (s *Server) Run(ctx context.Context) error {
	var tasks []run.Task
	for _, socket := range s.sockets {
		addr := socket.tcp.Addr().String()
		tasks = append(tasks,
			run.Task{Name: "dns over udp on " + addr, Run: func(ctx context.Context) error { return s.serveUDP(ctx, socket.udp) }},
			run.Task{Name: "dns over tcp on " + addr, Run: func(ctx context.Context) error { return s.serveTCP(ctx, socket.tcp) }},
		)
	}
	defer func() {
		for _, socket := range s.sockets {
			socket.close()
		}
	}()
	return run.Tasks(ctx, s.log, tasks...)
}

// listen opens addr over TCP and UDP, on the same port.
func listen(addr string) (socket, error) {
	// A literal address keeps to its family: 0.0.0.0 is not :: as well.
	family := ""
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
			family = "4"
		} else if err == nil {
			family = "6"
		}
	}
	// A port that is free over TCP may be taken over UDP: then another is tried.
	const attempts = 20
	for attempt := 1; ; attempt++ {
		tcp, err := run.Listen("tcp"+family, addr)
		if err != nil {
			return socket{}, fmt.Errorf("dns over tcp: %w", err)
		}
		bound := tcp.Addr().(*net.TCPAddr)
		same := net.JoinHostPort(host, fmt.Sprint(bound.Port))
		udp, err := run.ListenPacket("udp"+family, same)
		if err == nil {
			return socket{udp: udp.(*net.UDPConn), tcp: tcp.(*net.TCPListener)}, nil
		}
		_ = tcp.Close()
		if port != "0" && port != "" || attempt == attempts || !errors.Is(err, run.ErrAddressInUse) {
			return socket{}, fmt.Errorf("dns over udp: %w", err)
		}
	}
}
