package h1_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener"
	"freshet/edge/listener/h1"
	"freshet/edge/listener/listenertest"
)

// TestBothLanesAnswerAlike: a client sees no difference between a connection that begins
// in this lane and one that is the full lane's from the beginning, whatever it sends.
func TestBothLanesAnswerAlike(t *testing.T) {
	echo := handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		var body []byte
		if req.Body != nil {
			body, _ = io.ReadAll(req.Body)
		}
		what := fmt.Sprintf("%s %s %s %s %q", req.Method, req.Host, req.Port, req.Target, body)
		_ = to.Respond(&exchange.Answer{Status: 200, Header: listenertest.Block(t, "X-Request: "+what), Bytes: []byte("x"), Length: 1})
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &http.Server{Handler: &listener.Full{Handler: echo, Now: time.Now, Limits: large}}
	go func() { _ = slow.Serve(l) }()
	t.Cleanup(func() { slow.Close() })
	fast := &h1.Server{Handler: echo, Limits: large}
	fast.Spoil()
	addr := serve(t, fast, false)

	var running sync.WaitGroup
	room := make(chan struct{}, 16)
	for _, all := range heads {
		if strings.HasSuffix(all, "\r\n\r\nX") {
			continue // net/http has no answer to a single byte, or has one, as it comes
		}
		running.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			for _, all := range []string{all, get + all, get + all + get} {
				got, want := talk(t, addr, all), talk(t, l.Addr().String(), all)
				if got != want {
					t.Errorf("%.300q:\ngot  %s\nwant %s", all, got, want)
				}
			}
		})
	}
	running.Wait()
}

// talk sends everything, and says what is answered.
func talk(t *testing.T, addr, all string) string {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer c.Close()
	_, _ = io.WriteString(c, all)
	_ = c.(*net.TCPConn).CloseWrite()
	in := bufio.NewReader(c)
	var said strings.Builder
	for {
		method := "GET"
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		if request := res.Header.Get("X-Request"); strings.HasPrefix(request, "HEAD ") {
			method = "HEAD"
		}
		if res.StatusCode == 431 {
			said.WriteString("431") // always the last in this lane
			break
		}
		fmt.Fprintf(&said, "%d %s close=%v; ", res.StatusCode, res.Header.Get("X-Request"), res.Close)
		if method != "HEAD" {
			_, _ = io.Copy(io.Discard, res.Body)
		}
	}
	return said.String()
}
