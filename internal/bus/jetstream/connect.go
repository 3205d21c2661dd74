package jetstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/internal/bus"
)

// Timing of a connection.
const (
	dialTimeout   = 2 * time.Second
	reconnectWait = 250 * time.Millisecond // between tries of one server, and as much again of jitter
	pingInterval  = 2 * time.Second        // a silent server counts as gone after two
	callTimeout   = 5 * time.Second        // of a call whose context has no deadline
	startQuiet    = 3 * time.Second        // a bus that is away when a node starts may be starting too
)

// Config says how to reach the bus, and what log Create makes there.
type Config struct {
	Address        string // nats://host:port, several separated by commas
	User, Password string
	TLS            TLS // used if CA or Cert is set
	// Identity is TLS towards the bus where TLS says nothing; nil for none.
	Identity *tls.Config
	Node     string // role and name, as Identity shows them; empty without

	Replicas int           // copies of the log among the servers, 1 or 3; 0 is 1
	MaxAge   time.Duration // the log forgets records older than this; 0 is 30 days
	MaxBytes int64         // and the oldest ones beyond this size; 0 is 1 GiB

	server *natsserver.Server // connect within the process
}

// TLS names the PEM files of the client's side of TLS.
type TLS struct {
	CA, Cert, Key string
	ServerName    string // expected in the server's certificate, if not the address
}

// Bus is a bus.Bus on a NATS server.
type Bus struct {
	cfg    Config
	log    *slog.Logger
	conn   *nats.Conn
	js     jetstream.JetStream
	closed chan struct{} // closed when the connection has ended for good
	away   *time.Timer   // will say that no server has answered yet; nil if one did

	mu struct {
		sync.Mutex
		closed  bool
		stream  string          // the log's stream when last looked up; "" for none
		last    linked          // the last record appended
		alive   context.Context // of the connection that there is; a call under way ends with it
		lost    context.CancelCauseFunc
		readers map[*reader]struct{}
		subs    map[*subscription]struct{}
	}
}

var _ bus.Bus = (*Bus)(nil)

// Connect reaches a NATS server. If none answers it returns a Bus that goes on
// trying (Connected says so, and the log after 3 s); it fails when a server refuses
// the credentials or the configuration is wrong. A lost connection is made anew for
// ever.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Bus, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("connect to bus: %w", err)
	}
	b := &Bus{cfg: cfg, log: log, closed: make(chan struct{})}
	b.mu.readers = make(map[*reader]struct{})
	b.mu.subs = make(map[*subscription]struct{})
	b.renew(nil)
	options, err := b.options()
	if err != nil {
		return nil, fmt.Errorf("connect to bus %s: %w", cfg.Address, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to bus %s: %w", cfg.Address, err)
	}
	// The first try is made without the library's own retries, which would hide a
	// refusal from the operator who has mistyped the password.
	var away error
	b.conn, err = nats.Connect(cfg.Address, options...)
	if err != nil {
		if cfg.Identity != nil && certificateRefused(err) {
			return nil, fmt.Errorf("connect to bus %s: the server refuses the certificate of this node: %w", cfg.Address, err)
		}
		if refused(err) {
			return nil, fmt.Errorf("connect to bus %s as %q: the server refuses user and password: %w", cfg.Address, cfg.User, err)
		}
		away = err
		b.conn, err = nats.Connect(cfg.Address, append(options, nats.RetryOnFailedConnect(true))...)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to bus %s: %w", cfg.Address, err)
	}
	b.js, err = jetstream.New(b.conn, jetstream.WithDefaultTimeout(callTimeout))
	if err != nil {
		b.conn.Close()
		return nil, fmt.Errorf("connect to bus %s: %w", cfg.Address, err)
	}
	if away != nil {
		b.away = time.AfterFunc(startQuiet, func() {
			if !b.conn.IsConnected() && !b.isClosed() {
				log.Warn("bus away, still trying", "address", cfg.Address, "err", away)
			}
		})
	}
	return b, nil
}

// complete fills in the defaults and checks the rest.
func (cfg *Config) complete() error {
	for address := range strings.SplitSeq(cfg.Address, ",") {
		if address = strings.TrimSpace(address); address == "" || strings.Contains(address, "@") {
			return fmt.Errorf("address %q: nats://host:port is needed, several separated by commas", cfg.Address)
		}
	}
	switch cfg.Replicas {
	case 0:
		cfg.Replicas = 1
	case 1, 3:
	default:
		return fmt.Errorf("%d replicas: 1 or 3", cfg.Replicas)
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 30 * 24 * time.Hour
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 30
	}
	return nil
}

// refused reports whether a server has turned the credentials down.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// certificateRefused reports whether a server has turned down what it was shown in the
// handshake: it says so by an alert.
func certificateRefused(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error"
}

func (b *Bus) options() ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name("freshet"),
		nats.UserInfo(b.cfg.User, b.cfg.Password),
		nats.Timeout(dialTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		// What cannot be sent now fails now: a purge that is sent minutes after its
		// caller was told that it failed helps nobody.
		nats.ReconnectBufSize(-1),
		// A password that is changed on the servers and here at different moments must
		// not end the connection for good.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.renew(errLost)
			if !b.isClosed() {
				b.log.Warn("bus connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			b.log.Info("bus connected", "address", c.ConnectedUrlRedacted())
			b.resetReaders()
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			b.log.Warn("bus reported", "subject", subject, "err", err)
		}),
	}
	if b.cfg.Node != "" {
		options = append(options, nats.CustomInboxPrefix(inboxOf(b.cfg.Node)))
	}
	if b.cfg.server != nil {
		options = append(options, nats.InProcessServer(b.cfg.server))
	}
	if t := b.cfg.TLS; t.CA != "" || t.Cert != "" {
		config, err := t.load()
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Secure(config))
	} else if b.cfg.Identity != nil {
		options = append(options, nats.Secure(b.cfg.Identity))
	}
	return options, nil
}

// load reads the files.
func (t TLS) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read authorities from %s: no certificate in PEM", t.CA)
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("load client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

// errLost ends a call whose connection is lost: its answer comes on no other one.
var errLost = errors.New("bus connection was lost before an answer came")

// renew ends the calls of the connection that there was.
func (b *Bus) renew(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.lost != nil {
		b.mu.lost(why)
	}
	b.mu.alive, b.mu.lost = context.WithCancelCause(context.Background())
}

// call is the context of a call, which ends with the connection as well.
func (b *Bus) call(ctx context.Context) (context.Context, context.CancelFunc) {
	b.mu.Lock()
	alive := b.mu.alive
	b.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(alive, func() { cancel(context.Cause(alive)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// Connected is nil, or says why the bus cannot be reached just now.
func (b *Bus) Connected() error {
	switch {
	case b.isClosed():
		return bus.ErrClosed
	case b.conn.IsConnected():
		return nil
	}
	if err := b.conn.LastError(); err != nil {
		return fmt.Errorf("bus %s is away: %w", b.cfg.Address, err)
	}
	return fmt.Errorf("bus %s is away", b.cfg.Address)
}

func (b *Bus) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.closed
}

// Close ends readers and subscriptions, and waits until the connection is gone.
func (b *Bus) Close() {
	b.mu.Lock()
	first := !b.mu.closed
	b.mu.closed = true
	subs := make([]*subscription, 0, len(b.mu.subs))
	for s := range b.mu.subs {
		subs = append(subs, s)
	}
	b.mu.Unlock()
	for _, s := range subs {
		s.cancel()
	}
	if b.away != nil {
		b.away.Stop()
	}
	if first {
		b.conn.Close()
	}
	<-b.closed
	b.renew(bus.ErrClosed)
	b.resetReaders() // Next then finds the bus closed
}
