package edge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/cluster"
)

// kib are the KiB of which generated bodies consist, in turn.
var kib = func() (t [256][1024]byte) {
	for i := range t {
		for j := range t[i] {
			t[i][j] = byte(i)
		}
	}
	return
}()

// kibAt are the bytes of a generated body from a position on, to the end of its KiB.
func kibAt(at int64) []byte { return kib[(at>>10)%256][at%1024:] }

// generated is a body of left bytes that takes no memory. Its bytes say where they stand.
type generated struct {
	left, at int64
	given    *atomic.Int64
}

func (g *generated) Read(p []byte) (n int, err error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), g.left)]
	for n < len(p) {
		n += copy(p[n:], kibAt(g.at+int64(n)))
	}
	g.at += int64(n)
	g.left -= int64(n)
	g.given.Add(int64(n))
	return n, nil
}

// isGenerated reports whether bytes stand where they should.
func isGenerated(p []byte, at int64) bool {
	for len(p) > 0 {
		want := kibAt(at)
		want = want[:min(len(p), len(want))]
		if !bytes.Equal(p[:len(want)], want) {
			return false
		}
		p, at = p[len(want):], at+int64(len(want))
	}
	return true
}

// uploadSize is how much is uploaded, in bytes: more than anybody may hold.
func uploadSize() int64 {
	if os.Getenv("FRESHET_TEST_LONG") != "" {
		return 10 << 30
	}
	return 192 << 20
}

const (
	mostOnTheWay = 128 << 20 // bytes between client and origin: most of them in the kernel's buffers of three connections
	mostHeld     = 64 << 20  // bytes of the heap beyond what it was before
)

// TestUploadsStream proves that large bodies of known and unknown length pass through an
// edge and a mid as they come, by HTTP/1.1 and HTTP/2: the origin is never far behind the
// client, who waits where the origin stops reading, and nobody holds much of it.
func TestUploadsStream(t *testing.T) {
	size := uploadSize()
	given := new(atomic.Int64)
	x := startTiers(t)
	held := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	runtime.GC()
	before := held()
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf, at, most := make([]byte, 256<<10), int64(0), int64(0)
		for stopped := false; ; {
			if at > size/2 && !stopped { // until the client has stopped, too
				stopped = true
				for seen, quiet := int64(-1), 0; quiet < 20; quiet++ {
					if now := given.Load(); now != seen {
						seen, quiet = now, 0
					}
					<-time.After(5 * time.Millisecond)
				}
			}
			if ahead := given.Load() - at; ahead > mostOnTheWay {
				t.Errorf("the client is %d bytes ahead of the origin", ahead)
				http.Error(w, "", 500)
				return
			}
			n, err := r.Body.Read(buf)
			if !isGenerated(buf[:n], at) {
				t.Errorf("other bytes than were sent, from %d on", at)
			}
			if at>>24 != (at+int64(n))>>24 {
				most = max(most, held()-before)
			}
			at += int64(n)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Errorf("after %d bytes: %v", at, err)
				return
			}
		}
		if most > mostHeld {
			t.Errorf("the heap has grown by %d bytes", most)
		}
		fmt.Fprint(w, at, " ", r.ContentLength)
	})
	x.origin.serve.Store(&origin)
	x.start(cluster.Mid, "m1", tierSecret)
	edge := x.start(cluster.Edge, "e1", tierSecret)
	x.knowsMid(edge)
	two := &http.Transport{Protocols: new(http.Protocols)}
	two.Protocols.SetUnencryptedHTTP2(true)
	defer two.CloseIdleConnections()
	for name, client := range map[string]http.RoundTripper{"HTTP/1.1": http.DefaultTransport, "HTTP/2": two} {
		for _, length := range []int64{-1, size} {
			given.Store(0)
			req, err := http.NewRequest("PUT", edge.url+"/upload", &generated{left: size, given: given})
			if err != nil {
				t.Fatal(err)
			}
			req.Host, req.ContentLength = "www.test", length
			res, err := client.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if want := fmt.Sprint(size, " ", length); err != nil || string(body) != want {
				t.Errorf("%s: %q, %v, want %q", name, body, err, want)
			}
		}
	}
}

// TestABrokenUploadIsNeverAWholeOne proves that the origin hears of a client that goes away
// in the middle of a body.
func TestABrokenUploadIsNeverAWholeOne(t *testing.T) {
	x := startTiers(t)
	read := make(chan string, 1)
	began := make(chan struct{}, 1)
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var first [4]byte
		if _, err := io.ReadFull(r.Body, first[:]); err != nil {
			read <- err.Error()
			return
		}
		began <- struct{}{}
		n, err := io.Copy(io.Discard, r.Body)
		read <- fmt.Sprint(n, " ", err)
	})
	x.origin.serve.Store(&origin)
	x.start(cluster.Mid, "m1", tierSecret)
	edge := x.start(cluster.Edge, "e1", tierSecret)
	x.knowsMid(edge)
	addr := strings.TrimPrefix(edge.url, "http://")
	check := func(name string) {
		t.Helper()
		if got := <-read; strings.HasSuffix(got, " <nil>") {
			t.Errorf("%s: the origin has read %s", name, got)
		}
	}
	for name, framing := range map[string]string{"a length": "Content-Length: 100\r\n\r\nhalf", "chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "POST /a HTTP/1.1\r\nHost: www.test\r\n"+framing)
		<-began
		conn.Close()
		check(name)
	}
	two := &http.Transport{Protocols: new(http.Protocols)}
	two.Protocols.SetUnencryptedHTTP2(true)
	defer two.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	defer pw.Close()
	req, _ := http.NewRequestWithContext(ctx, "POST", edge.url+"/a", pr)
	req.Host = "www.test"
	gone := make(chan error, 1)
	go func() {
		_, err := two.RoundTrip(req)
		gone <- err
	}()
	fmt.Fprint(pw, "half")
	<-began
	cancel()
	check("HTTP/2")
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// socketOrigin answers each connection as a function does.
func socketOrigin(t *testing.T, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

// TestAnOriginThatStopsReading proves what a client gets that is still sending: the answer
// if there is one, else 502.
func TestAnOriginThatStopsReading(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		want   int
	}{
		"answers and closes": {"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig", 413},
		"closes":             {"", 502},
	} {
		origin := socketOrigin(t, func(conn net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, r, 64<<10)
			_, _ = io.WriteString(conn, tc.answer)
			if tc.answer == "" {
				return
			}
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, r)
		})
		s := startSecured(t, origin, "")
		for protocol, client := range s.clients(t) {
			given := new(atomic.Int64)
			req, err := http.NewRequest("POST", "https://"+s.secure+"/a", &generated{left: 1 << 40, given: given})
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.RoundTrip(req)
			if err != nil {
				t.Errorf("%s, %s: %v", name, protocol, err)
				continue
			}
			if body, err := io.ReadAll(res.Body); res.StatusCode != tc.want || err != nil || tc.answer != "" && string(body) != "big" {
				t.Errorf("%s, %s: %d %q, %v", name, protocol, res.StatusCode, body, err)
			}
			res.Body.Close()
		}
	}
}

// TestExpectations proves that a client which waits for a word before it sends its body
// gets the origin's: none where that answers without one (RFC 9110 §10.1.1).
func TestExpectations(t *testing.T) {
	x := startTiers(t)
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v", body, err)
	})
	x.origin.serve.Store(&origin)
	x.start(cluster.Mid, "m1", tierSecret)
	edge := x.start(cluster.Edge, "e1", tierSecret)
	x.knowsMid(edge)
	for _, tc := range []struct {
		target, expect, framing string
		continues               bool
		status                  int
		body                    string
	}{
		{"/refused", "100-continue", "Content-Length: 5", false, 401, "no\n"},
		{"/refused", "100-Continue", "Transfer-Encoding: chunked", false, 401, "no\n"},
		{"/taken", "100-continue", "Content-Length: 5", true, 200, "hello <nil>"},
		{"/taken", "100-continue", "Transfer-Encoding: chunked", true, 200, "hello <nil>"},
		{"/taken", "200-ok", "Content-Length: 5", false, 417, ""},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(edge.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: www.test\r\nExpect: %s\r\n%s\r\n\r\n", tc.target, tc.expect, tc.framing)
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.StatusCode == 100; got != tc.continues {
			t.Errorf("%+v: status %d first", tc, res.StatusCode)
		}
		if tc.continues {
			if tc.framing == "Content-Length: 5" {
				_, _ = io.WriteString(conn, "hello")
			} else {
				_, _ = io.WriteString(conn, "5\r\nhello\r\n0\r\n\r\n")
			}
			if res, err = http.ReadResponse(r, nil); err != nil {
				t.Fatal(err)
			}
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != tc.status || string(body) != tc.body {
			t.Errorf("%+v: %s %q, %v", tc, strconv.Itoa(res.StatusCode), body, err)
		}
	}
}

// TestExpectationsByEveryProtocol is the same for whole clients: the origin's refusal comes
// before they have sent anything, and else all arrives.
func TestExpectationsByEveryProtocol(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", err)
	})
	s := startSecured(t, o.URL, "")
	for protocol, client := range s.clients(t) {
		if one, ok := client.(*http.Transport); ok {
			one.ExpectContinueTimeout = patience
		}
		for path, want := range map[string]string{"/refused": "no\n", "/taken": "1000000 <nil>"} {
			given := new(atomic.Int64)
			req, err := http.NewRequest("PUT", "https://"+s.secure+path, &generated{left: 1000000, given: given})
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Expect", "100-continue")
			req.ContentLength = 1000000
			res, err := client.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s%s: %v", protocol, path, err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || string(body) != want {
				t.Errorf("%s%s: %d %q, %v", protocol, path, res.StatusCode, body, err)
			}
			if n := given.Load(); path == "/refused" && n > 0 && protocol != "HTTP/3.0" { // whose client does not wait
				t.Errorf("%s: %d bytes were sent for nothing", protocol, n)
			}
		}
	}
}
