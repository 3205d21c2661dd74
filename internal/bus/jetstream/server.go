package jetstream

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Limits of the embedded server.
const (
	maxPayload     = 1 << 20  // bytes of one message: a record with its headers fits
	maxConnections = 4096     // 1,000 nodes, several times over, while they reconnect
	maxStore       = 64 << 30 // bytes of JetStream on disk; the log's own limit is MaxBytes
	readyTimeout   = 10 * time.Second
)

// ServerConfig is what an embedded server needs: Dir, and User and Password or TLS.
type ServerConfig struct {
	Listen string // host:port; port 0 picks a free one. Default 127.0.0.1:7071
	Dir    string // the log is kept here; made if it is not there
	// Keep is how long the log that is there keeps records from now on; 0 leaves that as it
	// is. A log that is made later has its Config's MaxAge.
	Keep     time.Duration
	User     string // with Password lets in whoever shows both, to all that a node may
	Password string

	// TLS, if not nil, is what every connection over the network has to speak, and PeerOf who
	// that is by its certificate, and may do what: user and password count for nothing then, unless
	// PasswordToo lets in those who speak no TLS by them.
	TLS         *tls.Config
	PeerOf      func(*tls.ConnectionState) Peer
	PasswordToo bool
}

// Rights are what somebody may do on the bus.
type Rights int

// The rights of connections.
const (
	NoRights  Rights = iota // is not let in
	MayRead                 // reads the log, and sends and hears telemetry
	MayAppend               // makes and seals logs and appends to them as well
)

// Server is a NATS server with JetStream in this process. It keeps the log in its
// directory with every append synced to the disk.
type Server struct {
	own    credentials // of Connect
	nats   *natsserver.Server
	keeper *Bus // seals logs, and makes consumers
}

// Start runs an embedded server; it is ready when Start returns. The caller ends it
// with Shutdown.
func Start(cfg ServerConfig, log *slog.Logger) (*Server, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:7071"
	}
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.Dir == "" || (cfg.TLS == nil || cfg.PasswordToo) && (cfg.User == "" || cfg.Password == ""):
		return nil, errors.New("start bus server: a directory, a user and a password are needed")
	case cfg.TLS != nil && cfg.PeerOf == nil:
		return nil, errors.New("start bus server: nobody says what certificates allow")
	}
	// The server's own error for a port in use comes late and reads badly.
	probe, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("start bus server on %s: %w", cfg.Listen, err)
	}
	if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("start bus server on %s: %w", cfg.Listen, err)
	}
	self := credentials{user: "freshet-server", password: rand.Text()}
	own := credentials{user: "freshet-here", password: rand.Text()}
	users := logins{self: self, own: own, peerOf: cfg.PeerOf}
	if cfg.TLS == nil || cfg.PasswordToo {
		users.all = credentials{cfg.User, cfg.Password}
	}
	srv, err := natsserver.NewServer(&natsserver.Options{
		Host:                       host,
		Port:                       port,
		NoSigs:                     true,
		MaxConn:                    maxConnections,
		MaxPayload:                 maxPayload,
		MaxSubs:                    1024,
		JetStream:                  true,
		StoreDir:                   cfg.Dir,
		JetStreamMaxMemory:         64 << 20,
		JetStreamMaxStore:          maxStore,
		SyncAlways:                 true,
		DisableJetStreamBanner:     true,
		CustomClientAuthentication: users,
		TLS:                        cfg.TLS != nil,
		TLSConfig:                  cfg.TLS,
		TLSTimeout:                 dialTimeout.Seconds(),
		AllowNonTLS:                cfg.TLS != nil && cfg.PasswordToo,
	})
	if err != nil {
		return nil, fmt.Errorf("start bus server on %s: %w", cfg.Listen, err)
	}
	l := &serverLog{log: log}
	srv.SetLoggerV2(l, false, false, false)
	srv.Start()
	s := &Server{own: own, nats: srv}
	if err := s.waitReady(l); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("start bus server on %s in %s: %w", cfg.Listen, cfg.Dir, err)
	}
	s.keeper, err = Connect(context.Background(), Config{Address: s.URL(), User: self.user, Password: self.password, server: srv}, log)
	if err == nil {
		err = errors.Join(s.keeper.serveSeals(), s.keeper.serveReads())
	}
	if err == nil && cfg.Keep > 0 {
		err = s.keeper.keepFor(context.Background(), cfg.Keep)
	}
	if err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("start bus server on %s in %s: %w", cfg.Listen, cfg.Dir, err)
	}
	log.Info("bus server started", "listen", s.Addr(), "dir", cfg.Dir)
	return s, nil
}

// waitReady waits for the server to accept connections, or to give up.
func (s *Server) waitReady(l *serverLog) error {
	for deadline := time.Now().Add(readyTimeout); ; {
		ready := s.nats.ReadyForConnections(100 * time.Millisecond)
		switch fatal := l.fatal.Load(); {
		case fatal != nil:
			return errors.New(*fatal)
		case ready:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("not ready after %s", readyTimeout)
		}
	}
}

// splitListen takes host:port apart; the server wants -1 for a free port.
func splitListen(listen string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("start bus server on %q: host:port is needed", listen)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if port == 0 {
		port = -1
	}
	return host, port, nil
}

// Addr is the host:port on which the server listens.
func (s *Server) Addr() string { return s.nats.Addr().String() }

// URL is the address for Config.Address.
func (s *Server) URL() string { return "nats://" + s.Addr() }

// Connect is a bus to this server within the process, without a socket. cfg needs
// neither address nor credentials.
func (s *Server) Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Bus, error) {
	cfg.Address, cfg.User, cfg.Password, cfg.TLS, cfg.Identity, cfg.Node = s.URL(), s.own.user, s.own.password, TLS{}, nil, ""
	cfg.server = s.nats
	return Connect(ctx, cfg, log)
}

// Shutdown ends the server and waits until everything is written and closed. Buses
// that are still connected go on trying to reach it.
func (s *Server) Shutdown() {
	if s.keeper != nil {
		s.keeper.Close()
	}
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
}

// credentials are of one user; the zero ones are of nobody.
type credentials struct{ user, password string }

func (c credentials) of(opts *natsserver.ClientOpts) bool {
	user := subtle.ConstantTimeCompare([]byte(opts.Username), []byte(c.user))
	password := subtle.ConstantTimeCompare([]byte(opts.Password), []byte(c.password))
	return c.password != "" && user&password == 1
}

// logins say who is let in.
type logins struct {
	self   credentials // of the server's own process, drawn at its start; may do everything
	own    credentials // of the distributor in it, likewise; may append
	all    credentials // of nodes, where they have no certificates
	peerOf func(*tls.ConnectionState) Peer
}

// Check is asked by the server about each connection.
func (l logins) Check(conn natsserver.ClientAuthentication) bool {
	opts, state := conn.GetOpts(), conn.GetTLSConnectionState()
	var peer Peer
	switch {
	case l.self.of(opts):
		conn.RegisterUser(&natsserver.User{Username: l.self.user})
		return true
	case l.own.of(opts), state == nil && l.all.of(opts):
		peer.Rights = MayAppend
	case state != nil && l.peerOf != nil:
		peer = l.peerOf(state)
	}
	permissions := peer.permissions()
	if permissions == nil {
		return false
	}
	conn.RegisterUser(&natsserver.User{Username: opts.Username, Permissions: permissions})
	return true
}

// serverLog passes the server's log on. The server is chatty: what it calls a notice
// is for debugging here.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string] // what the server would have ended the process for
}

func (l *serverLog) write(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "bus server reported", "text", strings.TrimSpace(fmt.Sprintf(format, v...)))
	}
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
	l.write(slog.LevelError, format, v)
}

func (l *serverLog) Errorf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l *serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
