package h2

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// FuzzConn: whatever a client sends after the preface, the loop ends, nothing panics,
// what it answers is frames, and never are there more handlers than allowed.
func FuzzConn(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed, byte(0))
		f.Add(seed, byte(7))
	}
	f.Fuzz(func(t *testing.T, input []byte, piece byte) {
		if len(input) <= 1<<16 {
			synctest.Test(t, func(t *testing.T) { converse(t, input, int(piece)) })
		}
	})
}

// converse has a client send input, in pieces of that size if it is not 0, and, if it is
// odd, wait then for what the server makes of that.
func converse(t *testing.T, input []byte, piece int) {
	var running atomic.Int64
	h := atHand{func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if running.Add(1) > 6 { // five streams and the one that is read
			t.Error("too many handlers")
		}
		defer running.Add(-1)
		if req.Host == "" || req.Target == "" || req.Target[0] != '/' || req.Method == "" {
			t.Errorf("a request of %q %q %q", req.Method, req.Host, req.Target)
		}
		if req.Upgrade != "" {
			echoFor(10*time.Minute, req, to)
			return
		}
		if req.Body != nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: make([]byte, 100), Length: 100})
	}}
	s := &Server{Handler: h, Log: quiet, scribble: spoil, Limits: limits.Config{Streams: 5}}
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(theirs, ConnInfo{Scheme: "http", Remote: anywhere}) }()
	read := make(chan struct{})
	go func() {
		defer close(read)
		fr := http2.NewFramer(nil, ours)
		for {
			if _, err := fr.ReadFrame(); err != nil {
				if _, bad := err.(http2.ConnectionError); bad {
					t.Errorf("the answer is malformed: %v", err)
				}
				return
			}
		}
	}()
	if _, err := io.WriteString(ours, http2.ClientPreface); err == nil {
		size := piece
		if size == 0 {
			size = len(input) + 1
		}
		for len(input) > 0 {
			n, err := ours.Write(input[:min(size, len(input))])
			if err != nil {
				break
			}
			input = input[n:]
		}
	}
	if piece%2 == 1 {
		time.Sleep(time.Hour) // in the bubble: everything that has a time is over
		select {
		case <-done:
		default:
			t.Error("the loop does not end")
		}
	}
	ours.Close()
	<-done
	<-read
}

// echoFor accepts an offer and says what it hears, for a time.
func echoFor(d time.Duration, req *exchange.Request, to exchange.Responder) {
	t, err := to.(exchange.Upgrader).Upgrade(&exchange.Answer{
		Status: 101, Header: block("Sec-WebSocket-Accept: " + accepted(req.Header.Get("Sec-WebSocket-Key"))), Length: -1,
	})
	if err != nil {
		return
	}
	timer := time.AfterFunc(d, func() { t.Close() })
	defer timer.Stop()
	if _, err := io.Copy(t, t); err == nil {
		_ = t.CloseWrite()
	}
}

// seeds are conversations that reach far into the loop.
func seeds() [][]byte {
	var all [][]byte
	add := func(say func(r *raw)) {
		b := new(frames)
		r := &raw{fr: http2.NewFramer(b, nil)}
		r.fr.AllowIllegalWrites = true
		r.enc = hpack.NewEncoder(&r.buf)
		_ = r.fr.WriteSettings()
		say(r)
		all = append(all, b.b)
	}
	add(func(r *raw) { r.open(1, true, get("/hit/10/1/bytes")...) })
	add(func(r *raw) {
		r.open(1, true, get("/10/1/slow", "priority: u=1, i", "cookie: a", "cookie: b")...)
		_ = r.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		r.open(3, true, get("/")...)
	})
	add(func(r *raw) {
		r.open(1, false, post("/", "content-length: 8", "expect: 100-continue")...)
		_ = r.fr.WriteDataPadded(1, false, []byte("some"), make([]byte, 9))
		_ = r.fr.WriteData(1, false, []byte("more"))
		_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block("x: y"), EndStream: true, EndHeaders: true})
	})
	add(func(r *raw) {
		_ = r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		r.open(1, true, get("/")...)
		_ = r.fr.WriteWindowUpdate(1, 1000)
		_ = r.fr.WriteWindowUpdate(0, 1000)
		_ = r.fr.WritePing(false, [8]byte{1})
		_ = r.fr.WritePriorityUpdate(3, "u=0")
		_ = r.fr.WritePriority(5, http2.PriorityParam{StreamDep: 1})
		_ = r.fr.WriteGoAway(0, 0, nil)
	})
	add(func(r *raw) {
		r.open(1, false, connect("sec-websocket-version: 13")...)
		_ = r.fr.WriteData(1, false, []byte("hello"))
		r.open(3, false, connect()...)
		_ = r.fr.WriteRSTStream(3, http2.ErrCodeCancel)
		_ = r.fr.WriteData(1, true, []byte("goodbye"))
	})
	add(func(r *raw) {
		b := r.block(get("/")...)
		_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:3], EndStream: true, PadLength: 3, Priority: http2.PriorityParam{StreamDep: 3}})
		_ = r.fr.WriteContinuation(1, false, b[3:5])
		_ = r.fr.WriteContinuation(1, true, b[5:])
	})
	return all
}

// FuzzPriority: a value is read as something that there is.
func FuzzPriority(f *testing.F) {
	for _, s := range []string{"u=1, i", "i=?0,u=7", "u=8", "", ",;=", "i;a=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p := parsePriority(s); p.urgency > 7 {
			t.Errorf("%q has urgency %d", s, p.urgency)
		}
	})
}
