package listener

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"freshet/edge/exchange"
)

// TestAListenerForTiersNamesItsPeers proves that a request is another node's by the
// certificate of its connection alone, on every lane, and that who has none gets no further
// than the handshake.
func TestAListenerForTiersNamesItsPeers(t *testing.T) {
	var tier string
	h := func(req *exchange.Request, to exchange.Responder) {
		text := fmt.Sprintf("peer %q by %s, scheme %s", req.Peer, req.Proto, req.Scheme)
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte(text), Length: int64(len(text))})
	}
	var client tls.Certificate
	s := startServer(t, h, func(c *Config) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tier, c.Tier = ln.Addr().String(), []net.Listener{ln}
		c.TierTLS = c.TLS.Clone()
		c.TierTLS.ClientAuth = tls.RequireAnyClientCert
		client = c.TLS.Certificates[0]
		c.PeerOf = func(state *tls.ConnectionState) string {
			return "edge/" + state.PeerCertificates[0].SerialNumber.String()
		}
	})
	leaf, err := x509.ParseCertificate(client.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	name := "edge/" + leaf.SerialNumber.String()
	ask := func(scheme, addr string, config *tls.Config, two bool, path string) (string, error) {
		tr := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
		defer tr.CloseIdleConnections()
		switch {
		case !two:
			tr.Protocols.SetHTTP1(true)
		case config == nil:
			tr.Protocols.SetUnencryptedHTTP2(true)
		default:
			tr.Protocols.SetHTTP2(true)
		}
		res, err := (&http.Client{Transport: tr}).Get(scheme + "://" + addr + path)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return string(text), err
	}
	trusted := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: s.trust, ServerName: "127.0.0.1", Certificates: certs}
	}
	for _, tt := range []struct {
		what, scheme, addr string
		config             *tls.Config
		two                bool
		want               string
	}{
		{"HTTP/1.1", "https", tier, trusted(client), false, fmt.Sprintf("peer %q by HTTP/1.1, scheme http", name)},
		{"HTTP/2", "https", tier, trusted(client), true, fmt.Sprintf("peer %q by HTTP/2.0, scheme http", name)},
		{"HTTPS with a certificate", "https", s.secure, trusted(client), true, `peer "" by HTTP/2.0, scheme https`},
		{"plain", "http", s.plain, nil, false, `peer "" by HTTP/1.1, scheme http`},
		{"HTTP/2 by prior knowledge", "http", s.plain, nil, true, `peer "" by HTTP/2.0, scheme http`},
	} {
		if got, err := ask(tt.scheme, tt.addr, tt.config, tt.two, "/"); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.what, got, err, tt.want)
		}
	}
	if got, err := ask("https", tier, trusted(), true, "/"); err == nil {
		t.Errorf("without a certificate: %q", got)
	}

	// The full lane: a request that the fast one does not read.
	conn := s.dialTLS(s.dial(tier), &tls.Config{Certificates: []tls.Certificate{client}})
	if _, err := io.WriteString(conn, "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if want := fmt.Sprintf("peer %q", name); err != nil || !strings.Contains(string(text), want) {
		t.Errorf("full lane: %q, %v, want %s", text, err, want)
	}
}
