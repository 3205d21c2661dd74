package jetstream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"freshet/internal/bus/jetstream"
)

// selfSigned writes a certificate for name, good for a server and a client and its own
// authority, and returns the paths of certificate and key.
func selfSigned(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der},
		key:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS reaches a server that wants TLS with a client certificate.
func TestTLS(t *testing.T) {
	cert, key := selfSigned(t, "bus.test")
	clientCert, clientKey := selfSigned(t, "client.test")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	text, err := os.ReadFile(clientCert)
	if err != nil {
		t.Fatal(err)
	}
	clients.AppendCertsFromPEM(text)
	server, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Username: user, Password: password, TLSTimeout: 10,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	defer server.WaitForShutdown()
	defer server.Shutdown()
	if !server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	for _, test := range []struct {
		name string
		tls  jetstream.TLS
		want bool
	}{
		{"authority and certificate", jetstream.TLS{CA: cert, Cert: clientCert, Key: clientKey, ServerName: "bus.test"}, true},
		{"another name", jetstream.TLS{CA: cert, Cert: clientCert, Key: clientKey, ServerName: "other.test"}, false},
		{"another authority", jetstream.TLS{CA: clientCert, Cert: clientCert, Key: clientKey, ServerName: "bus.test"}, false},
		{"no certificate", jetstream.TLS{CA: cert, ServerName: "bus.test"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := jetstream.Connect(t.Context(), jetstream.Config{
				Address: "nats://" + server.Addr().String(), User: user, Password: password, TLS: test.tls,
			}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if err := b.Connected(); (err == nil) != test.want {
				t.Fatalf("connected: %v, want %t", err, test.want)
			}
			if !test.want {
				return
			}
			if _, err := b.Create(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		})
	}
}
