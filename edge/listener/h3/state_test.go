package h3

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// upload is a POST.
func upload(more ...string) []byte {
	return headers(append([]string{":method: POST", ":scheme: https", ":authority: a.example", ":path: /"}, more...)...)
}

// TestResetsThatTheServerIsMadeToSend proves that a client which has the server end
// requests by what is wrong with them is sent away as one that resets them itself.
func TestResetsThatTheServerIsMadeToSend(t *testing.T) {
	const most = 20
	for name, act := range map[string]func(c raw) *quic.Stream{
		"more than Content-Length": func(c raw) *quic.Stream {
			return c.request(append(upload("content-length: 1"), frame(frameData, large[:10])...), false)
		},
		"less than Content-Length": func(c raw) *quic.Stream {
			return c.request(append(upload("content-length: 99"), frame(frameData, large[:10])...), true)
		},
		"a bad trailer": func(c raw) *quic.Stream { return c.request(append(upload(), headers(":path: /")...), true) },
		"a bad head":    func(c raw) *quic.Stream { return c.request(headers("a: b"), true) },
		"half a head":   func(c raw) *quic.Stream { return c.request(nil, true) },
		"a body that is reset": func(c raw) *quic.Stream {
			q := c.request(append(upload(), frame(frameData, large[:10])...), false)
			_, _ = io.ReadFull(q, make([]byte, 5)) // the head of the answer
			q.CancelWrite(codeRequestCancelled)
			return q
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, &Server{Limits: limits.Config{Resets: most}, Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
				if req.Body == nil {
					_ = to.Respond(&exchange.Answer{Status: 204})
					return
				}
				_ = to.Respond(&exchange.Answer{Status: 200, Stream: req.Body, Length: -1})
			})})
			c := s.dial()
			c.t = t
			for i := 0; i < most && c.Context().Err() == nil; i++ {
				q, err := act(c), error(nil)
				if _, err = io.ReadAll(q); err == nil {
					t.Fatal("the request was answered")
				}
			}
			if code := c.closedBy(); code != codeExcessiveLoad {
				t.Errorf("closed with %#x", code)
			}
			if !s.limitedBy(limits.Resets) {
				t.Error("the limit is not counted")
			}
		})
	}
}

// TestContinueBesideTheAnswer proves that a body which is read by somebody else, for the
// first time while the answer is sent, brings an interim answer before that or none.
func TestContinueBesideTheAnswer(t *testing.T) {
	var reads sync.WaitGroup
	s := start(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		body := req.Body
		reads.Go(func() { _, _ = body.Read(make([]byte, 1)) }) // as net/http's transport does
		_ = to.Respond(&exchange.Answer{Status: 403, Bytes: []byte("no"), Length: 2})
	})})
	c := s.dial()
	for range 50 {
		status, content, err := answer(c.request(upload("expect: 100-continue"), false))
		if status = strings.TrimPrefix(status, "100"); status != "403" || content != "no" || err != nil {
			t.Fatalf("%s %q %v", status, content, err)
		}
	}
	reads.Wait()
}

// TestASlowClientIsNotCut: one that takes a little at a time takes its answer for as long
// as it likes.
func TestASlowClientIsNotCut(t *testing.T) {
	const timeout = 500 * time.Millisecond
	responded := make(chan error, 1)
	s := start(t, &Server{Limits: limits.Config{WriteTimeout: timeout}, Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		responded <- to.Respond(&exchange.Answer{Status: 200, Bytes: large[:100_000], Length: 100_000})
	})})
	q, err := quic.DialAddr(t.Context(), s.addr, s.tls(), &quic.Config{InitialStreamReceiveWindow: 5000, MaxStreamReceiveWindow: 5000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.CloseWithError(0, "") }()
	all := raw{t, q}.request(get("/"), true)
	begun, got, buf := time.Now(), 0, make([]byte, 2500)
	for {
		n, err := all.Read(buf)
		if got += n; err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("after %d bytes and %v: %v", got, time.Since(begun), err)
		}
		if time.Since(begun) < 3*timeout {
			time.Sleep(timeout / 10)
		}
	}
	if err := <-responded; err != nil || got < 100_000 {
		t.Errorf("%d bytes: %v", got, err)
	}
}

// TestPriorityUpdates (RFC 9218 §7.2), before a request and while it is answered.
func TestPriorityUpdates(t *testing.T) {
	for name, early := range map[string]bool{"before the request": true, "after it": false} {
		t.Run(name, func(t *testing.T) {
			// A handler that gets no processor for a while has nothing to send meanwhile. If the
			// frame is not obeyed both take turns, every time.
			var n int64
			for range 10 {
				if n = besideTheUrgent(t, early); n <= int64(len(large))/2 {
					return
				}
			}
			t.Errorf("%d bytes of what is less urgent came before", n)
		})
	}
}

// besideTheUrgent is how many bytes of one answer have come when another one is complete
// that PRIORITY_UPDATE has called urgent.
func besideTheUrgent(t *testing.T, early bool) (before int64) {
	began := make(chan struct{}, 2)
	s := start(t, &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		began <- struct{}{}
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: large, Length: int64(len(large))})
	})})
	conn, err := quic.DialAddr(t.Context(), s.addr, s.tls(), &quic.Config{InitialConnectionReceiveWindow: 20_000, MaxConnectionReceiveWindow: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	c := raw{t, conn}
	control := c.uni([]byte{streamControl, frameSettings, 0})
	update := func() {
		_, _ = control.Write(frame(priorityOfRequest, append(varints(4), "u=0"...)))
		read := false
		for ; !read; time.Sleep(time.Millisecond) {
			s.Server.mu.Lock()
			for c := range s.Server.mu.conns {
				c.mu.Lock()
				read = c.mu.controls == 1
				c.mu.Unlock()
			}
			s.Server.mu.Unlock()
		}
	}
	if early {
		update()
	}
	first, second := c.request(get("/"), true), c.request(get("/"), true)
	for range 2 {
		<-began
	}
	if !early {
		update()
	}
	var got atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1000)
		for {
			n, err := first.Read(buf)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	if n, err := io.Copy(io.Discard, second); err != nil || n < int64(len(large)) {
		t.Errorf("%d bytes: %v", n, err)
	}
	before = got.Load()
	<-ended
	if n := got.Load(); n < int64(len(large)) {
		t.Errorf("%d bytes of what is less urgent came", n)
	}
	return before
}

// TestABodyIsNotWaitedFor proves that the end of a request does not wait for somebody who
// was about to wait for more of its body.
func TestABodyIsNotWaitedFor(t *testing.T) {
	s := start(t, &Server{Limits: limits.Config{BodyTimeout: time.Second}, Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		b := req.Body.(*body)
		b.mu.Lock() // as Read does
		ended := make(chan struct{})
		go func() {
			b.end()
			close(ended)
		}()
		for !b.over.Load() {
			time.Sleep(time.Millisecond)
		}
		if _, err := b.read(b.mu.s, make([]byte, 1)); err != errEnded {
			t.Errorf("read: %v", err)
		}
		b.mu.Unlock()
		<-ended
		_ = to.Respond(&exchange.Answer{Status: 204})
	})})
	if status, _, err := answer(s.dial().request(upload(), false)); status != "204" || err != nil {
		t.Errorf("%s %v", status, err)
	}
}

// TestAnEarlyAnswerIsRead proves that a client which is still sending reads the answer, and
// that its connection is of use for the next request.
func TestAnEarlyAnswerIsRead(t *testing.T) {
	s := start(t, &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 403, Bytes: []byte("no, thank you"), Length: 13})
	})})
	client := s.client()
	for range 50 {
		res, text, err := do(client, "POST", "https://a.example/", io.MultiReader(bytes.NewReader(large), bytes.NewReader(large), bytes.NewReader(large)))
		if err != nil || res.StatusCode != 403 || text != "no, thank you" {
			t.Fatalf("%v %q %v", res, text, err)
		}
	}
}
