package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/edge/listener/listenertest"
)

// TestABodyThatDoesNotComeHoldsNoConnection: whoever answers before the body of a request
// has been read, net/http among them, that body has no more time than any other.
func TestABodyThatDoesNotComeHoldsNoConnection(t *testing.T) {
	s := startServer(t, func(_ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte("early"), Length: 5})
	}, func(c *Config) {
		c.Limits = limits.Config{HeadTimeout: 100 * time.Millisecond, BodyTimeout: 100 * time.Millisecond, HeaderFields: 16}
	})
	const rest = "Content-Length: 10\r\n\r\n"
	for name, tc := range map[string]struct{ request, status string }{
		"answered by the handler": {"POST / HTTP/1.1\r\nHost: a.example\r\n" + rest, "200"},
		"no host":                 {"POST / HTTP/1.1\r\nHost: a.example:99999\r\n" + rest, "400"},
		"no path":                 {"POST a HTTP/1.1\r\nHost: a.example\r\n" + rest, "400"},
		"many fields":             {"POST / HTTP/1.1\r\nHost: a.example\r\n" + strings.Repeat("X: y\r\n", 20) + rest, "431"},
		"chunks":                  {"POST / HTTP/1.1\r\nHost: a.example:0\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
		"of the server":           {"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n" + rest, ""},
		"expectation":             {"POST / HTTP/1.1\r\nHost: a.example\r\nExpect: x\r\n" + rest, "417"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(s.plain)
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if answer := talk(t, conn, tc.request); !strings.HasPrefix(answer, "HTTP/1.1 "+tc.status) {
				t.Errorf("answered %q", answer)
			}
			eventually(t, "connections", 0, func() float64 { return float64(s.conns.Open()) })
		})
	}
}

// TestALongRequestWithoutABodyIsNoStalledOne: the time for bodies is none for answers.
func TestALongRequestWithoutABodyIsNoStalledOne(t *testing.T) {
	s := startServer(t, func(_ *exchange.Request, to exchange.Responder) {
		time.Sleep(400 * time.Millisecond) // twice what a head and a body may take
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte("late"), Length: 4})
	}, func(c *Config) {
		c.Limits = limits.Config{HeadTimeout: 100 * time.Millisecond, BodyTimeout: 100 * time.Millisecond}
	})
	conn := s.dial(s.plain)
	in := bufio.NewReader(conn)
	for range 2 {
		_, _ = io.WriteString(conn, "DELETE / HTTP/1.1\r\nHost: a.example\r\n\r\n")
		if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		} else if body, err := io.ReadAll(res.Body); err != nil || string(body) != "late" {
			t.Fatal(string(body), err)
		}
	}
}

// TestAnOldClientHearsNothingInterim: RFC 9110 §15.2.
func TestAnOldClientHearsNothingInterim(t *testing.T) {
	s := startServer(t, func(_ *exchange.Request, to exchange.Responder) {
		to.Inform(103, listenertest.Block(t, "Link: </x>"))
		to.Inform(101, nil) // no interim answer at all
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte("x"), Length: 1})
	}, nil)
	for request, interim := range map[string]bool{
		"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n":                         false,
		"DELETE / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n": true,
		get: true,
	} {
		answer := talk(t, s.dial(s.plain), request)
		if got := strings.HasPrefix(answer, "HTTP/1.1 103 "); got != interim || !strings.Contains(answer, " 200 OK\r\n") || strings.Contains(answer, " 101 ") {
			t.Errorf("%q is answered %q", request, answer)
		}
	}
}

// TestAnOldClientSeesThatABodyBreaksOff: where the end of the connection is the end of
// the body (RFC 9112 §8), only a reset tells that it came too early.
func TestAnOldClientSeesThatABodyBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		body := io.MultiReader(strings.NewReader("some of it"), &failing{broken})
		if req.Target == "/whole" {
			body = strings.NewReader("all of it")
		}
		err := to.Respond(&exchange.Answer{Status: 200, Stream: body, Length: -1})
		if (err != nil) != (req.Target != "/whole") {
			t.Errorf("%s: %v", req.Target, err)
		}
	}, nil)
	for _, secure := range []bool{false, true} {
		for target, whole := range map[string]bool{"/whole": true, "/broken": false} {
			conn := s.dial(s.plain)
			if secure {
				conn = s.dialTLS(s.dial(s.secure), &tls.Config{})
			}
			_, _ = io.WriteString(conn, "GET "+target+" HTTP/1.0\r\nHost: a.example\r\n\r\n")
			answer, err := io.ReadAll(conn)
			if (err == nil) != whole {
				t.Errorf("TLS %v: %s came as %q, %v", secure, target, answer, err)
			}
		}
	}
}

// TestALoadBalancerThatDecryptsMaySpeakHTTP2: what it says in the head of the PROXY
// protocol of its client's connection is not what its own is.
func TestALoadBalancerThatDecryptsMaySpeakHTTP2(t *testing.T) {
	s := startServer(t, echo, func(c *Config) { c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	const head = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x14" + "\xc0\x00\x02\x01\xc0\x00\x02\x02\x30\x39\x01\xbb" + "\x20\x00\x05\x01\x00\x00\x00\x00"
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
		conn := s.dial(s.plain)
		_, err := io.WriteString(conn, head)
		return conn, err
	}}
	t.Cleanup(client.CloseIdleConnections)
	res, err := (&http.Client{Transport: client}).Get("http://a.example/x")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if want := "GET https://a.example/x HTTP/2.0 from 192.0.2.1"; err != nil || string(body) != want {
		t.Errorf("got %q, %v, want %q", body, err, want)
	}
}

// TestPlainHTTPToAPortOfTLS: the client is told, also one that sends a long request.
func TestPlainHTTPToAPortOfTLS(t *testing.T) {
	s := startServer(t, echo, nil)
	for range 20 {
		conn := s.dial(s.secure)
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n"+strings.Repeat("x", 30000))
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 400 Bad Request\r\n") {
			t.Fatalf("%q, %v", answer, err)
		}
		conn.Close()
	}
}

// TestWhatIsNoBody: chunks that are none are the client's fault, and its connection ends.
func TestWhatIsNoBody(t *testing.T) {
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		_, err := io.Copy(io.Discard, req.Body)
		status := 200
		if errors.Is(err, exchange.ErrBodyMalformed) {
			status = 400
		}
		_ = to.Respond(&exchange.Answer{Status: status})
	}, nil)
	for body, want := range map[string]string{
		"3\r\nabc\r\n0\r\n\r\n": "200", "3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\n": "200",
		"x\r\n": "400", "3\nabc\r\n0\r\n\r\n": "400", "3\r\nabcd\r\n": "400", "-1\r\n": "400", "10000000000000000\r\n": "400", "\r\n": "400", "0x1\r\na\r\n0\r\n\r\n": "400",
	} {
		answer := talk(t, s.dial(s.plain), "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"+body+get)
		if !strings.HasPrefix(answer, "HTTP/1.1 "+want) || strings.Count(answer, "HTTP/1.1 ") != 1 {
			t.Errorf("%q is answered %q, want %s alone", body, answer, want)
		}
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }
