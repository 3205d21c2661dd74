package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/h1"
	"freshet/edge/listener/limits"
	"freshet/edge/listener/listenertest"
)

// TestEarlierAnswersDoNotWait: an answer that is gathered goes out when the next request
// turns out to be slow.
func TestEarlierAnswersDoNotWait(t *testing.T) {
	release := make(chan struct{})
	s := &h1.Server{Handler: handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Target == "/slow" {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte("x"), Length: 1})
	})}
	s.Spoil()
	c, in := dial(t, serve(t, s, false))
	_, _ = io.WriteString(c, get+get+"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"+get)
	answered(t, in, 200)
	answered(t, in, 200)
	close(release)
	answered(t, in, 200)
	answered(t, in, 200)
}

func TestAContextIsOfOneRequest(t *testing.T) {
	var before context.Context
	s := &h1.Server{Handler: handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if before != nil {
			<-before.Done()
			if before.Err() == nil {
				t.Error("ended without an error")
			}
		}
		child, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if ctx.Err() != nil || child.Err() != nil {
			t.Error("the context of a request has ended before it")
		}
		before = child
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	c, in := dial(t, serve(t, s, false))
	for range 5 {
		_, _ = io.WriteString(c, get)
		answered(t, in, 204)
	}
}

func TestAClientThatHalfClosesHasItsAnswers(t *testing.T) {
	c, _ := dial(t, serve(t, &h1.Server{Handler: prepared(t, 10)}, false))
	_, _ = io.WriteString(c, get+get)
	_ = c.(*net.TCPConn).CloseWrite()
	all, err := io.ReadAll(c)
	if err != nil || strings.Count(string(all), "HTTP/1.1 200 OK") != 2 {
		t.Errorf("%q, %v", all, err)
	}
}

// TestTheLastAnswerIsNotLost: what the client sends on after its last request does not
// have the kernel reset the connection before the client has read the answer.
func TestTheLastAnswerIsNotLost(t *testing.T) {
	addr := serve(t, &h1.Server{Handler: prepared(t, 100_000)}, false)
	for range 20 {
		c, in := dial(t, addr)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"+strings.Repeat("x", 50_000))
		if res := answered(t, in, 200); !res.Close {
			t.Error("the answer does not say that it is the last")
		}
		c.Close()
	}
}

func TestHeadsBeyondTheLimits(t *testing.T) {
	for _, tc := range []struct {
		request string
		why     limits.Reason
	}{
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 3000) + "\r\n\r\n", limits.HeaderBytes},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 30_000), limits.HeaderBytes},
		{"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 21) + "\r\n", limits.HeaderFields},
	} {
		var why reasons
		s := &h1.Server{Handler: prepared(t, 10), Limits: limits.Config{HeaderBytes: 2000, HeaderFields: 20}, Limited: why.add}
		c, in := dial(t, serve(t, s, false))
		_, _ = io.WriteString(c, get+tc.request)
		answered(t, in, 200)
		answered(t, in, 431)
		if !why.are(tc.why) {
			t.Errorf("cut off for %v, want %v", why.all, tc.why)
		}
	}
}

// TestLargeHeads: larger than the buffer that is usually enough, in any pieces.
func TestLargeHeads(t *testing.T) {
	value := strings.Repeat("y", 25_000)
	s := &h1.Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if got := req.Header.Get("X"); req.Target == "/large" && got != value {
			t.Errorf("%d bytes", len(got))
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	s.Spoil()
	for _, secure := range []bool{false, true} {
		c, in := dial(t, serve(t, s, secure))
		if secure {
			c, in = secured(c)
		}
		for range 3 {
			_, _ = io.WriteString(c, get+"GET /large HTTP/1.1\r\nHost: a\r\nX: "+value[:10_000])
			answered(t, in, 204)
			_, _ = io.WriteString(c, value[10_000:]+"\r\n\r\n"+get)
			answered(t, in, 204)
			answered(t, in, 204)
		}
	}
}

// TestWhatIsForeignReachesTheFullLane: with its bytes unread, after the answers to what came before.
func TestWhatIsForeignReachesTheFullLane(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody" + get
	given := make(chan string, 1)
	s := &h1.Server{Handler: prepared(t, 10), Full: func(c net.Conn) {
		defer c.Close()
		all, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		given <- string(all)
	}}
	addr := serve(t, s, false)
	for _, first := range []string{"", get, get + get} {
		c, in := dial(t, addr)
		_, _ = io.WriteString(c, first+post[:30])
		for range strings.Count(first, "GET") {
			answered(t, in, 200)
		}
		_, _ = io.WriteString(c, post[30:])
		_ = c.(*net.TCPConn).CloseWrite()
		if got := <-given; got != post {
			t.Errorf("%q was given %q", first, got)
		}
	}
}

func TestBytesThatWereReadBefore(t *testing.T) {
	for _, unread := range []string{get + get, get[:10], strings.Repeat(get, 1000)} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, in := dial(t, l.Addr().String())
		served, err := l.Accept()
		l.Close()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			(&h1.Server{Handler: prepared(t, 10)}).Serve(served, h1.ConnInfo{Scheme: "http", Unread: []byte(unread)})
		}()
		rest := ""
		if unread == get[:10] {
			rest = get[10:]
		}
		_, _ = io.WriteString(c, rest)
		for range strings.Count(unread, "GET") {
			answered(t, in, 200)
		}
		c.Close()
		<-ended
	}
}

func TestAPanicIsLoggedAndEndsItsConnection(t *testing.T) {
	var log bytes.Buffer
	s := &h1.Server{Log: slog.New(slog.NewTextHandler(&log, nil)), Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Target == "/silent" {
			return // without an answer
		}
		panic("told you so")
	})}
	addr := serve(t, s, false)
	for _, target := range []string{"/", "/silent"} {
		if got := listenertest.Send(t, addr, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n"+get); got != "" {
			t.Errorf("answered %q", got)
		}
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "told you so"); n != 1 || !strings.Contains(log.String(), "handler panicked") {
		t.Errorf("log: %s", log.String())
	}
}

func TestShutdownWaitsAndThenCuts(t *testing.T) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	s := &h1.Server{Handler: handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Target != "/" {
			began <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	addr := serve(t, s, false)
	_, _ = dial(t, addr) // idle
	c, in := dial(t, addr)
	_, _ = io.WriteString(c, strings.Replace(get, "/", "/slow", 1))
	<-began
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	for drains := false; !drains; {
		other, in := dial(t, addr)
		_, _ = io.WriteString(other, get)
		drains = answered(t, in, 204).Close
		other.Close()
	}
	close(release)
	if !answered(t, in, 204).Close {
		t.Error("the answer is not the last")
	}
	if err := <-ended; err != nil || s.Conns() != 0 {
		t.Errorf("%d connections are left, %v", s.Conns(), err)
	}

	release = make(chan struct{})
	s = &h1.Server{Handler: s.Handler}
	c, _ = dial(t, serve(t, s, false))
	_, _ = io.WriteString(c, strings.Replace(get, "/", "/slow", 1))
	<-began
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := bufio.NewReader(c).ReadByte(); err == nil {
		t.Error("the connection was not cut")
	}
}

// TestDrainWithSockets: idle connections end, and those that are used do after an answer.
func TestDrainWithSockets(t *testing.T) {
	s := &h1.Server{Handler: prepared(t, 10)}
	addr := serve(t, s, false)
	idle, _ := dial(t, addr)
	_, _ = io.WriteString(idle, get)
	used, in := dial(t, addr)
	_, _ = io.WriteString(used, get)
	answered(t, in, 200)
	s.Drain()
	_, _ = io.WriteString(used, get)
	if !answered(t, in, 200).Close {
		t.Error("an answer while it drains is not the last")
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if all, err := io.ReadAll(idle); err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 200") {
		t.Errorf("%q, %v", all, err)
	}
}
