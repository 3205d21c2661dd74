package listener

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// handler is an exchange.Handler made of a function.
type handler func(req *exchange.Request, to exchange.Responder)

func (h handler) Serve(_ context.Context, req *exchange.Request, to exchange.Responder) { h(req, to) }

func serve(t *testing.T, h handler) string {
	s := httptest.NewServer(&Full{Handler: h, Now: time.Now})
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// send writes a request as it is and reads everything that comes back.
func send(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestRequestsAreReadAsSent(t *testing.T) {
	var got string
	addr := serve(t, func(req *exchange.Request, to exchange.Responder) {
		got = fmt.Sprintf("%s %s|%s|%s %s", req.Method, req.Host, req.Port, req.Target, req.Header.Get("X-A"))
		_ = to.Respond(&exchange.Answer{Status: 204, Length: 0})
	})
	for _, tc := range []struct{ request, want string }{
		{"GET /a%2fb?c=%20d HTTP/1.1\r\nHost: Example.COM\r\nX-A: 1\r\n\r\n", "GET example.com||/a%2fb?c=%20d 1"},
		{"GET /a HTTP/1.1\r\nHost: example.com.:8080\r\n\r\n", "GET example.com|8080|/a "},
		{"GET http://example.com/x?y HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET example.com||/x?y "},
		{"GET http://example.com HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET example.com||/ "},
		{"GET http://example.com?q HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET example.com||/?q "},
		{"GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n", "GET 2001:db8::1|80|/ "},
	} {
		got = "nothing"
		answer := send(t, addr, strings.Replace(tc.request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		if got != tc.want {
			t.Errorf("%q was read as %q, want %q; answer %.60q", tc.request, got, tc.want, answer)
		}
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	addr := serve(t, func(*exchange.Request, exchange.Responder) { t.Error("reached the handler") })
	for name, tc := range map[string]struct{ request, want string }{
		"no host":        {"GET / HTTP/1.1\r\n", "400"},
		"host with path": {"GET / HTTP/1.1\r\nHost: a/b\r\n", "400"},
		"host with user": {"GET / HTTP/1.1\r\nHost: u@h\r\n", "400"},
		"bad port":       {"GET / HTTP/1.1\r\nHost: a:99999\r\n", "400"},
		"asterisk":       {"OPTIONS * HTTP/1.1\r\nHost: a\r\n", "200"}, // net/http's own answer
		"two lengths":    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "400"},
		"many fields":    {"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", header.MaxFields+1), "431"},
	} {
		answer := send(t, addr, tc.request+"Connection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 "+tc.want) {
			t.Errorf("%s: got %.60q, want status %s", name, answer, tc.want)
		}
	}
}

func block(t *testing.T, fields ...string) *header.Block {
	t.Helper()
	h := new(header.Block)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if err := h.Add(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestAnswers(t *testing.T) {
	stored, extra := block(t, "Content-Type: text/x", "X-Twice: 1", "X-Twice: 2"), block(t, "Age: 7")
	for _, tc := range []struct {
		name, method string
		answer       exchange.Answer
		status       int
		length, body string
	}{
		{"bytes", "GET", exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: 5}, 200, "5", "hello"},
		{"head", "HEAD", exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: 5}, 200, "5", ""},
		{"stream of known length", "GET", exchange.Answer{Status: 206, Stream: strings.NewReader("part"), Length: 4}, 206, "4", "part"},
		{"stream of unknown length", "GET", exchange.Answer{Status: 200, Stream: strings.NewReader("part"), Length: -1}, 200, "", "part"},
		{"no content", "GET", exchange.Answer{Status: 204}, 204, "", ""},
		{"not modified", "GET", exchange.Answer{Status: 304, Length: 5}, 304, "", ""},
		{"empty", "GET", exchange.Answer{Status: 200, Length: 0}, 200, "0", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := serve(t, func(_ *exchange.Request, to exchange.Responder) {
				a := tc.answer
				a.Header, a.Extra = stored, extra
				if err := to.Respond(&a); err != nil {
					t.Error(err)
				}
			})
			req, _ := http.NewRequest(tc.method, "http://"+addr+"/", nil)
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tc.status || string(body) != tc.body || res.Header.Get("Content-Length") != tc.length {
				t.Errorf("status %d, length %q, body %q, %v", res.StatusCode, res.Header.Get("Content-Length"), body, err)
			}
			if res.Header.Get("Age") != "7" || len(res.Header.Values("X-Twice")) != 2 {
				t.Errorf("header %v", res.Header)
			}
		})
	}
}

func TestInterimAnswersAndTrailers(t *testing.T) {
	addr := serve(t, func(_ *exchange.Request, to exchange.Responder) {
		to.Inform(103, block(t, "Link: </a.css>; rel=preload"))
		_ = to.Respond(&exchange.Answer{
			Status: 200, Header: block(t, "Content-Type: a/b"), Stream: strings.NewReader("body"), Length: -1,
			Trailer: func() *header.Block { return block(t, "X-Sum: 42") },
		})
	})
	answer := send(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n")
	interim, final, _ := strings.Cut(answer, "\r\n\r\n")
	if !strings.HasPrefix(interim, "HTTP/1.1 103 ") || !strings.Contains(interim, "Link: </a.css>") {
		t.Errorf("interim answer %q", interim)
	}
	if strings.Contains(final, "Link:") || !strings.HasSuffix(final, "X-Sum: 42\r\n\r\n") {
		t.Errorf("final answer %q", final)
	}
}

// broken is a body that ends with an error.
type broken struct{ n int }

func (b *broken) Read(p []byte) (int, error) {
	if b.n++; b.n > 3 {
		return 0, errors.New("gone")
	}
	return copy(p, "chunk"), nil
}

func TestABodyThatBreaksOffIsNeverWhole(t *testing.T) {
	for _, length := range []int64{-1, 1000} {
		addr := serve(t, func(_ *exchange.Request, to exchange.Responder) {
			if err := to.Respond(&exchange.Answer{Status: 200, Stream: &broken{}, Length: length}); err == nil {
				t.Error("Respond says that all is well")
			}
		})
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("length %d: a broken body looks whole: %q", length, body)
		}
		conn.Close()
	}
}

// FuzzHost: no host is accepted that would be ambiguous in a key or a URL.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"a:80", "[::1]:8", "A.B.", "a b", "[::1", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, ok := splitHost(s)
		if !ok {
			return
		}
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, "/?#@ \t\\[]") || strings.ContainsAny(port, ":/") {
			t.Fatalf("%q was read as %q and %q", s, host, port)
		}
	})
}
