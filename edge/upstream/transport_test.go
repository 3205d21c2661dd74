package upstream

import (
	"bufio"
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

// TestBothWaysAtOnce proves, for each protocol, that an answer is read while the request's
// body is still being sent, and that trailers come through; to a server of gRPC with the
// field that it insists on.
func TestBothWaysAtOnce(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.Header().Set("Trailer", "Grpc-Status, X-Te")
		w.WriteHeader(200)
		_ = rc.Flush()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			_, _ = io.WriteString(w, "echo "+line)
			_ = rc.Flush()
		}
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("X-Te", fmt.Sprintf("%q by %s", r.Header.Get("Te"), r.Proto))
	}
	secure, ca := https(t, echo, nil)
	clear := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetHTTP1(true)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	t.Cleanup(clear.Close)
	grpc := fields("Content-Type", "application/grpc")
	for _, tt := range []struct {
		what   string
		parent Parent
		header *header.Block
		te     string
	}{
		{"HTTP/1.1", outside(clear.URL, TLS{}), new(header.Block), `"" by HTTP/1.1`},
		{"HTTP/2 by prior knowledge", outside("h2c"+strings.TrimPrefix(clear.URL, "http"), TLS{}), new(header.Block), `"" by HTTP/2.0`},
		{"HTTP/2 over TLS", outside(secure.URL, TLS{CA: ca}), new(header.Block), `"" by HTTP/2.0`},
		{"gRPC over TLS", outside(secure.URL, TLS{CA: ca}), grpc, `"trailers" by HTTP/2.0`},
		{"gRPC to a node", Parent{Name: "m", Kind: Mid, URL: clear.URL}, grpc, `"trailers" by HTTP/2.0`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			c := testClient(t)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			from, to := io.Pipe()
			req := Request{Method: "POST", Host: "a.example", Target: "/", Header: tt.header, Body: from, Length: -1}
			reply, err := c.Do(ctx, tt.parent, req)
			if err != nil {
				t.Fatal(err)
			}
			defer reply.Body.Close()
			in := bufio.NewReader(reply.Body)
			for i := range 3 {
				if _, err := fmt.Fprintf(to, "%d\n", i); err != nil {
					t.Fatal(err)
				}
				if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("echo %d\n", i) {
					t.Fatalf("%q, %v", line, err)
				}
			}
			to.Close()
			if _, err := in.ReadByte(); err != io.EOF {
				t.Fatal(err)
			}
			trailer := reply.Trailer()
			if trailer == nil || trailer.Get("Grpc-Status") != "0" || trailer.Get("X-Te") != tt.te {
				t.Errorf("trailer %v, want Te %q", trailer, tt.te)
			}
		})
	}
}

// TestSwitched proves that a connection is given up to another protocol, over TLS too; that
// each direction ends by itself; and that the end of the request's context ends both.
func TestSwitched(t *testing.T) {
	var seen sync.WaitGroup
	give := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" || r.Header.Get("Connection") != "Upgrade" || r.ProtoMajor != 1 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		seen.Add(1)
		defer seen.Done()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-A: b\r\n\r\nhello ")
		all, err := io.ReadAll(in)
		if err == nil {
			_, _ = conn.Write(append(all, " and goodbye"...))
		}
	}
	secure, ca := https(t, give, nil)
	clear := httptest.NewServer(http.HandlerFunc(give))
	t.Cleanup(clear.Close)
	for name, parent := range map[string]Parent{"plain": outside(clear.URL, TLS{}), "TLS": outside(secure.URL, TLS{CA: ca})} {
		t.Run(name, func(t *testing.T) {
			c := testClient(t)
			req := get("/")
			req.Upgrade = "echo"
			reply, err := c.Do(t.Context(), parent, req)
			if err != nil {
				t.Fatal(err)
			}
			if reply.Status != 101 || reply.Conn == nil || reply.Header.Get("Upgrade") != "echo" || reply.Header.Get("X-A") != "b" || reply.Header.Has("Connection") {
				t.Fatalf("status %d, header %v", reply.Status, reply.Header)
			}
			if _, err := io.WriteString(reply.Conn, "world"); err != nil {
				t.Fatal(err)
			}
			if err := reply.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if all, err := io.ReadAll(reply.Conn); err != nil || string(all) != "hello world and goodbye" {
				t.Errorf("%q, %v", all, err)
			}
			for range 2 {
				if err := reply.Body.Close(); err != nil {
					t.Error(err)
				}
			}

			ctx, cancel := context.WithCancel(t.Context())
			reply, err = c.Do(ctx, parent, req)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.ReadAll(reply.Conn) // an error, or the end by which the server answers that of the client
			}()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Error("the connection outlives the request")
			}
			reply.Body.Close()
			<-ended
			seen.Wait()

			if reply, err = c.Do(t.Context(), parent, get("/")); err != nil || reply.Status != 400 || reply.Conn != nil {
				t.Errorf("without an offer: %v", err)
			} else {
				reply.Body.Close()
			}
		})
	}
	unasked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			conn.Close()
		}
	}))
	defer unasked.Close()
	if _, err := text(t, testClient(t), outside(unasked.URL, TLS{}), get("/")); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("101 that nobody asked for: %v", err)
	}
}

// TestADeadConnectionIsNoticed proves that a connection of HTTP/2 on which nothing comes any
// more is given up after some seconds, for what is under way and for what comes after it.
func TestADeadConnectionIsNoticed(t *testing.T) {
	begun := make(chan struct{}, 1)
	end := make(chan struct{})
	defer close(end)
	s, ca := https(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			_ = http.NewResponseController(w).Flush()
			begun <- struct{}{}
			<-end
		}
	}, nil)
	hole := newBlackHole(t, s.Listener.Addr().String())
	c := testClient(t)
	parent := outside("https://"+hole.addr, TLS{CA: ca})
	reply, err := c.Do(t.Context(), parent, get("/wait"))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	<-begun
	hole.swallow()
	start := time.Now()
	failed := make(chan error, 2)
	go func() {
		_, err := reply.Body.Read(make([]byte, 1))
		failed <- err
	}()
	go func() {
		_, err := text(t, c, parent, get("/"))
		failed <- err
	}()
	for range 2 {
		select {
		case err := <-failed:
			if err == nil || errors.Is(err, ErrBadAnswer) {
				t.Errorf("%v, want that the connection is lost", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the dead connection is still waited for")
		}
	}
	t.Logf("noticed after %s", time.Since(start).Round(time.Millisecond))
	if _, err := text(t, c, parent, get("/")); err != nil {
		t.Errorf("the next request does not get a new connection: %v", err)
	}
}

// blackHole is a proxy whose connections can fall silent without an end.
type blackHole struct {
	addr  string
	mu    sync.Mutex
	dead  map[net.Conn]*atomic.Bool
	conns []net.Conn
}

func newBlackHole(t *testing.T, to string) *blackHole {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &blackHole{addr: ln.Addr().String(), dead: make(map[net.Conn]*atomic.Bool)}
	var running sync.WaitGroup
	copyTo := func(dst, src net.Conn, dead *atomic.Bool) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if n > 0 && !dead.Load() {
				_, _ = dst.Write(buf[:n])
			}
			if err != nil {
				if !dead.Load() {
					dst.Close()
				}
				return
			}
		}
	}
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			dead := new(atomic.Bool)
			b.mu.Lock()
			b.dead[client] = dead
			b.conns = append(b.conns, client, server)
			b.mu.Unlock()
			running.Go(func() { copyTo(server, client, dead) })
			running.Go(func() { copyTo(client, server, dead) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		running.Wait()
	})
	return b
}

// swallow has all connections that are open fall silent.
func (b *blackHole) swallow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, dead := range b.dead {
		dead.Store(true)
	}
}
