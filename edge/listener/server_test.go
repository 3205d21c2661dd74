package listener

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/edge/listener/listenertest"
	"freshet/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate makes one for the loopback addresses, and what trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"a.example"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1", "acme-tls/1"},
	}, pool
}

// tested is a server that runs.
type tested struct {
	*Server
	t             *testing.T
	plain, secure string
	trust         *x509.CertPool
	stop          func() error // once: ends Run and returns what it says
}

// echo answers with what it was asked.
func echo(req *exchange.Request, to exchange.Responder) {
	body := fmt.Sprintf("%s %s://%s%s %s from %s", req.Method, req.Scheme, req.Host, req.Target, req.Proto, req.Remote.Addr())
	if req.Body != nil {
		n, err := io.Copy(io.Discard, req.Body)
		body += fmt.Sprintf(" body %d, %v", n, err)
	}
	_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte(body), Length: int64(len(body))})
}

// startServer runs a server on loopback, with whatever change makes of its settings.
func startServer(t *testing.T, h handler, change func(*Config)) *tested {
	t.Helper()
	s := &tested{t: t}
	cfg := Config{Handler: h, Drain: 5 * time.Second}
	cfg.TLS, s.trust = certificate(t)
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	cfg.Plain, cfg.Secure = []net.Listener{listen()}, []net.Listener{listen()}
	s.plain, s.secure = cfg.Plain[0].Addr().String(), cfg.Secure[0].Addr().String()
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	s.stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// dial connects, and closes the connection when the test ends.
func (s *tested) dial(addr string) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func (s *tested) dialTLS(conn net.Conn, c *tls.Config) *tls.Conn {
	s.t.Helper()
	c.RootCAs, c.ServerName = s.trust, "127.0.0.1"
	encrypted := tls.Client(conn, c)
	if err := encrypted.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return encrypted
}

// talk writes a request and reads all that comes back.
func talk(t *testing.T, conn net.Conn, request string) string {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	return string(answer)
}

// cut is how often a limit has cut something.
func (s *tested) cutBy(r limits.Reason) float64 { return testutil.ToFloat64(s.metrics.cut[r]) }

// eventually waits until a count is what it should be.
func eventually(t *testing.T, what string, want float64, get func() float64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); get() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v, want %v", what, get(), want)
		}
	}
}

const (
	get  = "GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
	post = "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
)

func TestEveryProtocolReachesTheHandler(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s := startServer(t, echo, func(c *Config) { c.Metrics = reg })
	for name, tc := range map[string]struct {
		conn    func() net.Conn
		request string
		want    string
	}{
		"plain":     {func() net.Conn { return s.dial(s.plain) }, get, "GET http://a.example/x HTTP/1.1 from 127.0.0.1"},
		"body":      {func() net.Conn { return s.dial(s.plain) }, post, "POST http://a.example/x HTTP/1.1 from 127.0.0.1 body 5, <nil>"},
		"TLS 1.2":   {func() net.Conn { return s.dialTLS(s.dial(s.secure), &tls.Config{MaxVersion: tls.VersionTLS12}) }, get, "GET https://a.example/x HTTP/1.1 from 127.0.0.1"},
		"TLS 1.3":   {func() net.Conn { return s.dialTLS(s.dial(s.secure), &tls.Config{NextProtos: []string{"http/1.1"}}) }, get, "GET https://a.example/x HTTP/1.1 from 127.0.0.1"},
		"TLS, body": {func() net.Conn { return s.dialTLS(s.dial(s.secure), &tls.Config{}) }, post, "POST https://a.example/x HTTP/1.1 from 127.0.0.1 body 5, <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			if answer := talk(t, tc.conn(), tc.request); !strings.HasSuffix(answer, "\r\n\r\n"+tc.want) {
				t.Errorf("got %q, want %q", answer, tc.want)
			}
		})
	}
	for name, tc := range map[string]struct {
		client *http.Transport
		url    string
		want   string
	}{
		"HTTP/2":                     {&http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.trust}}, "https://" + s.secure, "GET https://127.0.0.1/ HTTP/2.0 from 127.0.0.1"},
		"HTTP/2, by prior knowledge": {unencrypted2(), "http://" + s.plain, "GET http://127.0.0.1/ HTTP/2.0 from 127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			defer tc.client.CloseIdleConnections()
			res, err := (&http.Client{Transport: tc.client}).Get(tc.url + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != tc.want {
				t.Errorf("%q, %v, want %q", body, err, tc.want)
			}
		})
	}
	for p, want := range map[protocol]float64{protocol1: 3, protocolFull: 2, protocol2: 2} {
		if got := float64(s.metrics.requests[p].sum()); got != want {
			t.Errorf("%v requests of %s, want %v", got, protocolNames[p], want)
		}
	}
	if n, err := testutil.GatherAndCount(reg, "freshet_edge_protocol_requests_total"); n != 5 || err != nil {
		t.Errorf("%d counts of requests, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); len(problems) > 0 || err != nil {
		t.Errorf("%v, %v", problems, err)
	}
	if got := testutil.ToFloat64(s.metrics.handshakes.WithLabelValues("1.3", "full")); got != 3 {
		t.Errorf("%v handshakes of TLS 1.3, want 3", got)
	}
}

func unencrypted2() *http.Transport {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

func TestConnectionsOverIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	s := startServer(t, echo, func(c *Config) { c.Plain = append(c.Plain, ln) })
	if answer := talk(t, s.dial(ln.Addr().String()), get); !strings.HasSuffix(answer, " from ::1") {
		t.Errorf("got %q", answer)
	}
}

func TestTheFirstWordsOfAConnectionAreForItsKind(t *testing.T) {
	s := startServer(t, echo, nil)
	if answer := talk(t, s.dial(s.secure), get); !strings.Contains(answer, "400 Bad Request") || !strings.Contains(answer, "HTTPS") {
		t.Errorf("plain HTTP to the port of HTTPS: %q", answer)
	}
	if answer := talk(t, s.dial(s.plain), "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n"+get); !strings.HasPrefix(answer, "HTTP/1.1 400") {
		t.Errorf("a head of the PROXY protocol from somebody who may not send one: %q", answer)
	}
	conn := s.dialTLS(s.dial(s.secure), &tls.Config{NextProtos: []string{"acme-tls/1"}})
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection of acme-tls/1 goes on after its handshake")
	}
	failed := tls.Client(s.dial(s.secure), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"spdy/1"}})
	if err := failed.Handshake(); err == nil {
		t.Error("an unknown protocol was agreed on")
	}
	eventually(t, "handshakes failed", 2, func() float64 {
		return testutil.ToFloat64(s.metrics.handshakes.WithLabelValues("none", "failed"))
	})
}

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func TestLoadBalancersSayWhoseConnectionItIs(t *testing.T) {
	s := startServer(t, echo, func(c *Config) { c.ProxyFrom = loopback() })
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	encrypted := v2 + "\x21\x11\x00\x14\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb" + "\x20\x00\x05\x01\x00\x00\x00\x00"
	for name, tc := range map[string]struct{ head, want string }{
		"v1":            {"PROXY TCP4 192.0.2.1 192.0.2.2 12345 80\r\n", "http://a.example/x HTTP/1.1 from 192.0.2.1"},
		"v1, IPv6":      {"PROXY TCP6 2001:db8::1 2001:db8::2 12345 80\r\n", "http://a.example/x HTTP/1.1 from 2001:db8::1"},
		"unknown":       {"PROXY UNKNOWN\r\n", "http://a.example/x HTTP/1.1 from 127.0.0.1"},
		"local":         {v2 + "\x20\x00\x00\x00", "http://a.example/x HTTP/1.1 from 127.0.0.1"},
		"v2, encrypted": {encrypted, "https://a.example/x HTTP/1.1 from 192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			if answer := talk(t, s.dial(s.plain), tc.head+get); !strings.HasSuffix(answer, "GET "+tc.want) {
				t.Errorf("got %q, want %q", answer, tc.want)
			}
			if answer := talk(t, s.dial(s.plain), tc.head+post); !strings.HasSuffix(answer, "POST "+tc.want+" body 5, <nil>") {
				t.Errorf("got %q, want %q", answer, tc.want)
			}
		})
	}
	conn := s.dial(s.secure)
	if _, err := io.WriteString(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 12345 443\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer := talk(t, s.dialTLS(conn, &tls.Config{}), get); !strings.HasSuffix(answer, "GET https://a.example/x HTTP/1.1 from 192.0.2.1") {
		t.Errorf("got %q", answer)
	}
}

func TestALoadBalancerMustSayWhoseConnectionItIs(t *testing.T) {
	s := startServer(t, echo, func(c *Config) {
		c.ProxyFrom, c.Limits.HandshakeTimeout = loopback(), 100*time.Millisecond
	})
	for name, start := range map[string]string{"none": get, "bad": "PROXY TCP4 x y 1 2\r\n" + get, "late": "PROXY TCP4 192."} {
		conn := s.dial(s.plain)
		if _, err := io.WriteString(conn, start); err != nil {
			t.Fatal(err)
		}
		if answer, _ := io.ReadAll(conn); len(answer) > 0 {
			t.Errorf("%s: answered with %q", name, answer)
		}
	}
	eventually(t, "connections refused", 3, func() float64 { return s.cutBy(limits.ProxyHead) })
	s.dial(s.plain).Close() // a load balancer that looks whether somebody listens
	eventually(t, "connections open", 0, func() float64 { return float64(s.conns.Open()) })
	if got := s.cutBy(limits.ProxyHead); got != 3 {
		t.Errorf("%v refused, want 3", got)
	}
}

func TestAnAddressHasSoManyConnections(t *testing.T) {
	s := startServer(t, echo, func(c *Config) { c.ProxyFrom, c.Limits.ConnsPerAddr = loopback(), 2 })
	open := func(addr string) net.Conn {
		conn := s.dial(s.plain)
		if _, err := io.WriteString(conn, "PROXY TCP4 "+addr+" 192.0.2.2 12345 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answered := func(conn net.Conn) bool {
		n, _ := conn.Read(make([]byte, 1))
		return n == 1
	}
	first := open("192.0.2.1")
	if !answered(first) || !answered(open("192.0.2.1")) || answered(open("192.0.2.1")) || !answered(open("192.0.2.9")) {
		t.Error("not the first two of an address, and of another one, are served")
	}
	if got := s.cutBy(limits.ConnsPerAddr); got != 1 {
		t.Errorf("%v refused, want 1", got)
	}
	first.Close()
	eventually(t, "connections open", 2, func() float64 { return float64(s.conns.Open()) })
	if !answered(open("192.0.2.1")) {
		t.Error("its place is not free again")
	}
}

func TestThereAreSoManyConnections(t *testing.T) {
	s := startServer(t, echo, func(c *Config) { c.Limits.Conns = 2 })
	first, second := s.dial(s.plain), s.dial(s.plain)
	eventually(t, "connections open", 2, func() float64 { return float64(s.conns.Open()) })
	if answer := talk(t, s.dial(s.plain), ""); !strings.HasPrefix(answer, "HTTP/1.1 503 ") {
		t.Errorf("the third is told %q", answer)
	}
	if _, err := s.dial(s.secure).Read(make([]byte, 1)); err == nil {
		t.Error("one too many is served over TLS")
	}
	if got := s.cutBy(limits.ConnsTotal); got != 2 {
		t.Errorf("%v refused, want 2", got)
	}
	first.Close()
	eventually(t, "connections open", 1, func() float64 { return float64(s.conns.Open()) })
	if answer := talk(t, s.dial(s.plain), get); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		t.Errorf("a free place gives %q", answer)
	}
	second.Close()
}

// TestSlowClientsAreCut proves that every wait for a client is bounded and counted.
func TestSlowClientsAreCut(t *testing.T) {
	const short = 100 * time.Millisecond
	s := startServer(t, echo, func(c *Config) {
		c.Limits.HeadTimeout, c.Limits.HandshakeTimeout, c.Limits.BodyTimeout = short, short, short
	})
	body := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel"
	for name, tc := range map[string]struct {
		addr, start string
		reason      limits.Reason
	}{
		"handshake":                 {s.secure, "\x16\x03\x01", limits.HandshakeTimeout},
		"no handshake":              {s.secure, "", limits.HandshakeTimeout},
		"head":                      {s.plain, "GET / HTTP/1.1\r\nHo", limits.HeadTimeout},
		"no head":                   {s.plain, "", limits.HeadTimeout},
		"head of the full lane":     {s.plain, "POST / HTTP/1.1\r\nHo", limits.HeadTimeout},
		"head after one, full lane": {s.plain, strings.Replace(post, "close", "keep-alive", 1) + "POST / HT", limits.HeadTimeout},
		"preface of HTTP/2":         {s.plain, preface[:20], limits.HeadTimeout},
		"body":                      {s.plain, body, limits.BodyTimeout},
		"chunked body":              {s.plain, strings.Replace(body, "Content-Length: 10\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n", 1), limits.BodyTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.cutBy(tc.reason)
			conn := s.dial(tc.addr)
			if _, err := io.WriteString(conn, tc.start); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(conn); err != nil && errors.Is(err, context.DeadlineExceeded) {
				t.Error("the connection is still open")
			}
			eventually(t, tc.reason.String(), before+1, func() float64 { return s.cutBy(tc.reason) })
		})
	}
	eventually(t, "connections open", 0, func() float64 { return float64(s.conns.Open()) })
}

func TestLargeRequestsAreRefused(t *testing.T) {
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		status := 200
		if req.Body != nil {
			if _, err := io.Copy(io.Discard, req.Body); errors.Is(err, exchange.ErrBodyTooLarge) {
				status = 413
			}
		}
		_ = to.Respond(&exchange.Answer{Status: status})
	}, func(c *Config) {
		c.Limits.BodyBytes, c.Limits.HeaderFields, c.Limits.HeaderBytes = 1000, 20, 4096
	})
	long, fields := strings.Repeat("x", 9000), strings.Repeat("X-Y: z\r\n", 21)
	for name, tc := range map[string]struct {
		request, status string
		reason          limits.Reason
	}{
		"body at the limit": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n" + long[:1000], "200", limits.None},
		"body":              {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + long[:1001], "413", limits.BodyBytes},
		"chunked body":      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + long[:1001] + "\r\n0\r\n\r\n", "413", limits.BodyBytes},
		"fields":            {"GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n", "431", limits.HeaderFields},
		"fields, full lane": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + fields + "Connection: close\r\n\r\n", "431", limits.HeaderFields},
		"head":              {"GET / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n", "431", limits.None},
		"head, full lane":   {"POST / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n", "431", limits.None},
	} {
		t.Run(name, func(t *testing.T) {
			var before float64
			if tc.reason != limits.None {
				before = s.cutBy(tc.reason)
			}
			if answer := talk(t, s.dial(s.plain), tc.request); !strings.HasPrefix(answer, "HTTP/1.1 "+tc.status) {
				t.Errorf("got %.80q, want %s", answer, tc.status)
			}
			if tc.reason != limits.None && s.cutBy(tc.reason) != before+1 {
				t.Errorf("%s is not counted", tc.reason)
			}
		})
	}
}

// TestAClientThatTakesNothingIsCut proves it of the full lane.
func TestAClientThatTakesNothingIsCut(t *testing.T) {
	responded := make(chan error, 1)
	s := startServer(t, func(_ *exchange.Request, to exchange.Responder) {
		responded <- to.Respond(&exchange.Answer{Status: 200, Stream: endless{}, Length: 1 << 40})
	}, func(c *Config) { c.Limits.WriteTimeout = 100 * time.Millisecond })
	conn := s.dial(s.plain)
	if _, err := io.WriteString(conn, post); err != nil {
		t.Fatal(err)
	}
	if err := <-responded; err == nil {
		t.Error("Respond says that all is well")
	}
	if got := s.cutBy(limits.WriteTimeout); got != 1 {
		t.Errorf("%v cut, want 1", got)
	}
}

// TestASlowClientGetsAllOfIt proves that a long transfer lives as long as its client
// takes something now and then: several times what a wait may take.
func TestASlowClientGetsAllOfIt(t *testing.T) {
	const wait, size = 500 * time.Millisecond, 24 << 20
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		var body io.Reader = io.LimitReader(endless{}, size)
		if req.Target == "/file" {
			file, err := os.Open(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Close()
			body = &listenertest.OnDisk{File: file, N: size}
		}
		if err := to.Respond(&exchange.Answer{Status: 200, Stream: body, Length: size}); err != nil {
			t.Errorf("%s %s: %v", req.Method, req.Target, err)
		}
	}, func(c *Config) { c.Limits.WriteTimeout = wait })
	for _, request := range []string{get, post, strings.Replace(post, "/x", "/file", 1)} {
		for _, addr := range []string{s.plain, s.secure} {
			t.Run(strings.Fields(request)[0]+strings.Fields(request)[1]+" "+addr, func(t *testing.T) {
				t.Parallel()
				conn := s.dial(addr)
				if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
					t.Fatal(err)
				}
				if addr == s.secure {
					conn = s.dialTLS(conn, &tls.Config{})
				}
				if _, err := io.WriteString(conn, request); err != nil {
					t.Fatal(err)
				}
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				var sum int64
				for tick := time.NewTicker(wait / 5); ; {
					n, err := io.CopyN(io.Discard, res.Body, size/20)
					sum += n
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					<-tick.C
				}
				if sum != size {
					t.Errorf("%d bytes of %d", sum, size)
				}
			})
		}
	}
}

func TestAnOldConnectionEnds(t *testing.T) {
	s := startServer(t, echo, func(c *Config) { c.Limits.ConnTimeout = time.Millisecond })
	for _, request := range []string{get, post} {
		conn := s.dial(s.plain)
		in, deadline := bufio.NewReader(conn), time.Now().Add(10*time.Second)
		for last := false; !last; {
			if _, err := io.WriteString(conn, strings.Replace(request, "Connection: close\r\n", "", 1)); err != nil {
				break
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				break // it ended while it was idle
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			if last = res.Close; time.Now().After(deadline) {
				t.Fatal("no answer is the last")
			}
		}
	}
	if s.cutBy(limits.ConnTimeout) == 0 {
		t.Error("no connection was too old")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestADrainFinishesWhatIsUnderWay(t *testing.T) {
	for name, request := range map[string]string{"fast lane": strings.Replace(get, "Connection: close\r\n", "", 1), "full lane": strings.Replace(post, "Connection: close\r\n", "", 1)} {
		t.Run(name, func(t *testing.T) {
			asked, release := make(chan struct{}, 1), make(chan struct{})
			s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
				asked <- struct{}{}
				<-release
				echo(req, to)
			}, nil)
			conn := s.dial(s.plain)
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			<-asked
			ended := make(chan error, 1)
			go func() { ended <- s.stop() }()
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				refused, err := net.Dial("tcp", s.plain)
				if err != nil {
					break
				}
				refused.Close()
				if time.Now().After(deadline) {
					t.Fatal("it still accepts")
				}
			}
			close(release)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || !strings.Contains(string(body), "http://a.example/x") || !res.Close {
				t.Errorf("%q, %v, the last one: %v", body, err, res.Close)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestADrainAnswersWhatIsOnItsWay proves that a connection that is idle when the drain
// begins has time for a request that was sent before the client could know.
func TestADrainAnswersWhatIsOnItsWay(t *testing.T) {
	for name, request := range map[string]string{"fast lane": strings.Replace(get, "Connection: close\r\n", "", 1), "full lane": strings.Replace(post, "Connection: close\r\n", "", 1)} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, echo, nil)
			conn := s.dial(s.plain)
			in := bufio.NewReader(conn)
			ask := func() *http.Response {
				t.Helper()
				if _, err := io.WriteString(conn, request); err != nil {
					t.Fatal(err)
				}
				res, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Fatal(err)
				}
				return res
			}
			ask()
			ended := make(chan error, 1)
			go func() { ended <- s.stop() }()
			eventually(t, "draining", 1, func() float64 {
				if s.draining() {
					return 1
				}
				return 0
			})
			for deadline := time.Now().Add(10 * time.Second); !ask().Close; {
				if time.Now().After(deadline) {
					t.Fatal("no answer is the last")
				}
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADrainHasAnEnd(t *testing.T) {
	for name, request := range map[string]string{"fast lane": get, "full lane": post, "full lane, body on its way": post[:len(post)-2]} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 1)
			s := startServer(t, nil, func(c *Config) {
				c.Drain = 50 * time.Millisecond
				c.Handler = patient{asked}
			})
			conn := s.dial(s.plain)
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			<-asked
			if err := s.stop(); !errors.Is(err, run.ErrDrainTimeout) {
				t.Errorf("error %v, want ErrDrainTimeout", err)
			}
			if _, err := io.ReadAll(conn); errors.Is(err, context.DeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
}

// patient waits until its client goes away.
type patient struct{ asked chan struct{} }

func (p patient) Serve(ctx context.Context, _ *exchange.Request, to exchange.Responder) {
	p.asked <- struct{}{}
	<-ctx.Done()
	_ = to.Respond(&exchange.Answer{Status: 503})
}

func TestWhatAConnectionBringsDoesNotEndTheOthers(t *testing.T) {
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		if req.Target == "/panic" {
			panic("as a handler may")
		}
		echo(req, to)
	}, nil)
	for _, request := range []string{get, post} {
		if answer, _ := io.ReadAll(func() net.Conn {
			conn := s.dial(s.plain)
			_, _ = io.WriteString(conn, strings.Replace(request, "/x", "/panic", 1))
			return conn
		}()); strings.Contains(string(answer), "200") {
			t.Errorf("a handler that panicked answers %q", answer)
		}
		if answer := talk(t, s.dial(s.plain), request); !strings.HasPrefix(answer, "HTTP/1.1 200") {
			t.Errorf("afterwards %q", answer)
		}
	}
}
