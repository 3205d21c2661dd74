package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// startDeafOrigin is an origin that reads no body: it takes what comes after a head for the
// next request, as some servers do after a method that usually has none.
func startDeafOrigin(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve := func(c net.Conn) {
		defer c.Close()
		in := bufio.NewReader(c)
		for last := false; !last; {
			head := ""
			for !strings.HasSuffix(head, "\r\n\r\n") {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				head += line
			}
			first, _, _ := strings.Cut(head, "\r\n")
			last = strings.Contains(head, "\r\nConnection: close\r\n")
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s", len(first), first)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return "http://" + ln.Addr().String()
}

// TestABodyThatNobodyExpectsIsNoOtherRequest: RFC 9110 §9.3.1 and §9.3.5 warn of request
// smuggling by the body of a method for which it means nothing. What an origin makes of it
// is answered to nobody, and stored for nothing.
func TestABodyThatNobodyExpectsIsNoOtherRequest(t *testing.T) {
	for _, method := range []string{"GET", "DELETE", "OPTIONS"} {
		url, _ := startLone(t, startDeafOrigin(t))
		for range 5 {
			do(t, method, url+"/a", strings.NewReader("GET /evil HTTP/1.1\r\nX: "))
			for _, path := range []string{"/b", "/c"} {
				if got := get(t, url+path).body; got != "GET "+path+" HTTP/1.1" {
					t.Errorf("%s with a body: what was asked for next has the answer of %q", method, got)
				}
			}
		}
	}
}

// TestAMalformedBodyIsNotTheOriginsFault: it is told from an answer that is.
func TestAMalformedBodyIsNotTheOriginsFault(t *testing.T) {
	url, _ := startLone(t, startOrigin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }).URL)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 Bad Request\r\n") {
		t.Errorf("%q, %v", answer, err)
	}
}
