package node

import (
	"fmt"
	"net/netip"

	"freshet/internal/document"
)

// HTTPS is how an edge or a mid is reached over TLS and QUIC.
type HTTPS struct {
	Listen       []string      `yaml:"listen,omitempty" doc:"Addresses (host:port) for HTTP/2 and HTTP/1.1 over TLS, and HTTP/3 on the same ports over UDP. An empty host means every address of the machine."`
	HTTP3        *bool         `yaml:"http3,omitempty" doc:"Whether HTTP/3 is spoken, and clients are told so (Alt-Svc); yes where nothing is said."`
	Certificates []Certificate `yaml:"certificates,omitempty" doc:"Certificates in files, which are read again when they change. The first is shown to clients that name no host, or one that no certificate has."`
	ACME         *ACME         `yaml:"acme,omitempty" doc:"Order certificates for the hosts of the sites when a client first names them."`
	SelfSigned   bool          `yaml:"self_signed,omitempty" doc:"Sign certificates by a CA of this node's own, whose certificate is written to dir for clients to trust: for tests and private networks."`
	MinVersion   string        `yaml:"min_version,omitempty" default:"1.2" enum:"1.2,1.3" doc:"The oldest TLS version that is spoken."`
	PublicPort   int           `yaml:"public_port,omitempty" min:"1" max:"65535" doc:"The port that clients reach listen under, for redirects to HTTPS and Alt-Svc; that of the first address where nothing is said."`
	Dir          string        `yaml:"dir,omitempty" doc:"Directory for the CA of self_signed, and for what ACME keeps where there is no cluster; certs within data where nothing is said."`
}

// Certificate is a certificate with its key.
type Certificate struct {
	Cert string `yaml:"cert,omitempty" required:"true" doc:"PEM file with the certificate and its chain."`
	Key  string `yaml:"key,omitempty" required:"true" doc:"PEM file with the key."`
}

// ACME is where certificates are ordered (RFC 8555).
type ACME struct {
	Email     string `yaml:"email,omitempty" doc:"Mail address for the account, to which the authority sends warnings."`
	Directory string `yaml:"directory,omitempty" doc:"URL of the authority's directory; Let's Encrypt where nothing is said."`
	CA        string `yaml:"ca,omitempty" doc:"PEM file with the authorities that vouch for the directory's own certificate; the system's where nothing is said."`
	Agree     bool   `yaml:"agree,omitempty" doc:"That you agree to the authority's terms of service; without it nothing is ordered."`
}

// Limits are what an edge or a mid allows its clients. What is cut is counted in
// freshet_edge_limited_total.
type Limits struct {
	HeaderBytes      document.Size     `yaml:"header_bytes,omitempty" default:"32KiB" min:"1KiB" max:"65535" doc:"Size of a request's head."`
	HeaderFields     int               `yaml:"header_fields,omitempty" default:"256" min:"16" max:"1024" doc:"Fields of a request's head."`
	BodyBytes        document.Size     `yaml:"body_bytes,omitempty" doc:"Size of a request's body; 0: no limit."`
	HeadTimeout      document.Duration `yaml:"head_timeout,omitempty" default:"10s" min:"100ms" max:"1h" doc:"From the first byte of a request's head to its last, and until the first one comes."`
	IdleTimeout      document.Duration `yaml:"idle_timeout,omitempty" default:"75s" min:"100ms" max:"1d" doc:"How long a connection may be idle between requests."`
	BodyTimeout      document.Duration `yaml:"body_timeout,omitempty" default:"30s" min:"100ms" max:"1h" doc:"Between two pieces of a request's body. The whole may take as long as it likes."`
	QuietTimeout     document.Duration `yaml:"quiet_timeout,omitempty" default:"1h" min:"100ms" max:"1d" doc:"How long a connection that has been upgraded (WebSocket) may be silent, a request of gRPC, and one whose answer has begun."`
	WriteTimeout     document.Duration `yaml:"write_timeout,omitempty" default:"30s" min:"100ms" max:"1h" doc:"Between two pieces of an answer that the client takes. The whole may take as long as it likes."`
	HandshakeTimeout document.Duration `yaml:"handshake_timeout,omitempty" default:"10s" min:"100ms" max:"1h" doc:"For a TLS handshake, and for the head of the PROXY protocol."`
	ConnTimeout      document.Duration `yaml:"connection_timeout,omitempty" min:"0s" doc:"How old a connection may become before its next answer is its last; 0: as old as it likes."`
	Conns            int               `yaml:"connections,omitempty" min:"0" doc:"Connections open at once; 0: three quarters of the file descriptors that the process may have."`
	ConnsPerAddr     *int              `yaml:"connections_per_address,omitempty" min:"0" doc:"Connections open at once from one IPv4 address or one /64 of IPv6; 0: no limit. Where nothing is said 1024 on an edge, and no limit on a mid, whose clients are edges."`
	Trusted          []string          `yaml:"trusted,omitempty" doc:"Addresses or prefixes (10.0.0.0/8) to which connections_per_address does not apply, beside the machine's own and those of proxy_protocol: load balancers, and networks behind one address."`
	Streams          int               `yaml:"streams,omitempty" default:"128" min:"1" max:"65536" doc:"Requests at once on one connection of HTTP/2 or HTTP/3."`
	Resets           int               `yaml:"resets,omitempty" default:"200" min:"1" doc:"Requests on one connection of HTTP/2 or HTTP/3 that the client has given up in ten seconds; with as many it is closed."`
	Controls         int               `yaml:"controls,omitempty" default:"1000" min:"10" doc:"Frames on one connection in ten seconds that bring no request on (PING, SETTINGS, PRIORITY, empty DATA, …); with as many it is closed."`
}

// Prefixes reads addresses and prefixes. The error says which is neither.
func Prefixes(list []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, len(list))
	for i, text := range list {
		p, err := parsePrefix(text)
		if err != nil {
			return nil, err
		}
		prefixes[i] = p
	}
	return prefixes, nil
}

// PurgeFrom is from where a node without a cluster takes purges.
func (f *File) PurgeFrom() ([]netip.Prefix, error) {
	list := f.Cache.Purge
	if list == nil {
		list = Addresses{"127.0.0.0/8", "::1"}
	}
	prefixes, err := Prefixes(list)
	if err != nil {
		return nil, fmt.Errorf("cache.purge_from: %w", err)
	}
	return prefixes, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no address or prefix: write 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length: write %s", text, p.Masked())
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is IPv4 written as IPv6: write the IPv4 prefix", text)
	}
	return p, nil
}
