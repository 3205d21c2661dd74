// Package listenertest is the conformance suite of the lanes of HTTP/1.1: what clients
// see of requests and answers is the same whichever lane carries them.
package listenertest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// Lane starts a server of HTTP/1.1 for one test, over TLS or not, and says where it listens.
type Lane func(t *testing.T, h exchange.Handler, secure bool) (addr string)

// Run has a lane prove everything.
func Run(t *testing.T, lane Lane) {
	for name, test := range map[string]func(*testing.T, Lane){
		"requests are read as sent":                     requests,
		"what is no request is refused":                 refusals,
		"answers":                                       answers,
		"answers of one connection keep apart":          pipelined,
		"interim answers and trailers":                  interim,
		"a body that breaks off is never whole":         brokenBodies,
		"a handler that panics ends its connection":     panics,
		"files reach every client":                      files,
		"files of another length spoil no other answer": wrongLengths,
		"a client that goes away ends the copy":         goneClient,
		"HEAD reads no file":                            headOfFile,
		"a piece that a stream writes is sent at once":  atOnce,
		"pieces and files keep their order":             order,
		"the context ends with the client":              clientLeaves,
	} {
		t.Run(name, func(t *testing.T) { test(t, lane) })
	}
}

// handler is an exchange.Handler made of a function.
type handler func(req *exchange.Request, to exchange.Responder)

func (h handler) Serve(_ context.Context, req *exchange.Request, to exchange.Responder) { h(req, to) }

func plain(t *testing.T, lane Lane, h handler) string { return lane(t, h, false) }

// Send writes a request as it is and reads everything that comes back.
func Send(t *testing.T, addr, request string) string {
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

// Block is a header block of lines.
func Block(t testing.TB, lines ...string) *header.Block {
	t.Helper()
	h := new(header.Block)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if err := h.Add(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// client speaks HTTP/1.1 to a lane.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func url(addr string, secure bool) string {
	if secure {
		return "https://" + addr + "/"
	}
	return "http://" + addr + "/"
}

func requests(t *testing.T, lane Lane) {
	got := make(chan string, 1)
	addr := plain(t, lane, func(req *exchange.Request, to exchange.Responder) {
		if req.Received.IsZero() || !req.Remote.IsValid() || req.Scheme != "http" || req.Proto != "HTTP/1.1" {
			t.Errorf("%+v", req)
		}
		got <- fmt.Sprintf("%s %s|%s|%s %s", req.Method, req.Host, req.Port, req.Target, req.Header.Joined("X-A"))
		_ = to.Respond(&exchange.Answer{Status: 204, Length: 0})
	})
	for _, tc := range []struct{ request, want string }{
		{"GET /a%2fb?c=%20d HTTP/1.1\r\nHost: Example.COM\r\nX-A: 1\r\n\r\n", "GET example.com||/a%2fb?c=%20d 1"},
		{"GET /a HTTP/1.1\r\nHost: example.com.:8080\r\n\r\n", "GET example.com|8080|/a "},
		{"GET http://example.com/x?y HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET example.com||/x?y "},
		{"GET http://example.com HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET example.com||/ "},
		{"GET http://example.com?q HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET example.com||/?q "},
		{"GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n", "GET 2001:db8::1|80|/ "},
		{"GET HTTP://Example.com:8080/x?y HTTP/1.1\r\nHost: b\r\n\r\n", "GET example.com|8080|/x?y "},
		{"HEAD /?%zz HTTP/1.1\r\nx-a:\t 1 \r\nhost:a\r\nX-A: 2\r\n\r\n", "HEAD a||/?%zz 1, 2"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST a||/ "},
	} {
		answer := Send(t, addr, strings.Replace(tc.request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		select {
		case have := <-got:
			if have != tc.want {
				t.Errorf("%q was read as %q, want %q; answer %.60q", tc.request, have, tc.want, answer)
			}
		default:
			t.Errorf("%q was not read; answer %.60q", tc.request, answer)
		}
	}
}

func refusals(t *testing.T, lane Lane) {
	addr := plain(t, lane, func(*exchange.Request, exchange.Responder) { t.Error("reached the handler") })
	for name, tc := range map[string]struct{ request, want string }{
		"no host":        {"GET / HTTP/1.1\r\n", "400"},
		"two hosts":      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "400"},
		"host with path": {"GET / HTTP/1.1\r\nHost: a/b\r\n", "400"},
		"host with user": {"GET / HTTP/1.1\r\nHost: u@h\r\n", "400"},
		"URL, no host":   {"GET http:///x HTTP/1.1\r\nHost: a\r\n", "400"},
		"URL, port only": {"GET http://:80/x HTTP/1.1\r\nHost: a\r\n", "400"},
		"URL of another": {"GET ftp://a/x HTTP/1.1\r\nHost: a\r\n", "400"},
		"zone of IPv6":   {"GET / HTTP/1.1\r\nHost: [fe80::1%25x]\r\n", "400"},
		"bad port":       {"GET / HTTP/1.1\r\nHost: a:99999\r\n", "400"},
		"space in name":  {"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n", "400"},
		"bare CR":        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n", "400"},
		"bad escape":     {"GET /%zz HTTP/1.1\r\nHost: a\r\n", "400"},
		"asterisk":       {"OPTIONS * HTTP/1.1\r\nHost: a\r\n", "200"}, // net/http's own answer
		"two lengths":    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "400"},
		"many fields":    {"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", header.MaxFields+1), "431"},
	} {
		answer := Send(t, addr, tc.request+"Connection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 "+tc.want) {
			t.Errorf("%s: got %.60q, want status %s", name, answer, tc.want)
		}
	}
}

func answers(t *testing.T, lane Lane) {
	stored, extra := Block(t, "Content-Type: text/x", "X-Twice: 1", "X-Twice: 2"), Block(t, "Age: 7")
	dated := Block(t, "Date: Sun, 06 Nov 1994 08:49:37 GMT")
	const any = "any"
	large := strings.Repeat("0123456789", 100_000)
	for _, tc := range []struct {
		name, method string
		answer       exchange.Answer
		status       int
		length, body string
	}{
		{"bytes", "GET", exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: 5}, 200, "5", "hello"},
		{"many bytes", "GET", exchange.Answer{Status: 200, Bytes: []byte(large), Length: 1_000_000}, 200, "1000000", large},
		{"bytes of length not known", "GET", exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: -1}, 200, "5", "hello"},
		{"head", "HEAD", exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: 5}, 200, "5", ""},
		{"head of a stream", "HEAD", exchange.Answer{Status: 200, Stream: strings.NewReader("part"), Length: 4}, 200, "4", ""},
		{"head of length not known", "HEAD", exchange.Answer{Status: 200, Stream: strings.NewReader("part"), Length: -1}, 200, "", ""},
		{"stream of known length", "GET", exchange.Answer{Status: 206, Stream: strings.NewReader("part"), Length: 4}, 206, "4", "part"},
		{"stream of unknown length", "GET", exchange.Answer{Status: 200, Stream: strings.NewReader("part"), Length: -1}, 200, "", "part"},
		{"large stream of unknown length", "GET", exchange.Answer{Status: 200, Stream: io.LimitReader(strings.NewReader(large), 1<<30), Length: -1}, 200, "", large},
		{"empty stream", "GET", exchange.Answer{Status: 200, Stream: strings.NewReader(""), Length: -1}, 200, any, ""},
		{"no content", "GET", exchange.Answer{Status: 204}, 204, "", ""},
		{"not modified", "GET", exchange.Answer{Status: 304, Length: 5}, 304, "", ""},
		{"empty", "GET", exchange.Answer{Status: 200, Length: 0}, 200, "0", ""},
		{"status without a text", "GET", exchange.Answer{Status: 299, Length: 0}, 299, "0", ""},
		{"date of its own", "GET", exchange.Answer{Status: 200, Header: dated, Length: 0}, 200, "0", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := plain(t, lane, func(_ *exchange.Request, to exchange.Responder) {
				a := tc.answer
				if a.Extra = extra; a.Header == nil {
					a.Header = stored
				}
				if err := to.Respond(&a); err != nil {
					t.Error(err)
				}
			})
			req, _ := http.NewRequest(tc.method, url(addr, false), nil)
			res, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tc.status || string(body) != tc.body || tc.length != any && res.Header.Get("Content-Length") != tc.length {
				t.Errorf("status %d, length %q, body %.60q, %v", res.StatusCode, res.Header.Get("Content-Length"), body, err)
			}
			if tc.answer.Header != nil {
				if date := res.Header.Values("Date"); len(date) != 1 || date[0] != dated.Get("Date") {
					t.Errorf("Date %q", date)
				}
				return
			}
			if res.Header.Get("Age") != "7" || len(res.Header.Values("X-Twice")) != 2 || len(res.Header.Values("Date")) != 1 {
				t.Errorf("header %v", res.Header)
			}
			if _, err := http.ParseTime(res.Header.Get("Date")); err != nil {
				t.Error(err)
			}
		})
	}
}

// pipelined: many requests in one write are answered in their order, whatever their
// answers are, and none runs into another.
func pipelined(t *testing.T, lane Lane) {
	addr := plain(t, lane, func(req *exchange.Request, to exchange.Responder) {
		a := &exchange.Answer{Status: 200, Header: Block(t, "X-Target: "+req.Target)}
		body := strings.Repeat(req.Target, 3000)
		switch n := len(req.Target) % 4; n {
		case 0:
			a.Bytes, a.Length = []byte(body), int64(len(body))
		case 1:
			a.Stream, a.Length = strings.NewReader(body), -1
		case 2:
			a.Bytes, a.Length = []byte("small"), 5
		default:
			a.Status = 304
		}
		if err := to.Respond(a); err != nil {
			t.Error(err)
		}
	})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 200
	go func() {
		var all bytes.Buffer
		for i := range n {
			method := "GET"
			if i%7 == 0 {
				method = "HEAD"
			}
			fmt.Fprintf(&all, "%s /%s HTTP/1.1\r\nHost: a\r\n\r\n", method, strings.Repeat("x", i%40))
		}
		_, _ = conn.Write(all.Bytes())
	}()
	in := bufio.NewReader(conn)
	for i := range n {
		method := "GET"
		if i%7 == 0 {
			method = "HEAD"
		}
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatal(i, err)
		}
		body, err := io.ReadAll(res.Body)
		target := "/" + strings.Repeat("x", i%40)
		want := []string{strings.Repeat(target, 3000), strings.Repeat(target, 3000), "small", ""}[len(target)%4]
		if method == "HEAD" {
			want = ""
		}
		if err != nil || res.Header.Get("X-Target") != target || string(body) != want {
			t.Fatalf("answer %d: %q, %d bytes, want %d, %v", i, res.Header.Get("X-Target"), len(body), len(want), err)
		}
	}
}

func interim(t *testing.T, lane Lane) {
	addr := plain(t, lane, func(_ *exchange.Request, to exchange.Responder) {
		to.Inform(103, Block(t, "Link: </a.css>; rel=preload"))
		_ = to.Respond(&exchange.Answer{
			Status: 200, Header: Block(t, "Content-Type: a/b"), Stream: strings.NewReader("body"), Length: -1,
			Trailer: func() *header.Block { return Block(t, "X-Sum: 42") },
		})
	})
	answer := Send(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n")
	interim, final, _ := strings.Cut(answer, "\r\n\r\n")
	if !strings.HasPrefix(interim, "HTTP/1.1 103 Early Hints\r\n") || !strings.Contains(interim, "Link: </a.css>") {
		t.Errorf("interim answer %q", interim)
	}
	if strings.Contains(final, "Link:") || !strings.HasSuffix(final, "4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n") {
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

func brokenBodies(t *testing.T, lane Lane) {
	for name, a := range map[string]func() *exchange.Answer{
		"error, length not known": func() *exchange.Answer { return &exchange.Answer{Status: 200, Stream: &broken{}, Length: -1} },
		"error":                   func() *exchange.Answer { return &exchange.Answer{Status: 200, Stream: &broken{}, Length: 1000} },
		"too short": func() *exchange.Answer {
			return &exchange.Answer{Status: 200, Stream: strings.NewReader("a"), Length: 2}
		},
		"too long": func() *exchange.Answer {
			return &exchange.Answer{Status: 200, Stream: strings.NewReader("abc"), Length: 2}
		},
		"bytes where none are":   func() *exchange.Answer { return &exchange.Answer{Status: 200, Bytes: []byte("abc")} },
		"a stream where none is": func() *exchange.Answer { return &exchange.Answer{Status: 200, Stream: strings.NewReader("abc")} },
		"error before all":       func() *exchange.Answer { return &exchange.Answer{Status: 200, Stream: &broken{3}, Length: -1} },
		"bytes too long":         func() *exchange.Answer { return &exchange.Answer{Status: 200, Bytes: []byte("abc"), Length: 2} },
	} {
		responded := make(chan error, 2)
		addr := plain(t, lane, func(_ *exchange.Request, to exchange.Responder) { responded <- to.Respond(a()) })
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
		in := bufio.NewReader(conn)
		res, err := http.ReadResponse(in, nil)
		if err == nil {
			var body []byte
			if body, err = io.ReadAll(res.Body); err == nil {
				t.Errorf("%s: a broken body looks whole: %q", name, body)
			}
		}
		if rest, _ := io.ReadAll(in); len(rest) > 0 {
			t.Errorf("%s: %q follows", name, rest)
		}
		if <-responded == nil {
			t.Errorf("%s: Respond says that all is well", name)
		}
		conn.Close()
	}
}

func panics(t *testing.T, lane Lane) {
	addr := plain(t, lane, func(req *exchange.Request, to exchange.Responder) {
		if req.Target == "/panic" {
			panic(http.ErrAbortHandler)
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})
	answer := Send(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /panic HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if strings.Count(answer, "HTTP/1.1 204") != 1 {
		t.Errorf("got %q", answer)
	}
	if answer := Send(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 204") {
		t.Errorf("then %q", answer)
	}
}

// leaver waits until its context ends.
type leaver struct{ began, ended chan struct{} }

func (l leaver) Serve(ctx context.Context, _ *exchange.Request, to exchange.Responder) {
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	l.began <- struct{}{}
	<-child.Done()
	l.ended <- struct{}{}
	_ = to.Respond(&exchange.Answer{Status: 204})
}

// clientLeaves: a client that has closed its sending half counts as gone as well.
func clientLeaves(t *testing.T, lane Lane) {
	for name, tc := range map[string]struct{ secure, half bool }{
		"closed": {}, "half closed": {half: true}, "closed, TLS": {secure: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := leaver{make(chan struct{}, 1), make(chan struct{}, 1)}
			conn, err := net.Dial("tcp", lane(t, l, tc.secure))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if tc.secure {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-l.began
			if tc.half {
				_ = conn.(*net.TCPConn).CloseWrite()
			} else {
				conn.Close()
			}
			<-l.ended
		})
	}
}
