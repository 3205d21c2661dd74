package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	caLife    = 10 * 365 * 24 * time.Hour
	leafLife  = 90 * 24 * time.Hour
	leafRenew = 30 * 24 * time.Hour // what a leaf has left when another is signed
	backdate  = time.Hour           // for clients whose clocks are slow
	maxLeaves = 1024                // in RAM
)

// own is the CA of this node, and what it has signed.
type own struct {
	now   func() time.Time
	file  string // the certificate of the CA, for clients
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
	key   *ecdsa.PrivateKey // of every leaf
	addrs []net.IP          // of the default leaf

	mu struct {
		sync.Mutex
		leaves map[string]*tls.Certificate // by host; a local address for the default
	}
}

// openOwn reads the CA in cfg.Dir, or makes it. Key and certificate stand in one file,
// which comes to be at once, whoever else is making one there.
func openOwn(cfg Config) (*own, error) {
	if cfg.Dir == "" {
		return nil, errors.New("self-signed certificates need a directory")
	}
	o := &own{now: cfg.Now, file: filepath.Join(cfg.Dir, "ca.crt")}
	o.mu.leaves = make(map[string]*tls.Certificate)
	for _, a := range append([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, cfg.Addrs...) {
		if a = a.Unmap().WithZone(""); a.IsValid() && !a.IsUnspecified() {
			o.addrs = append(o.addrs, a.AsSlice())
		}
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory of the own CA: %w", err)
	}
	secret := filepath.Join(cfg.Dir, "ca.key")
	text, err := os.ReadFile(secret)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createCA(secret, o.now()); err == nil {
			text, err = os.ReadFile(secret)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("own CA: %w", err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("own CA in %s: %w", secret, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("own CA in %s: it is not one that was made here", secret)
	}
	if left := pair.Leaf.NotAfter.Sub(o.now()); left < leafLife {
		return nil, fmt.Errorf("own CA in %s ends on %s: remove it to have another made", secret, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	o.ca, o.caKey = pair.Leaf, key
	if err := publishCA(o.file, o.ca); err != nil {
		return nil, fmt.Errorf("certificate of the own CA: %w", err)
	}
	if o.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("key for self-signed certificates: %w", err)
	}
	return o, nil
}

// createCA makes a CA. One that another process has made meanwhile stays.
func createCA(name string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Freshet local CA " + host},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	_ = pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}) // a Buffer takes all
	_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	temp, err := writeTemp(name, text.Bytes(), 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Link(temp, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// publishCA writes the certificate of the CA beside its key, unless it is there.
func publishCA(name string, ca *x509.Certificate) error {
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return nil
	}
	temp, err := writeTemp(name, text, 0o644)
	if err != nil {
		return err
	}
	return os.Rename(temp, name)
}

// writeTemp writes a file beside name and names it.
func writeTemp(name string, text []byte, mode fs.FileMode) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}

// leaf is the certificate of one host.
func (o *own) leaf(host string) (*tls.Certificate, error) {
	return o.get(host, func(c *x509.Certificate) {
		c.DNSNames = []string{host}
		if ip := net.ParseIP(host); ip != nil {
			c.DNSNames, c.IPAddresses = nil, []net.IP{ip}
		}
	})
}

// fallback is the certificate for clients that name no host that is served here:
// localhost, the listeners' addresses, and the one that this client has reached.
func (o *own) fallback(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	var local net.IP
	if hello.Conn != nil {
		if at, err := netip.ParseAddrPort(hello.Conn.LocalAddr().String()); err == nil && !at.Addr().IsUnspecified() {
			local = at.Addr().Unmap().WithZone("").AsSlice()
		}
	}
	return o.get("at "+local.String(), func(c *x509.Certificate) {
		c.DNSNames = []string{"localhost"}
		c.IPAddresses = o.addrs
		if local != nil {
			c.IPAddresses = append(o.addrs[:len(o.addrs):len(o.addrs)], local)
		}
	})
}

// get is what stands under a key, or else is signed as name says. Two may sign the same
// at once: that costs less than waiting for one another.
func (o *own) get(key string, name func(*x509.Certificate)) (*tls.Certificate, error) {
	now := o.now()
	o.mu.Lock()
	c := o.mu.leaves[key]
	o.mu.Unlock()
	if c != nil && c.Leaf.NotAfter.Sub(now) > leafRenew {
		return c, nil
	}
	c, err := o.sign(now, name)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.mu.leaves) >= maxLeaves {
		for victim := range o.mu.leaves { // any: they are cheap to sign again
			delete(o.mu.leaves, victim)
			break
		}
	}
	o.mu.leaves[key] = c
	return c, nil
}

func (o *own) sign(now time.Time, name func(*x509.Certificate)) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	name(template)
	der, err := x509.CreateCertificate(rand.Reader, template, o.ca, &o.key.PublicKey, o.caKey)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: o.key, Leaf: leaf}, nil
}

// newSerial is a random number of at most 20 octets (RFC 5280 §4.1.2.2).
func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
