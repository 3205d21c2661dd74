package h2

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// A client that takes a large answer in small pieces says so often, as Go's does: that is
// no flood.
func TestSmallReadsAreNoFlood(t *testing.T) {
	body := make([]byte, 16<<20)
	var mu sync.Mutex
	var cut []limits.Reason
	s := &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: body, Length: int64(len(body))})
	}), Limited: func(r limits.Reason) { mu.Lock(); cut = append(cut, r); mu.Unlock() }}
	res, err := client(t).Get("http://" + listen(t, s, nil) + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{res.Body}, make([]byte, 4<<10))
	if err != nil || n != int64(len(body)) {
		t.Errorf("%d bytes of %d: %v; limits %v", n, len(body), err, cut)
	}
}

// Requests that wait for a grant get one when time has brought it, whether or not another
// handler ends.
func TestQueuedBesideLongRequests(t *testing.T) {
	release := make(chan struct{})
	s := &Server{Handler: handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Target == "/long" {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	r := dial(t, listen(t, s, nil))
	defer close(release)
	id := uint32(1)
	for range firstGrants {
		r.open(id, true, get("/long")...)
		id += 2
	}
	r.open(id, true, get("/short")...)
	_ = r.nc.SetDeadline(time.Now().Add(5 * time.Second))
	r.await("the answer", func(f http2.Frame) bool { h, ok := f.(*http2.HeadersFrame); return ok && h.StreamID == id })
}

// All bytes of a frame of which a part is more than was announced are given back to the
// connection's window.
func TestWindowAfterTooMuchContent(t *testing.T) {
	s := &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Body != nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	addr := listen(t, s, nil)
	r := dial(t, addr)
	frame := make([]byte, maxFrame)
	// More than one window in all; each has to come in parts, so that the first is too much already.
	id, sent := uint32(1), 0
	for ; sent < connWindow*2; id += 2 {
		r.open(id, false, post("/", "content-length: 1")...)
		head := []byte{byte(maxFrame >> 16), byte(maxFrame >> 8 & 0xff), byte(maxFrame & 0xff), 0, 0, 0, 0, byte(id >> 8), byte(id)}
		if _, err := r.nc.Write(append(head, frame[:100]...)); err != nil {
			t.Fatal(err)
		}
		r.awaitReset(id)
		if _, err := r.nc.Write(frame[100:]); err != nil {
			t.Fatal(err)
		}
		sent += maxFrame
	}
	r.open(id, true, get("/")...)
	r.await("the answer", func(f http2.Frame) bool { h, ok := f.(*http2.HeadersFrame); return ok && h.StreamID == id })
}

// A client whose many uploads are answered early at once may have sent more of each, and
// trailers, before it knows.
func TestManyEarlyAnswers(t *testing.T) {
	for status, told := range map[int]http2.FrameType{200: http2.FrameRSTStream, 403: http2.FrameHeaders} {
		t.Run(http.StatusText(status), func(t *testing.T) { manyEarlyAnswers(t, status, told) })
	}
}

func manyEarlyAnswers(t *testing.T, status int, told http2.FrameType) {
	const n = 60
	var all sync.WaitGroup
	all.Add(n)
	s := &Server{Handler: handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Method == "POST" {
			all.Done()
			all.Wait()
			_ = to.Respond(&exchange.Answer{Status: status})
			return
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	r := dial(t, listen(t, s, nil))
	id := uint32(1)
	got := func() {
		t.Helper()
		r.await("the answer", func(f http2.Frame) bool {
			if g, ok := f.(*http2.GoAwayFrame); ok {
				t.Fatalf("the connection was ended: %v %s", g.ErrCode, g.DebugData())
			}
			h, ok := f.(*http2.HeadersFrame)
			return ok && h.StreamID == id
		})
		id += 2
	}
	for range n { // for grants
		r.open(id, true, get("/")...)
		got()
	}
	first := id
	for range n {
		r.open(id, false, post("/")...)
		id += 2
	}
	for range n {
		r.await("the end", func(f http2.Frame) bool { return f.Header().Type == told })
	}
	for range 5 {
		for late := first; late < id; late += 2 {
			_ = r.fr.WriteData(late, false, make([]byte, 10))
		}
	}
	for late := first; late < id; late += 2 {
		r.open(late, true, "x-sum: 1")
	}
	r.open(id, true, get("/")...)
	got()
}
