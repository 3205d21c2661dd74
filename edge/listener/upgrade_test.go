package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// switching answers 101 to what is offered and echoes from then on; everything else it
// answers like echo, with the offer.
type switching struct {
	asked chan string // the offers, where there is room
	ended chan error  // of tunnels
}

func newSwitching() *switching {
	return &switching{asked: make(chan string, 10), ended: make(chan error, 10)}
}

func (h *switching) Serve(_ context.Context, req *exchange.Request, to exchange.Responder) {
	h.asked <- req.Upgrade
	up, ok := to.(exchange.Upgrader)
	if !ok || req.Upgrade == "" || strings.Contains(req.Target, "refuse") {
		echo(req, to)
		return
	}
	fields := new(header.Block)
	_ = fields.Add("Upgrade", req.Upgrade)
	t, err := up.Upgrade(&exchange.Answer{Status: 101, Header: fields, Length: -1})
	if err != nil {
		h.ended <- err
		return
	}
	_, err = io.Copy(t, t)
	if err == nil {
		err = t.CloseWrite()
	}
	h.ended <- err
	t.Close()
}

const offer = "GET /%s HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo/1\r\n\r\n"

func offering(target string) string { return strings.Replace(offer, "%s", target, 1) }

// readHead reads an answer's head, of which nothing behind is taken.
func readHead(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			t.Fatalf("%q, %v", head.String(), err)
		}
		if line == "\r\n" {
			return head.String()
		}
	}
}

// TestAConnectionGoesOverToAnotherProtocol proves that what follows an accepted offer is
// carried as it is, also what came with the offer and what looks like a request, and that
// each side may end before the other.
func TestAConnectionGoesOverToAnotherProtocol(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		h := newSwitching()
		s := startServer(t, nil, func(c *Config) { c.Handler = h })
		conn, half := net.Conn(nil), (interface{ CloseWrite() error })(nil)
		if encrypted {
			c := s.dialTLS(s.dial(s.secure), &tls.Config{NextProtos: []string{"http/1.1"}})
			conn, half = c, c
		} else {
			conn = s.dial(s.plain)
			half = conn.(*net.TCPConn)
		}
		const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
		if _, err := io.WriteString(conn, offering("")+smuggled); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		if head := readHead(t, r); !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "Connection: Upgrade\r\n") || !strings.Contains(head, "Upgrade: echo/1\r\n") {
			t.Errorf("%q", head)
		}
		if got := testutil.ToFloat64(s.metrics.open[protocolUpgraded]); got != 1 {
			t.Errorf("%v connections are counted as upgraded", got)
		}
		if _, err := io.WriteString(conn, smuggled+"\x00\xff"); err != nil {
			t.Fatal(err)
		}
		if err := half.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(r)
		if want := smuggled + smuggled + "\x00\xff"; err != nil || string(all) != want {
			t.Errorf("%q, %v, want %q", all, err, want)
		}
		if err := <-h.ended; err != nil {
			t.Error(err)
		}
		if n := len(h.asked); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		eventually(t, "connections upgraded", 0, func() float64 { return testutil.ToFloat64(s.metrics.open[protocolUpgraded]) })
	}
}

// TestARefusedOfferIsARequestLikeAnyOther proves that the connection goes on with requests
// when an offer is answered by anything but 101.
func TestARefusedOfferIsARequestLikeAnyOther(t *testing.T) {
	h := newSwitching()
	s := startServer(t, nil, func(c *Config) { c.Handler = h })
	conn := s.dial(s.plain)
	if _, err := io.WriteString(conn, offering("refuse")+get); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for _, want := range []string{"GET http://a/refuse HTTP/1.1", "GET http://a.example/x HTTP/1.1"} {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !strings.HasPrefix(string(body), want) {
			t.Errorf("%d %q, %v, want %q", res.StatusCode, body, err, want)
		}
	}
	if offer := <-h.asked; offer != "echo/1" {
		t.Errorf("offer %q", offer)
	}
}

// TestOffersThatCountForNothing: who accepts one of these lets the client speak past us.
func TestOffersThatCountForNothing(t *testing.T) {
	for name, tc := range map[string]struct{ request, want string }{
		"no option":       {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", ""},
		"no offer":        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", ""},
		"h2c":             {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", ""},
		"H2C among them":  {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: H2C, websocket,\r\nUpgrade: other/2\r\n\r\n", "websocket, other/2"},
		"HTTP and TLS":    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: HTTP/2.0, TLS/1.2\r\n\r\n", ""},
		"HTTP/1.0":        {"GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		"another method":  {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		"HEAD":            {"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		"a body":          {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nx", ""},
		"a body in parts": {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n0\r\n\r\n", ""},
		"both lengths":    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n0\r\n\r\n", ""},
	} {
		h := newSwitching()
		s := startServer(t, nil, func(c *Config) { c.Handler = h })
		conn := s.dial(s.plain)
		if _, err := io.WriteString(conn, tc.request); err != nil {
			t.Fatal(err)
		}
		if got := <-h.asked; got != tc.want {
			t.Errorf("%s: offers %q, want %q", name, got, tc.want)
		}
		status, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || strings.Contains(status, " 101 ") != (tc.want != "") {
			t.Errorf("%s: %q, %v", name, status, err)
		}
	}
}

// TestADrainEndsWithWhatWasUpgraded proves that such a connection lives until the end of a
// drain, and that its end then is in order.
func TestADrainEndsWithWhatWasUpgraded(t *testing.T) {
	h := newSwitching()
	s := startServer(t, nil, func(c *Config) { c.Handler, c.Drain = h, 100*time.Millisecond })
	conn := s.dial(s.plain)
	if _, err := io.WriteString(conn, offering("")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	readHead(t, r)
	if err := s.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-h.ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the tunnel ended with %v", err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("there is more")
	}
}
