// Package certs gives a node's listeners their certificates: from files that are read
// again when they change, from ACME with one storage for the whole cluster, or signed
// on demand by a CA of the node's own. Session tickets are sealed under keys that the
// edges of a PoP share and rotate, so that a session that began at one resumes at
// another.
package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/cluster"
)

// Pair names a certificate with its chain and its key, both PEM files.
type Pair struct {
	Cert, Key string
}

// ACME is where certificates are ordered (RFC 8555). They are ordered when a client
// first names a host that Config.Hosts knows, and renewed in time.
type ACME struct {
	Email     string // for the account; may be empty
	Directory string // URL; empty: Let's Encrypt
	CA        string // PEM file with the roots of a private ACME server; empty: the system's
	// HTTPPort and TLSPort are where this node's own listeners take http-01 and
	// tls-alpn-01 on Host; zero: 80 and 443. Where none of its own listens, one is
	// opened for as long as a challenge takes.
	HTTPPort, TLSPort int
	Host              string // address that the listeners are bound to; empty: any
}

// Config is what a Manager works with. Files come first; then ACME, then SelfSigned
// answer for hosts that no file names.
type Config struct {
	Files      []Pair
	ACME       *ACME // nil: none
	SelfSigned bool  // sign for the hosts that Hosts knows, by a CA that is made in Dir

	Dir   string            // of the own CA, and of what ACME keeps when there is no Cluster; needed for both
	Addrs []netip.Addr      // in the self-signed default certificate, beside localhost
	Min   uint16            // least TLS version; 0: 1.2
	Hosts func(string) bool // whether a host, in lower case, is served here; nil: every one (and then ACME is refused)
	Now   func() time.Time  // nil: time.Now

	// Cluster shares ticket keys within PoP, and what ACME keeps between all; both are
	// encrypted under Secret, which has at least 32 bytes. Nil: this node is alone.
	Cluster cluster.KV
	Secret  []byte
	PoP     string

	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: none
}

// Manager holds the certificates of one node. Its methods may be called at any time,
// from any goroutine.
type Manager struct {
	cfg     Config
	tickets *tickets
	files   *files   // nil: none
	own     *own     // nil: no self-signed certificates
	acme    *ordered // nil: no ACME
}

// New reads the files, which must be good at the start, and makes or reads the own CA.
// It starts nothing.
func New(cfg Config) (*Manager, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Min == 0 {
		cfg.Min = tls.VersionTLS12
	}
	m := &Manager{cfg: cfg}
	var secrets *cluster.Secrets
	var err error
	if cfg.Cluster != nil {
		if secrets, err = cluster.NewSecrets(cfg.Cluster, cfg.Secret); err != nil {
			return nil, err
		}
	}
	if m.tickets, err = newTickets(cfg, secrets); err != nil {
		return nil, err
	}
	if len(cfg.Files) > 0 {
		if m.files, err = openFiles(cfg.Files, cfg.Now, cfg.Log); err != nil {
			return nil, err
		}
	}
	if cfg.SelfSigned {
		if m.own, err = openOwn(cfg); err != nil {
			return nil, err
		}
	}
	if cfg.ACME != nil {
		if m.acme, err = newOrdered(cfg, secrets); err != nil {
			return nil, err
		}
	}
	if m.files == nil && m.own == nil && m.acme == nil {
		return nil, errors.New("there are no certificates: neither files, nor ACME, nor self-signed ones")
	}
	if err := m.register(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("metrics of certificates: %w", err)
	}
	return m, nil
}

// Run reads files again when they change, rotates ticket keys and renews what ACME has
// ordered, until ctx ends; then it returns nil.
func (m *Manager) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	tasks.Go(func() { m.tickets.run(ctx) })
	if m.files != nil {
		tasks.Go(func() { m.files.run(ctx) })
	}
	if m.acme != nil {
		tasks.Go(func() { m.acme.run(ctx) })
	}
	tasks.Wait()
	return nil
}

// TLS is the configuration for TCP, with ALPN for HTTP/2 and HTTP/1.1, and acme-tls/1
// where ACME is on (a connection that negotiates it is to be closed after its
// handshake). A clone of it follows later certificates and ticket keys just as well: for
// QUIC, change NextProtos in one.
func (m *Manager) TLS() *tls.Config {
	c := &tls.Config{
		MinVersion:     m.cfg.Min,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: m.certificate,
		// Functions, because a clone would keep the ticket keys of its time.
		WrapSession:   m.tickets.wrap,
		UnwrapSession: m.tickets.unwrap,
	}
	if m.acme != nil {
		c.NextProtos = append(c.NextProtos, acmeProtocol)
	}
	return c
}

// CAFile is the PEM file of the own CA, for clients to trust; "" without SelfSigned.
func (m *Manager) CAFile() string {
	if m.own == nil {
		return ""
	}
	return m.own.file
}

// certificate chooses what a client is shown. Nil has crypto/tls answer with
// unrecognized_name (RFC 6066 §3).
func (m *Manager) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if m.acme != nil && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmeProtocol {
		return m.acme.challenge(hello)
	}
	host := hostname(hello.ServerName)
	if m.files != nil {
		if c := m.files.named(host, hello); c != nil {
			return c, nil
		}
	}
	known := host != "" && (m.cfg.Hosts == nil || m.cfg.Hosts(host))
	if m.acme != nil && known {
		c, err := m.acme.get(hello.Context(), host)
		if err == nil {
			return c, nil
		}
		if m.own == nil && m.files == nil {
			return nil, fmt.Errorf("certificate of %s: %w", host, err)
		}
	}
	switch {
	case m.files != nil:
		if m.own == nil || !known {
			return m.files.first(hello), nil
		}
		return m.own.leaf(host)
	case m.own == nil:
		return nil, nil
	case known:
		return m.own.leaf(host)
	}
	return m.own.fallback(hello)
}

// hostname is the name of SNI as certificates are looked up by, "" for what cannot be
// one. Crypto/tls has refused addresses and final dots.
func hostname(name string) string {
	if len(name) > 253 {
		return ""
	}
	for _, c := range []byte(name) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return ""
		}
	}
	return strings.ToLower(name)
}
