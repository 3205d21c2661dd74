package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed conf
var configs embed.FS

// place is where one server runs: what its configuration is made from.
type place struct {
	Dir     string // its own
	Plain   string // address of HTTP/1.1
	Secure  string // address of TLS, and of HTTP/3
	Admin   string
	Origin  string // address
	Files   string // directory with the bodies
	CertDir string
	Cert    string
	Key     string
	KTLS    bool // whether the kernel can encrypt
	Logs    bool // whether freshet writes its access log
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func (p place) PlainPort() string  { return port(p.Plain) }
func (p place) SecurePort() string { return port(p.Secure) }
func (p place) OriginPort() string { return port(p.Origin) }
func (p place) AccessLog() string  { return filepath.Join(p.Dir, "access.log") }
func (p place) OriginHost() string {
	host, _, _ := net.SplitHostPort(p.Origin)
	return host
}

// write makes a file of a server's directory from a template of conf.
func (p place) write(name, from string) (string, error) {
	path := filepath.Join(p.Dir, name)
	return path, writeConfig(path, from, p)
}

// writeText writes one that needs no template.
func (p place) writeText(name, text string) error {
	return os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o644)
}

func writeConfig(path, from string, data any) error {
	t, err := template.New(from).Option("missingkey=error").ParseFS(configs, "conf/"+from)
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := t.Execute(&text, data); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// writeCertificate writes a certificate for localhost that nobody trusts, as files
// cert.pem and key.pem: ECDSA on P-256, as most sites have.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	about := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(30 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// kernelTLS reports whether the kernel can encrypt TLS records. The module is loaded
// when it is asked for, where there is one.
func kernelTLS() bool {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_ulp")
	if err != nil {
		return false
	}
	for _, name := range strings.Fields(string(text)) {
		if name == "tls" {
			return true
		}
	}
	return false
}
