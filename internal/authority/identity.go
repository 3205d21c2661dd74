// Package authority is the cluster's own CA, and what its certificates say: which node is
// at the other end of a connection. Create and Issue are for whoever runs the cluster;
// a node has an Identity, which it shows, and by which it knows the others.
package authority

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"
)

// Files are the PEM files of an identity.
type Files struct{ CA, Cert, Key string }

// Identity is a node's certificate with its key and the authorities that it trusts, read
// again when the files change. It may be used from any goroutine.
type Identity struct{}

// Open reads the files, which must be good: the certificate is of one of the authorities,
// and has not ended.
func Open(files Files, now func() time.Time, log *slog.Logger) (*Identity, error) {
	return &Identity{}, nil
}

// Run looks at the files until ctx ends, and then returns nil.
func (i *Identity) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Name is whom the certificate stands for; it stays the same.
func (i *Identity) Name() Name { return Name{} }

// ServerConfig is TLS for listeners that serve nodes of these roles and nobody else.
func (i *Identity) ServerConfig(roles ...string) *tls.Config { return &tls.Config{} }

// ClientConfig is TLS towards one node.
func (i *Identity) ClientConfig(to Name) *tls.Config { return &tls.Config{} }
