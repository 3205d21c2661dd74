package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
)

const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// pebble is an ACME server in a process of its own.
type pebble struct {
	log        logged
	directory  string
	ca         string // PEM file with the roots of its API
	management string
	httpPort   int
	tlsPort    int
}

// startPebble runs one that looks names up in a name server of the test, which knows all
// names, as 127.0.0.1.
func startPebble(t *testing.T) *pebble {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "pebble")
	install := exec.Command("go", "install", pebbleModule)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("no ACME server to test with: install %s: %v\n%s", pebbleModule, err, out)
	}
	p := &pebble{httpPort: freePort(t), tlsPort: freePort(t)}
	api, management := freePort(t), freePort(t)
	own, err := New(Config{SelfSigned: true, Dir: dir, Log: p.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	p.ca = own.CAFile()
	leaf, err := own.own.fallback(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, config := filepath.Join(dir, "api.crt"), filepath.Join(dir, "api.key"), filepath.Join(dir, "config.json")
	text, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", api), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", management),
		"certificate": certFile, "privateKey": keyFile, "httpPort": p.httpPort, "tlsPort": p.tlsPort,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		certFile: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
		keyFile:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		config:   text,
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "-config", config, "-strict", "-dnsserver", startNames(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20")
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the ACME server wrote:\n%s", p.log.String())
		}
	})
	p.directory = fmt.Sprintf("https://127.0.0.1:%d/dir", api)
	p.management = fmt.Sprintf("https://127.0.0.1:%d", management)
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", management))
		if err == nil {
			c.Close()
			return p
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("the ACME server does not answer: %v", err)
		}
	}
}

// root is what it signs certificates under.
func (p *pebble) root(t *testing.T) *x509.CertPool {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Get(p.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("root of the ACME server: %q, %v", text, err)
	}
	return pool
}

// issued is how many certificates it has signed for clients.
func (p *pebble) issued() int { return strings.Count(p.log.String(), "Issued certificate serial") }

// startNames runs a name server, over TCP, and names its address.
func startNames(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			a.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
			}}
		}
		_ = w.WriteMsg(a)
	})}
	served := make(chan error, 1)
	go func() { served <- s.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-served
	})
	return ln.Addr().String()
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// acmeNode is a node that orders certificates, and runs until the test ends.
func acmeNode(t *testing.T, p *pebble, kv cluster.KV) *Manager {
	t.Helper()
	log := new(logged)
	cfg := Config{
		ACME:  &ACME{Email: "me@a.example", Directory: p.directory, CA: p.ca, Host: "127.0.0.1", HTTPPort: p.httpPort, TLSPort: p.tlsPort},
		Dir:   t.TempDir(),
		Hosts: func(host string) bool { return strings.HasSuffix(host, ".served.example") },
		Log:   log.logger(),
	}
	if kv != nil {
		cfg.Cluster, cfg.Secret = kv, clusterSecret
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = m.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-ran
		if t.Failed() {
			t.Logf("a node logged:\n%s", log)
		}
	})
	<-m.acme.ready
	return m
}

// serveTLS accepts at a port as a node's listener does.
func serveTLS(t *testing.T, m *Manager, port int) {
	t.Helper()
	ln, err := tls.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port), m.TLS())
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				_ = c.(*tls.Conn).HandshakeContext(ctx)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
}

// dialTLS does a handshake with a node.
func dialTLS(port int, host string, roots *x509.CertPool) (tls.ConnectionState, error) {
	dialer := &tls.Dialer{Config: &tls.Config{ServerName: host, RootCAs: roots}, NetDialer: &net.Dialer{Timeout: 20 * time.Second}}
	c, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState(), nil
}

// TestCertificatesAreOrdered orders from a real ACME server: by tls-alpn-01, by http-01,
// once for two nodes that share their storage, and not for hosts that are not served.
func TestCertificatesAreOrdered(t *testing.T) {
	p := startPebble(t)
	kv, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kv.Close() })
	one, two := acmeNode(t, p, kv), acmeNode(t, p, kv)
	// The challenge may reach a node that did not order: here all of tls-alpn-01 reaches
	// the second.
	one.acme.issuer.DisableHTTPChallenge, two.acme.issuer.DisableHTTPChallenge = true, true
	other := freePort(t)
	serveTLS(t, one, other)
	serveTLS(t, two, p.tlsPort)
	roots := p.root(t)

	if _, err := dialTLS(other, "not.elsewhere.example", roots); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a host that is not served: %v", err)
	}
	var alert tls.AlertError
	if _, err := dialTLS(other, "", nil); err == nil || errors.As(err, &alert) && !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("no host: %v", err)
	}
	if n := p.issued(); n != 0 {
		t.Fatalf("%d certificates were issued for nobody", n)
	}
	first, err := dialTLS(other, "a.served.example", roots)
	if err != nil {
		t.Fatal(err)
	}
	second, err := dialTLS(p.tlsPort, "a.served.example", roots)
	if err != nil || !second.PeerCertificates[0].Equal(first.PeerCertificates[0]) {
		t.Errorf("the other node has not the same certificate, %v", err)
	}
	if n := p.issued(); n != 1 {
		t.Errorf("%d certificates were issued for one host", n)
	}

	// Both want it at the same time, by handshakes at both.
	var all sync.WaitGroup
	got := make([]tls.ConnectionState, 8)
	for i := range got {
		all.Go(func() {
			var err error
			if got[i], err = dialTLS([]int{other, p.tlsPort}[i%2], "b.served.example", roots); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := p.issued(); n != 2 {
		t.Errorf("%d certificates were issued for two hosts", n)
	}
	if one.acme.ends().IsZero() {
		t.Error("the end of certificates is not known")
	}
}

func TestHTTPChallengesAreAnswered(t *testing.T) {
	p := startPebble(t)
	m := acmeNode(t, p, nil)
	m.acme.issuer.DisableTLSALPNChallenge = true
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.httpPort))
	if err != nil {
		t.Fatal(err)
	}
	var answered atomic.Int64
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		body, ok := m.Challenge(r.Context(), host, r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		answered.Add(1)
		_, _ = io.WriteString(w, body)
	})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	port := freePort(t)
	serveTLS(t, m, port)
	if _, err := dialTLS(port, "c.served.example", p.root(t)); err != nil {
		t.Error(err)
	}
	_ = s.Close()
	<-served
	if answered.Load() == 0 {
		t.Error("no challenge was answered")
	}
	for host, path := range map[string]string{
		"c.served.example": ChallengePath + "guess", "other.example": ChallengePath + "guess", "d.served.example": "/",
	} {
		if body, ok := m.Challenge(t.Context(), host, path); ok {
			t.Errorf("%s%s is answered with %q", host, path, body)
		}
	}
	// What was ordered outlives the node.
	if left, err := filepath.Glob(filepath.Join(m.cfg.Dir, "acme", "certificates", "*", "c.served.example", "*.key")); err != nil || len(left) != 1 {
		t.Errorf("kept on disk: %v, %v", left, err)
	}
}

func TestAHostThatFailsIsNotTriedAgainAtOnce(t *testing.T) {
	now := &clock{now: time.Now()}
	m, err := New(Config{
		ACME: &ACME{Directory: fmt.Sprintf("https://127.0.0.1:%d/dir", freePort(t))}, Dir: t.TempDir(), Now: now.Now,
		Hosts: func(string) bool { return true }, Log: new(logged).logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := m.acme
	o.done = t.Context()
	tried := errors.New("no")
	for i, wait := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		f := &flight{done: make(chan struct{}), err: tried}
		o.settle("a.example", f)
		now.add(wait - time.Second)
		if _, err := o.flight("a.example"); !errors.Is(err, tried) {
			t.Errorf("after failure %d it is tried again too early: %v", i, err)
		}
		now.add(time.Second)
		if r := o.mu.refused["a.example"]; now.Now().Before(r.until) {
			t.Errorf("after failure %d it is not tried again: %s", i, r.wait)
		}
	}
}

// Whoever may name any host below a wildcard cannot order without end.
func TestNewCertificatesAreOrderedSoOftenAndNoOftener(t *testing.T) {
	now := &clock{now: time.Now()}
	m, err := New(Config{
		ACME: &ACME{Directory: fmt.Sprintf("https://127.0.0.1:%d/dir", freePort(t))}, Dir: t.TempDir(), Now: now.Now,
		Hosts: func(string) bool { return true }, Log: new(logged).logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var ran sync.WaitGroup
	ran.Go(func() { _ = m.Run(ctx) })
	<-m.acme.ready
	over, cancel := context.WithCancel(ctx)
	cancel() // what is ordered comes to nothing
	for i := range orderBurst + 10 {
		err := m.acme.order(over, fmt.Sprintf("h%d.example", i))
		if err == nil || errors.Is(err, errTooOften) != (i >= orderBurst) {
			t.Errorf("order %d: %v", i, err)
		}
	}
	now.add(orderEvery)
	if err := m.acme.order(over, "later.example"); err == nil || errors.Is(err, errTooOften) {
		t.Errorf("later: %v", err)
	}
	stop()
	ran.Wait()
}
