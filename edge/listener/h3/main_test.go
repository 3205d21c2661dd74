package h3

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"go.uber.org/goleak"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/certs"
	"freshet/internal/header"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler is an exchange.Handler made of a function.
type handler func(ctx context.Context, req *exchange.Request, to exchange.Responder)

func (h handler) Serve(ctx context.Context, req *exchange.Request, to exchange.Responder) {
	h(ctx, req, to)
}

// ram is an exchange.Quick made of functions.
type ram struct {
	handler
	quick func(req *exchange.Request, to exchange.Responder) bool
}

func (r ram) ServeQuick(req *exchange.Request, to exchange.Responder) bool { return r.quick(req, to) }

// server is one that serves on loopback until the test ends.
type server struct {
	*Server
	t     testing.TB
	addr  string
	roots *x509.CertPool
	certs *certs.Manager
	done  chan error // what Serve returned

	mu  sync.Mutex
	cut []limits.Reason
}

// start runs s with certificates that its clients trust.
func start(t testing.TB, s *Server) *server {
	t.Helper()
	m, err := certs.New(certs.Config{SelfSigned: true, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, s, m)
}

func startWith(t testing.TB, s *Server, m *certs.Manager) *server {
	t.Helper()
	text, err := os.ReadFile(m.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	run := &server{Server: s, t: t, roots: x509.NewCertPool(), certs: m, done: make(chan error, 1)}
	run.roots.AppendCertsFromPEM(text)
	s.TLS = m.TLS()
	s.Limited = func(r limits.Reason) {
		run.mu.Lock()
		defer run.mu.Unlock()
		run.cut = append(run.cut, r)
	}
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	run.addr = pc.LocalAddr().String()
	go func() { run.done <- s.Serve(pc) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx)
		if err := <-run.done; err != nil && !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		pc.Close()
	})
	return run
}

// limitedBy reports whether a limit has cut something.
func (s *server) limitedBy(why limits.Reason) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.cut {
		if r == why {
			return true
		}
	}
	return false
}

// waitFor waits until the number of its connections is as it should be.
func (s *server) waitFor(what string, good func(n int) bool) {
	s.t.Helper()
	s.init()
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		s.Server.mu.Lock()
		var left []string
		for c := range s.Server.mu.conns {
			c.mu.Lock()
			left = append(left, fmt.Sprintf("%v: %d open, quiet %s, drained %v, last %v, ended %v, closed %v", c.remote, c.open.Load(), c.quiet(time.Now()), c.mu.drained, c.mu.last, c.mu.ended, context.Cause(c.q.Context())))
			c.mu.Unlock()
		}
		s.Server.mu.Unlock()
		if good(len(left)) {
			return
		}
		if time.Since(begun) > 20*time.Second {
			s.t.Fatalf("%s: there are %d connections: %s", what, len(left), strings.Join(left, "; "))
		}
	}
}

// tls is what its clients trust.
func (s *server) tls() *tls.Config {
	return &tls.Config{RootCAs: s.roots, ServerName: "a.example", NextProtos: []string{"h3"}}
}

// client is one of quic-go's.
func (s *server) client() *http.Client {
	tr := &http3.Transport{TLSClientConfig: s.tls()}
	tr.Dial = func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddrEarly(ctx, s.addr, c, q)
	}
	s.t.Cleanup(func() { _ = tr.Close() })
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// do sends a request and reads the whole answer.
func do(c *http.Client, method, url string, body io.Reader, fields ...string) (*http.Response, string, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, "", err
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res, string(text), err
}

// raw is a client that sends what the test says.
type raw struct {
	t testing.TB
	*quic.Conn
}

// dial connects one. It has opened its control stream.
func (s *server) dial() raw {
	s.t.Helper()
	q, err := quic.DialAddr(s.t.Context(), s.addr, s.tls(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = q.CloseWithError(0, "") })
	c := raw{s.t, q}
	c.uni([]byte{streamControl, frameSettings, 0})
	return c
}

// uni opens a stream that goes one way with some bytes.
func (c raw) uni(b []byte) *quic.SendStream {
	c.t.Helper()
	q, err := c.OpenUniStream()
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := q.Write(b); err != nil {
		c.t.Fatal(err)
	}
	return q
}

// request opens a stream with some bytes, and ends it there if end says so.
func (c raw) request(b []byte, end bool) *quic.Stream {
	c.t.Helper()
	q, err := c.OpenStreamSync(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := q.Write(b); err != nil {
		c.t.Fatal(err)
	}
	if end {
		_ = q.Close()
	}
	_ = q.SetReadDeadline(time.Now().Add(10 * time.Second))
	return q
}

// closedBy is the code with which the server closes the connection.
func (c raw) closedBy() uint64 {
	c.t.Helper()
	select {
	case <-c.Context().Done():
	case <-time.After(10 * time.Second):
		c.t.Error("the connection stays open")
		return 0
	}
	if e, ok := errors.AsType[*quic.ApplicationError](context.Cause(c.Context())); ok && e.Remote {
		return uint64(e.ErrorCode)
	}
	c.t.Errorf("the connection was closed by %v", context.Cause(c.Context()))
	return 0
}

// frame is one frame.
func frame(kind uint64, payload []byte) []byte {
	return append(appendHead(nil, kind, uint64(len(payload))), payload...)
}

// headers is a HEADERS frame with fields, each "name: value" (":path: /").
func headers(fields ...string) []byte {
	b := appendPrefix(nil)
	for _, f := range fields {
		at := strings.Index(f[1:], ":") + 1
		name, value := f[:at], strings.TrimPrefix(f[at+1:], " ")
		// In full: what appendField would lower-case or leave out has to reach the server.
		b = append(appendInt(b, 0x20, 3, uint64(len(name))), name...)
		b = append(appendInt(b, 0, 7, uint64(len(value))), value...)
	}
	return frame(frameHeaders, b)
}

// get is a GET of a path.
func get(path string, more ...string) []byte {
	return headers(append([]string{":method: GET", ":scheme: https", ":authority: a.example", ":path: " + path}, more...)...)
}

// answer reads an answer: the status of its head, and its content.
func answer(q io.Reader) (status, content string, err error) {
	all, err := io.ReadAll(q)
	for len(all) > 0 {
		kind, length, n := parseHead(all)
		if n == 0 || uint64(len(all)-n) < length {
			return status, content, errors.Join(err, io.ErrUnexpectedEOF)
		}
		payload := all[n : n+int(length)]
		all = all[n+int(length):]
		switch kind {
		case frameHeaders:
			var a arena
			s := section{rest: payload, arena: &a}
			if err := s.prefix(); err != nil {
				return status, content, err
			}
			for {
				name, value, ok, err := s.next()
				if err != nil || !ok {
					break
				}
				if name == ":status" {
					status += value
				}
			}
		case frameData:
			content += string(payload)
		}
	}
	return status, content, err
}

// varints are numbers as QUIC writes them.
func varints(n ...uint64) (b []byte) {
	for _, v := range n {
		b = quicvarint.Append(b, v)
	}
	return b
}

// block is a header block of lines.
func block(lines ...string) *header.Block {
	h := new(header.Block)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if err := h.Add(name, value); err != nil {
			panic(err)
		}
	}
	return h
}

// hello answers everything.
var hello = handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
	_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: 5})
})

// large is content of many packets.
var large = bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
