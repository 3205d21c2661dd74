package h2

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
	"freshet/edge/listener/listenertest"
)

// bodyOf is a handler that sends back the body of a request as it comes.
func bodyOf(_ context.Context, req *exchange.Request, to exchange.Responder) {
	a := &exchange.Answer{Status: 200}
	if req.Body != nil {
		a.Stream, a.Length = req.Body, -1
	}
	_ = to.Respond(a)
}

// TestNoContinueAfterTheHead proves that a body which is asked for only when the answer
// has begun brings no interim answer any more: it would be a trailer to the client.
func TestNoContinueAfterTheHead(t *testing.T) {
	r := dial(t, listen(t, &Server{Handler: handler(bodyOf)}, nil))
	r.open(1, false, post("/", "expect: 100-continue")...)
	r.await("the head", func(f http2.Frame) bool {
		h, ok := f.(*http2.HeadersFrame)
		return ok && r.field(":status") == "200" && !h.StreamEnded()
	})
	_ = r.fr.WriteData(1, true, []byte("x"))
	r.await("the end", func(f http2.Frame) bool {
		if f.Header().Type == http2.FrameHeaders {
			t.Errorf("status %s after the head", r.field(":status"))
		}
		d, ok := f.(*http2.DataFrame)
		return ok && d.StreamEnded()
	})
}

// TestRequestsAfterTheLastGoAway proves that what comes of a request which was sent before
// its client knew of the last GOAWAY is dropped without a word, and harms no other: its
// client sends it again elsewhere (RFC 9113 §6.8).
func TestRequestsAfterTheLastGoAway(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{})
	s := &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		close(begun)
		<-release
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}
	r := dial(t, listen(t, s, nil))
	r.open(1, true, get("/")...)
	<-begun
	s.Drain()
	ping := r.await("PING", func(f http2.Frame) bool { p, ok := f.(*http2.PingFrame); return ok && !p.IsAck() }).(*http2.PingFrame)
	_ = r.fr.WritePing(true, ping.Data)
	if g := r.awaitGoAway(); g.LastStreamID != 1 {
		t.Fatalf("the last stream is %d", g.LastStreamID)
	}
	for id := uint32(3); id < 7; id += 2 {
		r.open(id, false, post("/")...)
		_ = r.fr.WriteData(id, false, make([]byte, maxFrame))
	}
	_ = r.fr.WriteData(3, true, nil)
	r.open(5, true, "x-sum: 1")
	_ = r.fr.WritePing(false, [8]byte{1})
	r.await("the ping's answer", func(f http2.Frame) bool {
		if t := f.Header().Type; t == http2.FrameRSTStream || t == http2.FrameGoAway {
			r.t.Errorf("got %v", f)
		}
		p, ok := f.(*http2.PingFrame)
		return ok && p.IsAck()
	})
	close(release)
	r.await("the answer", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders && f.Header().StreamID == 1 })
}

// TestADrainWaitsForAHead proves that a request whose head has begun before the last
// GOAWAY, which promises it, is answered.
func TestADrainWaitsForAHead(t *testing.T) {
	s := &Server{Handler: handler(bodyOf)}
	r := dial(t, listen(t, s, nil))
	s.Drain()
	r.await("PING", func(f http2.Frame) bool { return f.Header().Type == http2.FramePing })
	head := r.block(get("/")...)
	_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head[:5], EndStream: true})
	if g := r.awaitGoAway(); g.LastStreamID != 1 { // after drainWait, as the ping is not answered
		t.Fatalf("the last stream is %d", g.LastStreamID)
	}
	_ = r.fr.WriteContinuation(1, true, head[5:])
	r.await("the answer", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
}

// TestSettingsThatCannotBe (RFC 9218 §2.1).
func TestSettingsThatCannotBe(t *testing.T) {
	r := dial(t, listen(t, &Server{Handler: handler(bodyOf)}, nil), http2.Setting{ID: http2.SettingNoRFC7540Priorities, Val: 2})
	if g := r.awaitGoAway(); g.ErrCode != http2.ErrCodeProtocol {
		t.Errorf("GOAWAY with %v", g.ErrCode)
	}
}

// TestAStreamThatIsIdleIsNotReset: RFC 9113 §5.1, §6.4. A request that opens it later
// would lose its body.
func TestAStreamThatIsIdleIsNotReset(t *testing.T) {
	r := dial(t, listen(t, &Server{Handler: handler(bodyOf)}, nil))
	_ = r.fr.WritePriority(5, http2.PriorityParam{StreamDep: 5})
	r.await("GOAWAY", func(f http2.Frame) bool {
		if f.Header().Type == http2.FrameRSTStream {
			t.Errorf("got %v", f)
		}
		return f.Header().Type == http2.FrameGoAway
	})
}

// TestALargeHeadLeavesLittle proves that a quiet connection keeps nothing of a large head,
// whether that was answered at once, by a handler, or not at all.
func TestALargeHeadLeavesLittle(t *testing.T) {
	for name, fields := range map[string][]string{
		"hit":     get("/hit", "x-large: "+strings.Repeat("a", 20_000)),
		"miss":    get("/" + strings.Repeat("a", 20_000)),
		"cookies": get("/hit", "cookie: "+strings.Repeat("a", 10_000), "cookie: "+strings.Repeat("b", 10_000)),
		"431":     get("/hit", "x-large: "+strings.Repeat("a", 20_000), "x-larger: "+strings.Repeat("a", 20_000)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, end := net.Pipe()
				theirs := eager{end, make(chan []byte, 100)}
				go func() {
					for p := range theirs.out {
						_, _ = end.Write(p)
					}
				}()
				s := &Server{Handler: &quick{large(1), stored()}}
				go s.Serve(ours, ConnInfo{Scheme: "http", Remote: anywhere})
				r := begin(t, theirs)
				block := r.block(fields...)
				_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:100], EndStream: true})
				for block = block[100:]; len(block) > maxFrame; block = block[maxFrame:] {
					_ = r.fr.WriteContinuation(1, false, block[:maxFrame])
				}
				_ = r.fr.WriteContinuation(1, true, block)
				r.await("the answer", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
				go func() { _, _ = io.Copy(io.Discard, end) }()
				synctest.Wait()
				for c := range s.mu.conns {
					kept := cap(c.head.crumbs) + len(c.head.path)
					for _, cookie := range c.head.cookies[:cap(c.head.cookies)] {
						kept += len(cookie)
					}
					if c.next != nil {
						kept += c.next.fields.Size() + len(c.next.req.Target)
					}
					if kept > 10_000 {
						t.Errorf("%d bytes are kept", kept)
					}
				}
				end.Close()
				close(theirs.out)
			})
		})
	}
}

// TestAnIdleConnectionMayBeWritten: TLS writes by itself when a client asks for other keys,
// and cannot be used any more if a deadline has passed by then.
func TestAnIdleConnectionMayBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, end := net.Pipe()
		theirs := eager{end, make(chan []byte, 100)}
		go func() {
			for p := range theirs.out {
				_, _ = end.Write(p)
			}
		}()
		d := &listenertest.WriteDeadline{Conn: ours}
		s := &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
			_ = to.Respond(&exchange.Answer{Status: 204})
		})}
		go s.Serve(d, ConnInfo{Scheme: "https", Remote: anywhere})
		r := begin(t, theirs)
		for i := range 60 {
			_ = end.SetDeadline(time.Time{})
			r.open(uint32(2*i+1), true, get("/")...)
			r.await("the answer", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
			for range 1 + 5*i%74 {
				time.Sleep(time.Second)
				if late := d.Late(); late > 0 {
					t.Errorf("idle for the time %d, with a write deadline that passed %v ago", i, late)
				}
			}
		}
		end.Close()
		close(theirs.out)
	})
}
