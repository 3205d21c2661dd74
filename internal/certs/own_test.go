package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestHostsThatAreServedGetCertificatesOfTheOwnCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	cfg := Config{
		SelfSigned: true, Dir: dir, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.IPv4Unspecified()},
		Hosts: func(host string) bool { return host == "a.example" }, Log: new(logged).logger(),
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(m.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	if _, err := shake(t, m.TLS(), &tls.Config{ServerName: "a.example", RootCAs: roots}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "localhost", "b.example"} {
		state, err := shake(t, m.TLS(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		leaf := state.PeerCertificates[0]
		for _, host := range []string{"localhost", "127.0.0.1", "::1", "192.0.2.7"} {
			if err := leaf.VerifyHostname(host); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
		if slices.ContainsFunc(leaf.IPAddresses, net.IP.IsUnspecified) || leaf.VerifyHostname("b.example") == nil {
			t.Errorf("the default certificate is for %v %v", leaf.DNSNames, leaf.IPAddresses)
		}
	}
	stat, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("the CA's key has mode %v, %v", stat.Mode(), err)
	}
	again, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, again.TLS(), &tls.Config{ServerName: "a.example", RootCAs: roots}); err != nil {
		t.Errorf("after a restart the CA is another: %v", err)
	}
}

func TestNodesThatBeginTogetherMakeOneCA(t *testing.T) {
	dir := t.TempDir()
	made := make([]*Manager, 8)
	var all sync.WaitGroup
	for i := range made {
		all.Go(func() {
			m, err := New(Config{SelfSigned: true, Dir: dir, Log: new(logged).logger()})
			if err != nil {
				t.Error(err)
				return
			}
			made[i] = m
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, m := range made {
		if !m.own.ca.Equal(made[0].own.ca) {
			t.Error("there are two CAs")
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("files are left over: %v, %v", left, err)
	}
}

func TestSignedCertificatesAreBoundedAndRenewed(t *testing.T) {
	now := time.Now()
	m, err := New(Config{SelfSigned: true, Dir: t.TempDir(), Log: new(logged).logger(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxLeaves + 100 {
		if _, err := m.own.leaf(fmt.Sprintf("h%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.own.mu.leaves); n > maxLeaves {
		t.Errorf("%d certificates are kept", n)
	}
	first, _ := m.own.leaf("a.example")
	if same, _ := m.own.leaf("a.example"); same != first {
		t.Error("a certificate is signed each time")
	}
	now = now.Add(leafLife - leafRenew)
	if next, _ := m.own.leaf("a.example"); next == first {
		t.Error("a certificate that ends soon is still shown")
	}
}

// FuzzServerName: whatever a client names, the answer is a certificate.
func FuzzServerName(f *testing.F) {
	m, err := New(Config{SelfSigned: true, Dir: f.TempDir(), Log: new(logged).logger()})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "a.example", "A_b-1.example", "*.example", "ü.example", "a..b", ".", "-", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		c, err := m.certificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || c == nil || len(c.Leaf.DNSNames) != 1 {
			t.Fatalf("%q: %v, %v", name, c, err)
		}
	})
}
