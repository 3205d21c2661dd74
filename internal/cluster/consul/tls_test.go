package consul_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/internal/cluster/consul"
)

// pemFiles writes a certificate for name, signed by itself, and its key.
func pemFiles(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}

// agentOverTLS answers for one key to those with the client certificate and the
// token, as an agent with ACLs behind TLS does.
func agentOverTLS(t *testing.T, cert, key, clientCA string) *httptest.Server {
	t.Helper()
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(clientCA)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Consul-Token") != "token" {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		w.Header().Set("X-Consul-Index", "1")
		w.Header().Set("X-Consul-LastContact", "0")
		_, _ = io.WriteString(w, `[{"Key":"freshet/kv/k","Value":"dmFsdWU=","ModifyIndex":7}]`)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestTLSAndToken(t *testing.T) {
	serverCert, serverKey := pemFiles(t, "consul.test")
	clientCert, clientKey := pemFiles(t, "client.test")
	otherCert, otherKey := pemFiles(t, "other.test")
	address := agentOverTLS(t, serverCert, serverKey, clientCert).Listener.Addr().String()
	good := consul.TLS{CA: serverCert, Cert: clientCert, Key: clientKey, ServerName: "consul.test"}
	tests := []struct {
		name  string
		spoil func(*consul.Config)
		want  string
	}{
		{"all is right", func(*consul.Config) {}, ""},
		{"wrong token", func(c *consul.Config) { c.Token = "other" }, "Permission denied"},
		{"unknown authority", func(c *consul.Config) { c.TLS.CA = otherCert }, "certificate"},
		{"wrong name", func(c *consul.Config) { c.TLS.ServerName = "other.test" }, "not other.test"},
		{"unknown client", func(c *consul.Config) { c.TLS.Cert, c.TLS.Key = otherCert, otherKey }, "certificate"},
		{"no client certificate", func(c *consul.Config) { c.TLS.Cert, c.TLS.Key = "", "" }, "certificate"},
		{"no TLS", func(c *consul.Config) { c.TLS = consul.TLS{} }, "HTTPS"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := consul.Config{Address: address, Prefix: "freshet", Token: "token", TLS: good}
			test.spoil(&cfg)
			pair, err := open(t, cfg).Get(within(t), "k")
			switch {
			case test.want == "" && (err != nil || string(pair.Value) != "value" || pair.Version != 7):
				t.Errorf("%+v, %v", pair, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	cert, key := pemFiles(t, "a.test")
	tests := []struct {
		name string
		cfg  consul.Config
		want string
	}{
		{"no address", consul.Config{Prefix: "freshet"}, "address"},
		{"no prefix", consul.Config{Address: "127.0.0.1:8500"}, "prefix"},
		{"slash in the prefix", consul.Config{Address: "127.0.0.1:8500", Prefix: "a/b"}, `"a/b"`},
		{"certificate without key", consul.Config{Address: "a:1", Prefix: "f", TLS: consul.TLS{Cert: cert}}, "key"},
		{"key without certificate", consul.Config{Address: "a:1", Prefix: "f", TLS: consul.TLS{CA: cert, Key: key}}, "cert"},
		{"no such authority", consul.Config{Address: "a:1", Prefix: "f", TLS: consul.TLS{CA: "/nonexistent"}}, "/nonexistent"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := consul.New(test.cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}
