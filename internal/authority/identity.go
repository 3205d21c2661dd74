// Package authority is the cluster's own CA, and what its certificates say: which node is
// at the other end of a connection. Create and Issue are for whoever runs the cluster;
// a node has an Identity, which it shows, and by which it knows the others.
package authority

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"freshet/internal/reload"
)

// Warnings of a certificate's end.
const (
	warnBefore = 30 * 24 * time.Hour
	warnEvery  = 24 * time.Hour
)

// Files are the PEM files of an identity.
type Files struct{ CA, Cert, Key string }

// Identity is a node's certificate with its key and the authorities that it trusts, read
// again when the files change. It may be used from any goroutine.
type Identity struct {
	files Files
	name  Name
	now   func() time.Time
	log   *slog.Logger
	set   *reload.Set[*state]   // for Run
	state atomic.Pointer[state] // never nil
}

// state is what was last read. It is never changed.
type state struct {
	cert  *tls.Certificate
	trust *x509.CertPool
	ends  time.Time // the first of the certificate and the CA that it is of
}

// Open reads the files, which must be good: the certificate names a node, is of one of the
// authorities, and has not ended. nil for now is time.Now. What the certificate says stays
// true of a later one: one for another name is not taken.
func Open(files Files, now func() time.Time, log *slog.Logger) (*Identity, error) {
	if now == nil {
		now = time.Now
	}
	i := &Identity{files: files, now: now, log: log}
	set, first, err := reload.Open(i.read, files.CA, files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	i.set = set
	i.state.Store(first)
	i.name, _ = NameOf(first.cert.Leaf) // read has seen that it has one
	return i, nil
}

func (i *Identity) read() (*state, error) {
	authorities, err := readCertificates(i.files.CA)
	if err != nil {
		return nil, err
	}
	text, err := reload.PEM(i.files.Cert)
	if err != nil {
		return nil, err
	}
	key, err := reload.PEM(i.files.Key)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(text, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", i.files.Cert, i.files.Key, err)
	}
	s := &state{cert: &cert, trust: x509.NewCertPool()}
	for _, ca := range authorities {
		s.trust.AddCert(ca)
	}
	name, err := NameOf(cert.Leaf)
	if err == nil && i.name != (Name{}) && name != i.name {
		err = fmt.Errorf("it is for %s, this is %s", name, i.name)
	}
	var chains [][]*x509.Certificate
	if err == nil {
		chains, err = s.verify(cert.Leaf, i.now(), x509.ExtKeyUsageClientAuth)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", i.files.Cert, err)
	}
	s.ends = endOf(chains)
	return s, nil
}

// endOf is when the last of the chains ends.
func endOf(chains [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, chain := range chains {
		first := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
		if first.After(last) {
			last = first
		}
	}
	return last
}

// verify finds the chains from a certificate to an authority. There are none between the
// two: the CA signs nodes' certificates alone.
func (s *state) verify(cert *x509.Certificate, now time.Time, use x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	return cert.Verify(x509.VerifyOptions{Roots: s.trust, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
}

// Run looks at the files until ctx ends, and then returns nil. What has changed counts for
// the next handshake; connections that are open stay.
func (i *Identity) Run(ctx context.Context) error {
	tick := time.NewTicker(reload.Interval)
	defer tick.Stop()
	var warned time.Time
	for {
		if now := i.now(); i.Check() != nil && now.Sub(warned) >= warnEvery {
			warned = now
			i.log.Warn("certificate of this node ends soon", "cert", i.files.Cert, "until", i.Ends())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if i.Look() {
				warned = time.Time{}
			}
		}
	}
}

// Look reads the files again if they have changed. Run calls it: nobody else may meanwhile.
func (i *Identity) Look() (changed bool) {
	s, changed, err := i.set.Look()
	if err != nil {
		i.log.Error("new certificate of this node cannot be used, the old one stays", "cert", i.files.Cert, "err", err)
	}
	if changed {
		i.state.Store(s)
		i.log.Info("certificate of this node was read", "cert", i.files.Cert, "until", s.ends)
	}
	return changed
}

// Name is whom the certificate stands for; it stays the same.
func (i *Identity) Name() Name { return i.name }

// Ends is when the certificate, or the CA that signed it, ends.
func (i *Identity) Ends() time.Time { return i.state.Load().ends }

// Check says that the certificate ends within 30 days, or has ended.
func (i *Identity) Check() error {
	ends := i.Ends()
	switch left := ends.Sub(i.now()); {
	case left <= 0:
		return fmt.Errorf("the certificate of this node has ended on %s: nobody takes it any more", ends.Format(time.DateOnly))
	case left < warnBefore:
		return fmt.Errorf("the certificate of this node ends on %s", ends.Format(time.DateOnly))
	}
	return nil
}

// ErrPeer: the other end of a connection is somebody else than who is wanted there.
var ErrPeer = errors.New("wrong node at the other end")

// ServerConfig is TLS for listeners that serve nodes of these roles and nobody else.
// ServerConfig and ClientConfig follow later certificates by themselves.
func (i *Identity) ServerConfig(roles ...string) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2", "http/1.1"},
		Time:       i.now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return i.state.Load().cert, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error { return i.verifyClient(&state, roles) },
	}
	// A clone for each handshake, since who is trusted can change. Tickets are the original's,
	// so that a session resumes; that it is of somebody who is still trusted is looked at.
	forClients := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := forClients.Clone()
		now.ClientCAs = i.state.Load().trust
		return now, nil
	}
	return config
}

func (i *Identity) verifyClient(state *tls.ConnectionState, roles []string) error {
	peer, ok := PeerOf(state)
	if !ok {
		_, err := NameOf(state.PeerCertificates[0])
		return err
	}
	if state.DidResume {
		if _, err := i.state.Load().verify(state.PeerCertificates[0], i.now(), x509.ExtKeyUsageClientAuth); err != nil {
			return err
		}
	}
	for _, role := range roles {
		if peer.Role == role {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is not served here", ErrPeer, peer)
}

// ClientConfig is TLS towards one node. It is that node's by its certificate, wherever it
// is reached and whatever it is called there.
func (i *Identity) ClientConfig(to Name) *tls.Config {
	return i.clientConfig(func(peer Name) error {
		if peer != to {
			return fmt.Errorf("%w: it is %s, not %s", ErrPeer, peer, to)
		}
		return nil
	}, to.Node)
}

// ClientConfigRole is TLS towards any node of a role.
func (i *Identity) ClientConfigRole(role string) *tls.Config {
	return i.clientConfig(func(peer Name) error {
		if peer.Role != role {
			return fmt.Errorf("%w: it is %s, no %s", ErrPeer, peer, role)
		}
		return nil
	}, role)
}

func (i *Identity) clientConfig(wanted func(Name) error, serverName string) *tls.Config {
	sessions := &sessions{id: i}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"h2", "http/1.1"},
		ServerName:         serverName, // not verified: sessions are remembered by it
		ClientSessionCache: sessions,
		Time:               i.now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.state.Load().cert, nil
		},
		// In place of the names of hosts, which certificates of nodes need not have.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			cert := state.PeerCertificates[0]
			if _, err := i.state.Load().verify(cert, i.now(), x509.ExtKeyUsageServerAuth); err != nil {
				return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
			}
			peer, err := NameOf(cert)
			if err == nil {
				err = wanted(peer)
			}
			if err == nil {
				sessions.seen(cert.NotAfter)
			}
			return err
		},
	}
}
