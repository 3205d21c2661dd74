package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"

	"freshet/edge/exchange"
	"freshet/edge/listener"
	"freshet/edge/listener/h1"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// large are the limits of a header block itself.
var large = limits.Config{HeaderBytes: header.MaxBytes, HeaderFields: header.MaxFields}

// heads are beginnings of connections: ordinary ones, and what is known to be read
// differently by different servers.
var heads = func() []string {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n"
	all := []string{
		get + "\r\n", get + "\r\n" + get + "\r\n", get + "\r\nX", "HEAD /x?y HTTP/1.1\r\nHost: a:8080\r\n\r\n" + get + "\r\n",
		"GET /a%2fb?c=%20d HTTP/1.1\r\nHost: Example.COM.\r\nUser-Agent: x\r\nAccept: */*\r\nAccept: b\r\naccept:c\r\n\r\n",
		"GET //a/..//b;c=d,e HTTP/1.1\r\nhOsT:a\r\n\r\n", "GET /?a?b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /? HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /: HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\"<>\\^`{|} HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?%zz%0 HTTP/1.1\r\nHost: a\r\n\r\n",
		// request lines
		"get / HTTP/1.1\r\nHost: a\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "GET / http/1.1\r\nHost: a\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n",
		"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /% HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%00%0d%0a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET b:80 HTTP/1.1\r\nHost: a\r\n\r\n", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
		// hosts
		"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n", get + "Host: a\r\n\r\n", get + "Host: b\r\n\r\n", get + "host : b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:00080\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / HTTP/1.1\r\nHost: [2001:DB8:0::1]\r\n\r\n", "GET / HTTP/1.1\r\nHost: [::1%a]\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "GET / HTTP/1.1\r\nHost: .\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a..\r\n\r\n", "GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n", "GET / HTTP/1.1\r\nHost: \xc3\x89\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 254) + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a_b-c.D\r\n\r\n", "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + strings.Repeat("A", 253) + ".\r\n\r\n",
	}
	for _, line := range []string{
		// bodies that are there for one server and not for another
		"Content-Length: 0", "Content-Length: 5", "Content-Length: +5", "Content-Length: 5, 5", "content-length:5", "Content-Length : 5", "Content-Length\t: 5",
		"Content-Length: 5\r\nContent-Length: 6", "Content-Length:", "Content_Length: 5", " Content-Length: 5", "\tContent-Length: 5", "X: y\r\n Content-Length: 5",
		"X: y\nContent-Length: 5", "X: y\rContent-Length: 5", "X: y\r\rContent-Length: 5", "X\x00: y", "X: \x00", "\x00Content-Length: 5", "Content-Length: 5\x00", "Content-\x00Length: 5",
		"Transfer-Encoding: chunked", "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", "transfer-encoding: chunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked",
		"Transfer-Encoding:\tchunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
		"Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding:", "Transfer_Encoding: chunked", "X: y\nTransfer-Encoding: chunked",
		"Expect: 100-continue", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x", "Trailer: X", "TE: trailers, chunked",
		// connections
		"Connection: close", "Connection: CLOSE", "Connection: keep-alive", "Connection: keep-alive, close", "Connection: x ,\tclose\t", "Connection:close,", "Connection: \"close\"", "Connection: closed",
		"Connection: Host", "connection: x\r\nConnection: close", "Connection:", "Connection: ,,", "Connection: upgrade", "Proxy-Connection: close", "Keep-Alive: 5",
		// fields
		"X", "X:", ": x", ":", "X y: z", "X(: y", "X: \xff", "\xff: x", "X:\ty\t", "X:    ", "X: a\tb", "X: a\x0bb", "X: \x7f", "x-LOWER: 1\r\nX-lower: 2", "X: " + strings.Repeat("y", 5000),
		"Pragma: no-cache", "pragma: no-cache\r\nPragma: x", "Pragma: x\r\nPragma: no-cache", "Pragma: no-cache\r\nCache-Control: a", "Pragma: No-Cache", "Pragma:", "Pragma:\r\nPragma: no-cache",
		"Cache-Control:\r\nPragma: no-cache", strings.Repeat("X: y\r\n", 1022) + "X: y", strings.Repeat("Cookie: 1\r\n", 5000) + "X: y", "X: \r\n\r\nY: z", "X!#$%&'*+-.^_`|~1: y",
	} {
		all = append(all, get+line+"\r\n\r\n", "GET / HTTP/1.1\r\n"+line+"\r\nHost: a\r\n\r\n", get+line+"\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
			get+line+"\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	return all
}()

// FuzzAgainstNetHTTP: whatever this lane accepts, the full lane accepts, and reads as the
// same request of the same length, and so with all that follow in the same bytes.
func FuzzAgainstNetHTTP(f *testing.F) {
	for _, s := range heads {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, all []byte) {
		for rest := bytes.Clone(all); ; {
			got, size, ok := h1.Read(rest)
			if !ok {
				return
			}
			want, wantSize, why := slowRead(rest)
			if why != "" {
				t.Fatalf("%q is accepted, and refused by the full lane: %s", rest, why)
			}
			if size != wantSize {
				t.Fatalf("%q: %d bytes long, %d in the full lane", rest, size, wantSize)
			}
			if got.Method != want.Method || got.Host != want.Host || got.Port != want.Port || got.Target != want.Target || got.Last != want.Last {
				t.Fatalf("%q: read as %+v, in the full lane as %+v", rest, got, want)
			}
			a, b := fields(got.Header), fields(want.Header)
			if len(a) != len(b) {
				t.Fatalf("%q: fields %v, in the full lane %v", rest, a, b)
			}
			for name, values := range a {
				if !slices.Equal(values, b[name]) {
					t.Fatalf("%q: %s is %q, in the full lane %q", rest, name, values, b[name])
				}
			}
			for n := range min(size, 2000) {
				if !h1.Incomplete(rest[:n]) {
					t.Fatalf("%q is accepted as a whole, and not its first %d bytes", rest[:size], n)
				}
			}
			if got.Last {
				return
			}
			rest = rest[size:]
		}
	})
}

// fields are the values of each field in their order.
func fields(h *header.Block) map[string][]string {
	all := make(map[string][]string)
	for name, value := range h.All() {
		name = http.CanonicalHeaderKey(name)
		all[name] = append(all[name], value)
	}
	return all
}

// slowRead reads a request as net/http's server and Full do.
func slowRead(b []byte) (got h1.Recognised, size int, why string) {
	from := bytes.NewReader(b)
	in := bufio.NewReader(from)
	r, err := http.ReadRequest(in)
	if err != nil {
		return got, 0, err.Error()
	}
	// What the server looks at besides.
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return got, 0, "version"
	}
	if !httpguts.ValidHostHeader(r.Host) {
		return got, 0, "malformed Host header"
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			return got, 0, "invalid field " + name
		}
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Trailer != nil {
		return got, 0, "there is a body"
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return got, 0, err.Error()
	}
	size = len(b) - from.Len() - in.Buffered()
	w := httptest.NewRecorder()
	slow := &listener.Full{Now: time.Now, Limits: large, Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		got = h1.Recognised{Method: req.Method, Host: req.Host, Port: req.Port, Target: req.Target, Last: r.Close, Header: req.Header}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	slow.ServeHTTP(w, r)
	if w.Code != 204 {
		return got, 0, w.Body.String()
	}
	return got, size, ""
}

// TestTheOrdinaryIsRecognised: the fuzz test would pass if nothing were.
func TestTheOrdinaryIsRecognised(t *testing.T) {
	n := 0
	for _, s := range heads {
		if _, _, ok := h1.Read([]byte(s)); ok {
			n++
		}
	}
	if n < 100 {
		t.Errorf("%d of %d heads are recognised", n, len(heads))
	}
	for _, s := range heads[:11] {
		if _, _, ok := h1.Read([]byte(s)); !ok {
			t.Errorf("%q is not", s)
		}
	}
}
