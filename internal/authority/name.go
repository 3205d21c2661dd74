package authority

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"freshet/internal/document"
)

// Scheme is that of the URI by which a certificate names a node:
//
//	freshet:edge/edge-1
const Scheme = "freshet"

// Roles are what a node can be called.
var Roles = []string{"edge", "mid", "origin", "router", "distributor"}

// ErrNoName: a certificate does not name a node of a cluster.
var ErrNoName = errors.New("the certificate names no node")

// Name is whom a certificate stands for. The zero Name is nobody.
type Name struct{ Role, Node string }

// String is role/node, "" for nobody.
func (n Name) String() string {
	if n == (Name{}) {
		return ""
	}
	return n.Role + "/" + n.Node
}

// URI is the name as certificates have it.
func (n Name) URI() string { return Scheme + ":" + n.String() }

// ParseURI reads a name as certificates have it, in that one form: a role of ours, and
// lower-case letters, digits and dashes.
func ParseURI(uri string) (Name, error) {
	text, ours := strings.CutPrefix(uri, Scheme+":")
	role, node, found := strings.Cut(text, "/")
	if !ours || !found || !slices.Contains(Roles, role) || document.CheckName(node) != nil {
		return Name{}, fmt.Errorf("%w: %q is not %s:ROLE/NAME", ErrNoName, uri, Scheme)
	}
	return Name{role, node}, nil
}

// NameOf is whom a certificate stands for: it has one URI of ours, and no second.
func NameOf(cert *x509.Certificate) (Name, error) {
	var name Name
	for _, uri := range cert.URIs {
		if uri.Scheme != Scheme {
			continue
		}
		if name != (Name{}) {
			return Name{}, fmt.Errorf("%w: it has several", ErrNoName)
		}
		var err error
		if name, err = ParseURI(uri.String()); err != nil {
			return Name{}, err
		}
	}
	if name == (Name{}) {
		return Name{}, fmt.Errorf("%w: it has no URI %s:ROLE/NAME", ErrNoName, Scheme)
	}
	return name, nil
}

// PeerOf is the node at the other end of a connection whose certificate was verified.
func PeerOf(state *tls.ConnectionState) (Name, bool) {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return Name{}, false
	}
	name, err := NameOf(state.PeerCertificates[0])
	return name, err == nil
}
