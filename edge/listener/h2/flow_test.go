package h2

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
)

// large answers with n bytes, in RAM.
func large(n int) handler {
	return func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: make([]byte, n), Length: int64(n)})
	}
}

// data reads DATA frames until n bytes have come, and says of which streams.
func (r *raw) data(n int) (ids []uint32) {
	r.t.Helper()
	for n > 0 {
		f := r.await("DATA", func(f http2.Frame) bool { return f.Header().Type == http2.FrameData })
		n -= int(f.Header().Length)
		ids = append(ids, f.Header().StreamID)
	}
	return ids
}

// TestWindows: no more is sent than the windows of stream and connection allow, whatever
// becomes of them, and all of it in the end.
func TestWindows(t *testing.T) {
	for _, h := range []exchange.Handler{large(100_000), everything{&quick{large(100_000), exchange.Answer{Status: 200, Bytes: make([]byte, 100_000), Length: 100_000}}}} {
		addr := listen(t, &Server{Handler: h}, nil)
		r := dial(t, addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		quiet := func() {
			t.Helper()
			_ = r.fr.WritePing(false, [8]byte{1})
			r.await("PING", func(f http2.Frame) bool {
				if f.Header().Type == http2.FrameData {
					t.Fatalf("%v beyond the window", f)
				}
				_, ok := f.(*http2.PingFrame)
				return ok
			})
		}
		r.open(1, true, get("/")...)
		r.data(1000)
		quiet()
		_ = r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 400}) // -600
		_ = r.fr.WriteWindowUpdate(1, 600)                                                  // 0
		quiet()
		_ = r.fr.WriteWindowUpdate(1, 5)
		r.data(5)
		_ = r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10_400})
		r.data(10_000)
		quiet()
		_ = r.fr.WriteWindowUpdate(1, 1<<20)
		r.data(firstWindow - 11_005) // the connection's
		quiet()
		_ = r.fr.WriteWindowUpdate(0, 100_000-firstWindow)
		r.data(100_000 - firstWindow)
		r.open(3, true, get("/")...)
		r.await("HEADERS", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
		quiet()
		_ = r.fr.WriteWindowUpdate(0, 10)
		r.data(10)
		_ = r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
		_ = r.fr.WriteWindowUpdate(1, 1) // of a stream that has ended
		_ = r.fr.WriteWindowUpdate(3, 1<<20)
		if code := r.awaitReset(3); code != http2.ErrCodeFlowControl {
			t.Errorf("reset with %v", code)
		}
	}
}

// TestWindowsOfWhatIsSent: the window of a stream that has ended for its client is no
// matter, although its handler has not returned.
func TestWindowsOfWhatIsSent(t *testing.T) {
	hold := make(chan struct{})
	s := &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte("x"), Length: 1})
		<-hold
	})}
	r := dial(t, listen(t, s, nil))
	defer close(hold)
	r.open(1, true, get("/")...)
	r.data(1)
	for range 2 {
		_ = r.fr.WriteWindowUpdate(1, maxWindow-firstWindow)
	}
	_ = r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	r.open(3, true, get("/")...)
	r.data(1)
}

// TestBodiesAreTakenAsTheyAreRead: a client may send as much as the windows say, and
// gets new ones as the handler reads, not before.
func TestBodiesAreTakenAsTheyAreRead(t *testing.T) {
	read := make(chan int)
	var sum atomic.Int64
	addr := listen(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		for n := range read {
			k, _ := io.CopyN(io.Discard, req.Body, int64(n))
			sum.Add(k)
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}, nil)
	r := dial(t, addr)
	r.open(1, false, post("/")...)
	piece := make([]byte, maxFrame)
	for range streamWindow / maxFrame {
		_ = r.fr.WriteData(1, false, piece)
	}
	read <- streamWindow/2 + 1
	var stream, conn uint32
	r.await("WINDOW_UPDATE", func(f http2.Frame) bool {
		if u, ok := f.(*http2.WindowUpdateFrame); ok && u.StreamID == 1 {
			stream += u.Increment
		} else if ok && u.StreamID == 0 {
			conn += u.Increment
		}
		return stream > 0
	})
	if stream < streamWindow/2 || stream > streamWindow/2+maxFrame {
		t.Errorf("%d bytes of the stream were given back", stream)
	}
	for sent := uint32(0); sent+maxFrame <= stream; sent += maxFrame {
		_ = r.fr.WriteData(1, false, piece)
	}
	_ = r.fr.WriteDataPadded(1, false, piece[:maxFrame-300], make([]byte, 200))
	_ = r.fr.WriteData(1, false, piece) // too much
	if code := r.awaitReset(1); code != http2.ErrCodeFlowControl {
		t.Errorf("reset with %v", code)
	}
	close(read)
	// What was lost with the stream is given back to the connection.
	for id := uint32(3); id < 9; id += 2 {
		r.open(id, true, get("/")...)
		r.await("HEADERS", func(f http2.Frame) bool {
			if u, ok := f.(*http2.WindowUpdateFrame); ok && u.StreamID == 0 {
				conn += u.Increment
			}
			return f.Header().Type == http2.FrameHeaders && f.Header().StreamID == id
		})
	}
	if conn < connWindow/2 {
		t.Errorf("%d bytes of the connection were given back", conn)
	}
}

// TestContinue: a client that waits for 100 gets it when its body is asked for.
func TestContinue(t *testing.T) {
	addr := listen(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: b, Length: int64(len(b))})
	})}, nil)
	r := dial(t, addr)
	r.open(1, false, post("/", "expect: 100-continue")...)
	r.await("100", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders && r.field(":status") == "100" })
	_ = r.fr.WriteData(1, false, []byte("body"))
	_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block("x-sum: 1"), EndStream: true, EndHeaders: true})
	r.await("DATA", func(f http2.Frame) bool { d, ok := f.(*http2.DataFrame); return ok && string(d.Data()) == "body" })
}

// TestAnEarlyAnswerStopsTheBody (RFC 9113 §8.1), and what the client has sent before it
// knew does no harm.
func TestAnEarlyAnswerStopsTheBody(t *testing.T) {
	addr := listen(t, &Server{Handler: large(3)}, nil)
	r := dial(t, addr)
	r.open(1, false, post("/")...)
	r.data(3)
	if code := r.awaitReset(1); code != http2.ErrCodeNo {
		t.Errorf("reset with %v", code)
	}
	for range 10 {
		_ = r.fr.WriteData(1, false, make([]byte, 10_000))
	}
	_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block("x-sum: 1"), EndStream: true, EndHeaders: true})
	r.open(3, true, get("/")...)
	f := r.await("an answer", func(f http2.Frame) bool {
		switch f.Header().Type {
		case http2.FrameHeaders, http2.FrameRSTStream, http2.FrameGoAway:
			return true
		}
		return false
	})
	if f.Header().Type != http2.FrameHeaders || f.Header().StreamID != 3 {
		t.Errorf("got %v", f)
	}
}

// TestPriorities: what goes on the wire next is decided by RFC 9218.
func TestPriorities(t *testing.T) {
	const size = 4 * maxFrame
	for _, tc := range []struct {
		name   string
		fields [3]string         // Priority of streams 1, 3, 5
		update map[uint32]string // by PRIORITY_UPDATE, before the request if of stream 5
		want   string            // streams in their order; those in brackets take turns
	}{
		{"nothing said: in order", [3]string{}, nil, "1 3 5"},
		{"urgency", [3]string{"u=5", "", "u=1"}, nil, "5 3 1"},
		{"incremental: in turns", [3]string{"i", "i", "i"}, nil, "135"},
		{"urgency before turns", [3]string{"i", "i", "u=0, i"}, nil, "5 13"},
		{"one that is not incremental takes turns too", [3]string{"i", "", "u=7"}, nil, "13 5"},
		{"update", [3]string{"u=1", "u=2", "u=3"}, map[uint32]string{3: "u=0"}, "3 1 5"},
		{"update before the request", [3]string{}, map[uint32]string{5: "u=0"}, "5 1 3"},
		{"nonsense is as good as nothing", [3]string{"u=9", "u=-1,i=3", ";"}, nil, "1 3 5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := listen(t, &Server{Handler: large(size)}, nil)
			r := dial(t, addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: size})
			// The connection's window is kept shut until all three have something to send.
			r.open(101, true, get("/")...)
			r.data(firstWindow)
			_ = r.fr.WriteWindowUpdate(0, size-firstWindow)
			r.data(size - firstWindow)
			if p, ok := tc.update[5]; ok {
				_ = r.fr.WritePriorityUpdate(107, p)
			}
			for i, p := range tc.fields {
				fields := get("/")
				if p != "" {
					fields = append(fields, "priority: "+p)
				}
				r.open(uint32(103+2*i), true, fields...)
			}
			for range 3 {
				r.await("HEADERS", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
			}
			for id, p := range tc.update {
				_ = r.fr.WritePriorityUpdate(102+id, p)
			}
			_ = r.fr.WriteWindowUpdate(0, 3*size)
			var got strings.Builder
			for _, id := range r.data(3 * size) {
				got.WriteByte("1?3?5"[id-103])
			}
			for rest := got.String(); ; {
				group, more, _ := strings.Cut(tc.want, " ")
				n := strings.IndexFunc(rest, func(c rune) bool { return !strings.ContainsRune(group, c) })
				if n < 0 {
					n = len(rest)
				}
				if n < 4*len(group) || !turns(rest[:3*len(group)], len(group)) {
					t.Errorf("frames of %s: %q should be %s", got.String(), rest, tc.want)
				}
				if rest, tc.want = rest[n:], more; tc.want == "" {
					if rest != "" {
						t.Errorf("frames of %s at the end of %s", rest, got.String())
					}
					break
				}
			}
		})
	}
}

// turns reports whether any n frames in a row are of n streams.
func turns(s string, n int) bool {
	for i := 0; i+n <= len(s); i++ {
		for j := i + 1; j < i+n; j++ {
			if s[i] == s[j] {
				return false
			}
		}
	}
	return true
}

// TestDrain: after the first GOAWAY new streams are served, after the second they are
// not, those under way are, and then the connection ends.
func TestDrain(t *testing.T) {
	release := make(chan struct{})
	var late atomic.Bool
	s := &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		switch req.Target {
		case "/slow":
			<-release
		case "/late":
			late.Store(true)
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	addr := listen(t, s, nil)
	r := dial(t, addr)
	idle := dial(t, addr)
	r.open(1, true, get("/slow")...)
	r.open(3, true, get("/")...)
	r.await("HEADERS", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
	s.Drain()
	if f := r.awaitGoAway(); f.LastStreamID != maxWindow || f.ErrCode != http2.ErrCodeNo {
		t.Errorf("first GOAWAY of %d with %v", f.LastStreamID, f.ErrCode)
	}
	p := r.await("PING", func(f http2.Frame) bool { _, ok := f.(*http2.PingFrame); return ok }).(*http2.PingFrame)
	r.open(5, true, get("/")...)
	r.await("HEADERS", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders && f.Header().StreamID == 5 })
	_ = r.fr.WritePing(true, p.Data)
	if f := r.awaitGoAway(); f.LastStreamID != 5 || f.ErrCode != http2.ErrCodeNo {
		t.Errorf("second GOAWAY of %d with %v", f.LastStreamID, f.ErrCode)
	}
	r.open(7, true, get("/late")...)
	close(release)
	r.await("HEADERS", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders && f.Header().StreamID == 1 })
	if f, err := r.fr.ReadFrame(); err == nil {
		t.Errorf("%v after the last answer", f)
	}
	if late.Load() {
		t.Error("a stream after the last was served")
	}
	idle.awaitGoAway() // it does not answer the PING
	idle.awaitGoAway()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestShutdownCuts connections that do not end in time.
func TestShutdownCuts(t *testing.T) {
	began := make(chan struct{})
	s := &Server{Handler: handler(func(ctx context.Context, _ *exchange.Request, _ exchange.Responder) {
		close(began)
		<-ctx.Done()
	})}
	r := dial(t, listen(t, s, nil))
	r.open(1, true, get("/")...)
	<-began
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
}

// TestHeadsOfAnswersThatNeedSeveralFrames.
func TestHeadsOfAnswersThatNeedSeveralFrames(t *testing.T) {
	var fields []string
	for i := range 40 {
		fields = append(fields, "x-"+string(rune('a'+i%26))+": "+strings.Repeat("~", 1000+i))
	}
	addr := listen(t, &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 200, Header: block(fields...), Bytes: []byte("x"), Length: 1})
	})}, nil)
	res, err := client(t).Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(b, []byte("x")) || len(res.Header.Values("x-a")) != 2 {
		t.Errorf("%q, %v", b, err)
	}
}

// TestAHeadDoesNotWaitForItsBody for long.
func TestAHeadDoesNotWaitForItsBody(t *testing.T) {
	body, rest := io.Pipe()
	addr := listen(t, &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 200, Stream: body, Length: -1})
	})}, nil)
	r := dial(t, addr)
	r.open(1, true, get("/")...)
	r.await("HEADERS", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
	for _, piece := range []string{"some", "more"} { // nor a piece for the next
		_, _ = io.WriteString(rest, piece)
		r.await("DATA", func(f http2.Frame) bool { d, ok := f.(*http2.DataFrame); return ok && string(d.Data()) == piece })
	}
	rest.Close()
	r.await("the end", func(f http2.Frame) bool { d, ok := f.(*http2.DataFrame); return ok && d.StreamEnded() })
}

// TestTheFirstRequestIsWaitedFor: a connection that comes while the server drains, and takes
// its time to ask, is answered before it ends; one that never asks ends all the same.
func TestTheFirstRequestIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Handler: large(1)}
		s.Drain()
		for _, asks := range []bool{true, false} {
			ours, end := net.Pipe()
			theirs := eager{end, make(chan []byte, 100)}
			go func() {
				for p := range theirs.out {
					_, _ = end.Write(p)
				}
			}()
			go s.Serve(ours, ConnInfo{Scheme: "http", Remote: anywhere})
			start := time.Now()
			r := begin(t, theirs)
			if asks {
				time.Sleep(firstWait - time.Millisecond)
				r.open(1, true, get("/")...)
				r.data(1)
			}
			r.awaitGoAway()
			if waited := time.Since(start); !asks && waited != firstWait {
				t.Errorf("told to go away after %v", waited)
			}
			_, err := io.Copy(io.Discard, end)
			if waited := time.Since(start); err != nil || waited > firstWait+drainWait+lingerTime {
				t.Errorf("ended after %v: %v", waited, err)
			}
			end.Close()
			close(theirs.out)
		}
	})
}

// TestDrainBeforeTheFirstWord: a connection that comes while the server drains is told so
// after the SETTINGS.
func TestDrainBeforeTheFirstWord(t *testing.T) {
	s := &Server{Handler: large(1)}
	addr := listen(t, s, nil)
	s.Drain()
	r := dial(t, addr) // fails if SETTINGS are not the first frame
	r.open(1, true, get("/")...)
	r.awaitGoAway()
	r.data(1)
}
