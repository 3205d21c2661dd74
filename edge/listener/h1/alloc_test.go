package h1_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"freshet/edge/exchange"
	"freshet/edge/listener/h1"
	"freshet/edge/listener/listenertest"
)

// prepared answers everything with the same answer.
func prepared(t testing.TB, size int) handler {
	stored := listenertest.Block(t, "Content-Type: text/html; charset=utf-8", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "ETag: \"0123456789abcdef\"",
		"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Cache-Control: public, max-age=3600", "Vary: Accept-Encoding", "Via: 1.1 freshet")
	extra := listenertest.Block(t, "Age: 17", "Cache-Status: freshet-e1; hit; ttl=3583")
	a := &exchange.Answer{Status: 200, Header: stored, Extra: extra, Bytes: bytes.Repeat([]byte("x"), size), Length: int64(size)}
	return func(_ context.Context, _ *exchange.Request, to exchange.Responder) { _ = to.Respond(a) }
}

// browser is what a browser sends for a picture.
const browser = "GET /static/img/logo.png?v=3 HTTP/1.1\r\nHost: www.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: image/avif,image/webp,*/*;q=0.8\r\n" +
	"Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\nReferer: https://www.example.com/\r\n\r\n"

// TestAHitAllocatesNothing counts what the whole process allocates over a real connection:
// the client's system calls, the server's, and all between.
func TestAHitAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, tc := range map[string]struct {
		request string
		size    int
		answers int
	}{
		"small":            {browser, 1 << 10, 1},
		"larger":           {browser, 64 << 10, 1},
		"pipelined":        {browser + browser + browser, 1 << 10, 3},
		"pipelined larger": {browser + browser + browser, 20 << 10, 3},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", serve(t, &h1.Server{Handler: prepared(t, tc.size)}, false))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request := []byte(tc.request)
			// One answer's length is needed to know when all have come.
			if _, err := conn.Write([]byte(browser)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1<<20)
			n, err := io.ReadAtLeast(conn, buf, tc.size+200)
			if err != nil || !bytes.Contains(buf[:n], []byte("\r\n\r\n")) {
				t.Fatal(n, err)
			}
			whole := bytes.Index(buf[:n], []byte("\r\n\r\n")) + 4 + tc.size
			if _, err := io.ReadFull(conn, buf[n:whole]); err != nil {
				t.Fatal(err)
			}
			if allocs := testing.AllocsPerRun(2000, func() {
				if _, err := conn.Write(request); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(conn, buf[:whole*tc.answers]); err != nil {
					t.Fatal(err)
				}
			}); allocs != 0 {
				t.Errorf("%v allocations for each request", allocs)
			}
		})
	}
}
