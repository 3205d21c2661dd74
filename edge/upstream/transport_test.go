package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	nodeca "freshet/internal/authority"
	"freshet/internal/header"
	"freshet/internal/ring"
)

// testClient is a client that a test closes.
func testClient(t *testing.T) *Client {
	t.Helper()
	c := NewClient(time.Now, ring.NewLoads(time.Now))
	t.Cleanup(c.Close)
	return c
}

func fields(pairs ...string) *header.Block {
	h := new(header.Block)
	for i := 0; i < len(pairs); i += 2 {
		_ = h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func get(target string) Request {
	return Request{Method: "GET", Host: "a.example", Target: target, Header: new(header.Block)}
}

// text asks a parent and reads the answer.
func text(t *testing.T, c *Client, p Parent, req Request) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	reply, err := c.Do(ctx, p, req)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	return string(body), err
}

// say answers with what the server sees of a request.
func say(w http.ResponseWriter, r *http.Request) {
	name, client := "", "nobody"
	if r.TLS != nil {
		name = r.TLS.ServerName
		if len(r.TLS.PeerCertificates) > 0 {
			client = r.TLS.PeerCertificates[0].Subject.CommonName
		}
	}
	fmt.Fprintf(w, "%s %s for %q by %s", r.Proto, r.Host, name, client)
}

// https starts a server with TLS whose CA is not the system's; its PEM is returned.
func https(t *testing.T, h http.HandlerFunc, change func(*httptest.Server)) (*httptest.Server, string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.EnableHTTP2 = true
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func outside(url string, with TLS) Parent {
	return Parent{Name: strings.TrimPrefix(url, "https://"), URL: url, Kind: Outside, Server: &Server{TLS: with}}
}

// TestOutsideOverTLS proves that an origin outside is asked by the best protocol that it
// speaks, under the name, the authorities and the client certificate that its site says;
// and that what is wrong with TLS can be told from the error.
func TestOutsideOverTLS(t *testing.T) {
	two, ca := https(t, say, nil)
	one, _ := https(t, say, func(s *httptest.Server) { s.EnableHTTP2 = false })
	dir := t.TempDir()
	if _, err := nodeca.Create(dir, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	cert, key, pool := pairOf(t, dir, "edge", "edge-1")
	demanding, _ := https(t, say, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	})
	old, _ := https(t, say, func(s *httptest.Server) { s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11} })
	c := testClient(t)
	for _, tt := range []struct {
		what, url string
		tls       TLS
		want      string
	}{
		{"HTTP/2", two.URL, TLS{CA: ca}, `HTTP/2.0 a.example for "" by nobody`},
		{"HTTP/1.1", one.URL, TLS{CA: ca}, `HTTP/1.1 a.example for "" by nobody`},
		{"another name", two.URL, TLS{CA: ca, ServerName: "example.com"}, `HTTP/2.0 a.example for "example.com" by nobody`},
		{"client certificate", demanding.URL, TLS{CA: ca, Cert: cert, Key: key}, `HTTP/2.0 a.example for "" by edge/edge-1`},
	} {
		if got, err := text(t, c, outside(tt.url, tt.tls), get("/")); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.what, got, err, tt.want)
		}
	}
	var alert tls.AlertError
	for _, tt := range []struct {
		what, url string
		tls       TLS
		is        func(error) bool
	}{
		{"unknown authority", two.URL, TLS{}, func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }},
		{"wrong name", two.URL, TLS{CA: ca, ServerName: "b.example"}, func(err error) bool { return errors.As(err, new(x509.HostnameError)) }},
		{"no client certificate", demanding.URL, TLS{CA: ca}, func(err error) bool {
			// With TLS 1.3 the alert comes when the handshake has ended here. If it is there before
			// the first request, net/http says of its connection nothing but that it has ended.
			return errors.As(err, new(*net.OpError)) || isLost(err)
		}},
		{"TLS 1.1", old.URL, TLS{CA: ca}, func(err error) bool {
			return errors.As(err, &alert) || strings.Contains(err.Error(), "protocol version")
		}},
		{"authorities that are none", two.URL, TLS{CA: "x"}, func(err error) bool { return strings.Contains(err.Error(), "no certificate") }},
		{"nobody there", "https://127.0.0.1:1", TLS{}, func(err error) bool { var op *net.OpError; return errors.As(err, &op) && op.Op == "dial" }},
	} {
		if _, err := text(t, c, outside(tt.url, tt.tls), get("/")); err == nil || !errors.Is(err, ErrUnreachable) || !tt.is(err) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// pairOf is a node's certificate and key in PEM, with the CA.
func pairOf(t *testing.T, ca, role, node string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	files, _, err := nodeca.Issue(ca, t.TempDir(), nodeca.Order{Name: nodeca.Name{Role: role, Node: node}, Life: time.Hour}, false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(readFile(t, files.CA))
	return string(readFile(t, files.Cert)), string(readFile(t, files.Key)), pool
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestWays proves that requests of one way share connections, that those of another have
// their own, and that ways which are not used any more are forgotten.
func TestWays(t *testing.T) {
	var opened atomic.Int32
	count := func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
	}
	s, ca := https(t, say, count)
	now := time.Now()
	c := NewClient(func() time.Time { return now }, ring.NewLoads(time.Now))
	defer c.Close()
	ask := func(p Parent) {
		t.Helper()
		if _, err := text(t, c, p, get("/")); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		ask(outside(s.URL, TLS{CA: ca}))
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("five requests take %d connections", n)
	}
	ask(outside(s.URL, TLS{CA: ca, ServerName: "example.com"}))
	if n := opened.Load(); n != 2 {
		t.Errorf("another name takes %d connections, want 2 in all", n)
	}
	if n := len(c.transports.mu.open); n != 2 {
		t.Errorf("%d ways are known, want 2", n)
	}
	now = now.Add(transportIdle + time.Minute)
	ask(outside(s.URL, TLS{CA: ca}))
	if n := len(c.transports.mu.open); n != 1 {
		t.Errorf("%d ways are known after a while, want 1", n)
	}
	for i := range maxTransports + 10 {
		w := way{protocol: plain, connect: time.Duration(i + 1)}
		if _, err := c.transports.get(w); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.transports.mu.open); n != maxTransports {
		t.Errorf("%d ways are known at most, want %d", n, maxTransports)
	}
}

// TestWayTo proves which protocol takes a request where.
func TestWayTo(t *testing.T) {
	grpc, plainFields := fields("Content-Type", "application/grpc+proto"), new(header.Block)
	server := &Server{}
	for name, tt := range map[string]struct {
		parent Parent
		req    Request
		want   protocol
		url    string
	}{
		"plain":                   {Parent{URL: "http://o:1", Server: server, Kind: Outside}, Request{Header: plainFields}, plain, "http://o:1"},
		"HTTP/2 by knowledge":     {Parent{URL: "h2c://o:1", Server: server, Kind: Outside}, Request{Header: plainFields}, plain2, "http://o:1"},
		"an upgrade there":        {Parent{URL: "h2c://o:1", Server: server, Kind: Outside}, Request{Header: plainFields, Upgrade: "x"}, plain, "http://o:1"},
		"over TLS":                {Parent{URL: "https://o:1", Server: server, Kind: Outside}, Request{Header: plainFields}, overTLS, "https://o:1"},
		"an upgrade over TLS":     {Parent{URL: "https://o:1", Server: server, Kind: Outside}, Request{Header: plainFields, Upgrade: "x"}, only1, "https://o:1"},
		"gRPC over TLS":           {Parent{URL: "https://o:1", Server: server, Kind: Outside}, Request{Header: grpc}, gRPC, "https://o:1"},
		"gRPC to a plain origin":  {Parent{URL: "http://o:1", Server: server, Kind: Outside}, Request{Header: grpc}, plain, "http://o:1"},
		"gRPC to a plain mid":     {Parent{URL: "http://m:1", Name: "m", Kind: Mid}, Request{Header: grpc}, plain2, "http://m:1"},
		"gRPC to a mid, with TLS": {Parent{URL: "https://m:1", Name: "m", Kind: Mid}, Request{Header: grpc}, overTLS, "https://m:1"},
		"a mid":                   {Parent{URL: "https://m:1", Name: "m", Kind: Mid}, Request{Header: plainFields}, overTLS, "https://m:1"},
	} {
		w, url := wayTo(tt.parent, &tt.req)
		if w.protocol != tt.want || url != tt.url {
			t.Errorf("%s: protocol %d to %s, want %d to %s", name, w.protocol, url, tt.want, tt.url)
		}
		if ours := w.role != ""; ours != (tt.parent.Server == nil && strings.HasPrefix(tt.parent.URL, "https:")) {
			t.Errorf("%s: expects %s/%s", name, w.role, w.node)
		}
	}
}

// testIdentity is a node's, by the CA in dir.
func testIdentity(t *testing.T, dir, role, node string) *nodeca.Identity {
	t.Helper()
	files, _, err := nodeca.Issue(dir, t.TempDir(), nodeca.Order{Name: nodeca.Name{Role: role, Node: node}, Life: time.Hour}, false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id, err := nodeca.Open(files, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestTiersKnowEachOther proves that nodes reach each other by their certificates, and that what is
// behind an address which is not the node that is meant gets no request.
func TestTiersKnowEachOther(t *testing.T) {
	dir := t.TempDir()
	if _, err := nodeca.Create(dir, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	identity := func(role, node string) *nodeca.Identity { return testIdentity(t, dir, role, node) }
	var asked atomic.Int32
	serve := func(id *nodeca.Identity) string {
		s, _ := https(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1); say(w, r) }, func(s *httptest.Server) {
			s.TLS = id.ServerConfig("edge", "mid")
		})
		return s.URL
	}
	edge := identity("edge", "edge-1")
	c := testClient(t)
	mid := Parent{Name: "mid-1", Kind: Mid, URL: serve(identity("mid", "mid-1"))}
	if _, err := text(t, c, mid, get("/")); !errors.As(err, new(*tls.CertificateVerificationError)) {
		t.Errorf("without an identity: %v", err)
	}
	c = testClient(t)
	c.Secure(func(role, name string) *tls.Config {
		if name == "" {
			return edge.ClientConfigRole(role)
		}
		return edge.ClientConfig(nodeca.Name{Role: role, Node: name})
	})
	if _, err := text(t, c, Parent{Name: strings.TrimPrefix(mid.URL, "https://"), Kind: Mid, URL: mid.URL}, get("/")); err != nil {
		t.Errorf("by URL alone: %v", err)
	}
	if got, err := text(t, c, mid, get("/")); err != nil || !strings.HasPrefix(got, "HTTP/2.0") || !strings.HasSuffix(got, "by edge/edge-1") {
		t.Errorf("%q, %v", got, err)
	}
	asked.Store(0)
	for name, url := range map[string]string{
		"an edge with the mid's name": serve(identity("edge", "mid-1")), "another mid": serve(identity("mid", "mid-2")),
	} {
		if _, err := text(t, c, Parent{Name: "mid-1", Kind: Mid, URL: url}, get("/")); !errors.Is(err, nodeca.ErrPeer) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked.Load() != 0 {
		t.Error("the wrong node got a request")
	}
}

// TestABurstTakesFewConnections proves that many requests at once to a node that is not
// connected yet, more than its connections take together, are all answered, over few.
func TestABurstTakesFewConnections(t *testing.T) {
	dir := t.TempDir()
	if _, err := nodeca.Create(dir, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	var opened atomic.Int32
	const requests, streams = 600, 20
	s, _ := https(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Millisecond) // so that they come to lie beside each other
		say(w, r)
	}, func(s *httptest.Server) {
		s.TLS = testIdentity(t, dir, "mid", "mid-1").ServerConfig("edge")
		s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
	})
	edge := testIdentity(t, dir, "edge", "edge-1")
	c := testClient(t)
	c.Secure(func(role, name string) *tls.Config { return edge.ClientConfig(nodeca.Name{Role: role, Node: name}) })
	mid := Parent{Name: "mid-1", Kind: Mid, URL: s.URL}
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			if _, err := text(t, c, mid, get("/")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := opened.Load(); n > requests/streams+2*tierConns*dials {
		t.Errorf("%d requests take %d connections", requests, n)
	} else {
		t.Logf("%d connections", n)
	}
}

// TestConnectionsComeAgain proves that however often connections to a node end, cut off, idle,
// in order, or before they come about, later requests get new ones: the bound on those that
// are begun at once counts none that is gone.
func TestConnectionsComeAgain(t *testing.T) {
	dir := t.TempDir()
	if _, err := nodeca.Create(dir, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	mid, edge := testIdentity(t, dir, "mid", "mid-1"), testIdentity(t, dir, "edge", "edge-1")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	begin := func(ln net.Listener) *http.Server {
		s := &http.Server{Handler: http.HandlerFunc(say), TLSConfig: mid.ServerConfig("edge"), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		go func() { _ = s.ServeTLS(ln, "", "") }()
		return s
	}
	server := begin(ln)
	defer func() { server.Close() }()
	c := testClient(t)
	c.Secure(func(role, name string) *tls.Config { return edge.ClientConfig(nodeca.Name{Role: role, Node: name}) })
	parent := Parent{Name: "mid-1", Kind: Mid, URL: "https://" + addr}
	ask := func() error {
		_, err := text(t, c, parent, get("/"))
		return err
	}
	all := func() {
		t.Helper()
		var asking sync.WaitGroup
		for range 5 * fewRequests {
			asking.Go(func() {
				if err := ask(); err != nil {
					t.Error(err)
				}
			})
		}
		asking.Wait()
	}
	again := func() {
		t.Helper()
		var ln net.Listener
		for deadline := time.Now().Add(10 * time.Second); ; {
			if ln, err = net.Listen("tcp", addr); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		server = begin(ln)
	}
	for range 2 * dials {
		all()
		server.Close() // cuts them off
		for range 3 * dials {
			if err := ask(); !errors.Is(err, ErrUnreachable) {
				t.Fatalf("nobody listens: %v", err)
			}
		}
		again()
		all()
		if err := server.Shutdown(t.Context()); err != nil { // in order
			t.Fatal(err)
		}
		again()
		all()
		w, _ := wayTo(parent, &Request{Header: new(header.Block)})
		tr, err := c.transports.get(w)
		if err != nil {
			t.Fatal(err)
		}
		tr.idle()
		if t.Failed() {
			return
		}
	}
}
