package h2

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// tally counts what was cut off.
type tally [64]atomic.Int64

func (c *tally) limited(why limits.Reason) { c[why].Add(1) }

// origin is a handler whose requests go on to an origin, which goes on with them
// whether the client is there or not.
type origin struct {
	begun, running, most atomic.Int64
	release              chan struct{} // nil: the handler ends with its client
}

func (o *origin) Serve(ctx context.Context, _ *exchange.Request, to exchange.Responder) {
	o.begun.Add(1)
	defer o.running.Add(-1)
	for now := o.running.Add(1); ; {
		if most := o.most.Load(); now <= most || o.most.CompareAndSwap(most, now) {
			break
		}
	}
	select {
	case <-ctx.Done():
		if o.release != nil {
			<-o.release
		}
	case <-o.release:
	}
	_ = to.Respond(&exchange.Answer{Status: 204})
}

// TestRapidReset: of 5,000 streams that a client opens and resets at once, whichever way
// it sends them, few reach the origin, and it is sent away with the 200th reset.
func TestRapidReset(t *testing.T) {
	for _, tc := range []struct {
		name  string
		batch int // frames in one write
	}{{"one by one", 1}, {"in pairs", 2}, {"in bulk", 10_000}} {
		t.Run(tc.name, func(t *testing.T) {
			o, cut := new(origin), new(tally)
			r := dial(t, listen(t, &Server{Handler: o, Limited: cut.limited}, nil))
			go func() {
				buf := new(frames)
				fr := http2.NewFramer(buf, nil)
				n := 0
				flush := func() bool {
					if n++; n%tc.batch != 0 {
						return true
					}
					_, err := r.nc.Write(buf.b)
					buf.b = buf.b[:0]
					return err == nil
				}
				for i := range uint32(5000) {
					id := 2*i + 1
					_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(get("/")...), EndStream: true, EndHeaders: true})
					if !flush() {
						return
					}
					_ = fr.WriteRSTStream(id, http2.ErrCodeCancel)
					if !flush() {
						return
					}
				}
			}()
			f := r.awaitGoAway()
			if f.ErrCode != http2.ErrCodeEnhanceYourCalm || f.LastStreamID > 2*200-1 {
				t.Errorf("GOAWAY with %v after stream %d", f.ErrCode, f.LastStreamID)
			}
			if n := o.begun.Load(); n > 32 {
				t.Errorf("%d requests reached the origin", n)
			} else {
				t.Logf("%d requests reached the origin", n)
			}
			if cut[limits.Resets].Load() != 1 {
				t.Error("not counted")
			}
		})
	}
}

// TestPatientReset: nor do many when the client waits for their handlers to begin before
// it resets them, although these end with their streams.
func TestPatientReset(t *testing.T) {
	o := new(origin)
	r := dial(t, listen(t, &Server{Handler: o}, nil))
	went := make(chan struct{})
	go func() {
		defer close(went)
		id := uint32(1)
		for range 10 {
			first := id
			before := o.begun.Load()
			for range 50 {
				r.open(id, true, get("/")...)
				id += 2
			}
			for until := time.Now().Add(20 * time.Millisecond); o.begun.Load() < before+50 && time.Now().Before(until); {
				time.Sleep(time.Millisecond)
			}
			for ; first < id; first += 2 {
				if r.fr.WriteRSTStream(first, http2.ErrCodeCancel) != nil {
					return
				}
			}
		}
	}()
	if f := r.awaitGoAway(); f.ErrCode != http2.ErrCodeEnhanceYourCalm || f.LastStreamID > 2*250 {
		t.Errorf("GOAWAY with %v after stream %d", f.ErrCode, f.LastStreamID)
	}
	if n := o.begun.Load(); n > 32 {
		t.Errorf("%d requests reached the origin", n)
	}
	r.nc.Close()
	<-went
}

type frames struct{ b []byte }

func (f *frames) Write(p []byte) (int, error) { f.b = append(f.b, p...); return len(p), nil }

// TestResetsThatTheServerIsMadeToSend count as those of the client (CVE-2025-8671).
func TestResetsThatTheServerIsMadeToSend(t *testing.T) {
	for name, provoke := range map[string]func(r *raw, id uint32){
		"WINDOW_UPDATE of 0":       func(r *raw, id uint32) { _ = r.fr.WriteWindowUpdate(id, 0) },
		"WINDOW_UPDATE overflow":   func(r *raw, id uint32) { _ = r.fr.WriteWindowUpdate(id, maxWindow) },
		"DATA after the end":       func(r *raw, id uint32) { _ = r.fr.WriteData(id, false, []byte("x")) },
		"HEADERS without the end":  func(r *raw, id uint32) { r.open(id+2, true, get("/")[1:]...) },
		"PRIORITY on itself":       func(r *raw, id uint32) { _ = r.fr.WritePriority(id, http2.PriorityParam{StreamDep: id}) },
		"PRIORITY of a wrong size": func(r *raw, id uint32) { _ = r.fr.WriteRawFrame(http2.FramePriority, 0, id, []byte("x")) },
		"malformed request":        func(r *raw, id uint32) { r.open(id+2, true, get("/", "Upper: x")...) },
	} {
		t.Run(name, func(t *testing.T) {
			o, cut := new(origin), new(tally)
			r := dial(t, listen(t, &Server{Handler: o, Limited: cut.limited}, nil))
			go func() {
				for i := range uint32(1000) {
					r.open(4*i+1, true, get("/")...)
					provoke(r, 4*i+1)
				}
			}()
			if f := r.awaitGoAway(); f.ErrCode != http2.ErrCodeEnhanceYourCalm || f.LastStreamID > 4*210 {
				t.Errorf("GOAWAY with %v after stream %d", f.ErrCode, f.LastStreamID)
			}
			if n := o.begun.Load(); n > 128 || strings.HasPrefix(name, "W") && n > 32 {
				t.Errorf("%d requests reached the origin", n)
			}
			if cut[limits.Resets].Load() != 1 {
				t.Error("not counted")
			}
		})
	}
}

// TestFloods: frames that cost us something and ask for nothing end in GOAWAY.
func TestFloods(t *testing.T) {
	for name, flood := range map[string]func(r *raw, i uint32){
		"PING":            func(r *raw, i uint32) { _ = r.fr.WritePing(false, [8]byte{byte(i)}) },
		"PING ACK":        func(r *raw, i uint32) { _ = r.fr.WritePing(true, [8]byte{byte(i)}) },
		"SETTINGS":        func(r *raw, i uint32) { _ = r.fr.WriteSettings() },
		"SETTINGS ACK":    func(r *raw, i uint32) { _ = r.fr.WriteSettingsAck() },
		"PRIORITY":        func(r *raw, i uint32) { _ = r.fr.WritePriority(2*i+3, http2.PriorityParam{}) },
		"PRIORITY_UPDATE": func(r *raw, i uint32) { _ = r.fr.WritePriorityUpdate(1, "u=1") },
		"WINDOW_UPDATE":   func(r *raw, i uint32) { _ = r.fr.WriteWindowUpdate(0, 1) },
		"unknown":         func(r *raw, i uint32) { _ = r.fr.WriteRawFrame(0xfe, 0, 0, nil) },
		"empty DATA": func(r *raw, i uint32) {
			if i == 0 {
				r.open(1, false, post("/")...)
			}
			_ = r.fr.WriteData(1, false, nil)
		},
		"padding": func(r *raw, i uint32) {
			if i == 0 {
				r.open(1, false, post("/")...)
			}
			_ = r.fr.WriteDataPadded(1, false, nil, []byte{0})
		},
		"heads after a reset": func(r *raw, i uint32) {
			if i == 0 {
				r.open(1, false, post("/", "content-length: 1")...)
				_ = r.fr.WriteData(1, false, []byte("too much"))
			}
			r.open(1, true, "x-sum: 1")
		},
		"heads that are refused": func(r *raw, i uint32) { r.open(2*i+1, true, ":method: CONNECT", ":authority: a:1") },
		"CONTINUATION": func(r *raw, i uint32) {
			if i == 0 {
				_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(get("/")...), EndStream: true})
			}
			_ = r.fr.WriteContinuation(1, false, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cut := new(tally)
			r := dial(t, listen(t, &Server{Handler: new(origin), Limited: cut.limited}, nil))
			go func() {
				for i := range uint32(3000) {
					flood(r, i)
				}
			}()
			if f := r.awaitGoAway(); f.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("GOAWAY with %v", f.ErrCode)
			}
			if cut[limits.Controls].Load()+cut[limits.HeaderBytes].Load() != 1 {
				t.Error("not counted")
			}
		})
	}
}

// TestHeadsThatAreTooLarge are answered with 431 where the connection can go on, however
// small they were on the wire, and end it where it cannot.
func TestHeadsThatAreTooLarge(t *testing.T) {
	cut := new(tally)
	h := handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 204})
	})
	addr := listen(t, &Server{Handler: h, Limited: cut.limited}, nil)
	status := func(r *raw, id uint32) string {
		r.await("HEADERS", func(f http2.Frame) bool { h, ok := f.(*http2.HeadersFrame); return ok && h.StreamID == id })
		return r.field(":status")
	}
	t.Run("bomb", func(t *testing.T) { // one field of the table, thousands of times
		r := dial(t, addr)
		r.open(1, true, get("/", "x-bomb: "+strings.Repeat("x", 3000))...)
		if got := status(r, 1); got != "204" {
			t.Fatal(got)
		}
		fields := get("/")
		for range 10_000 {
			fields = append(fields, "x-bomb: "+strings.Repeat("x", 3000))
		}
		r.open(3, true, fields...)
		if got := status(r, 3); got != "431" {
			t.Errorf("status %s", got)
		}
		r.open(5, true, get("/")...) // the tables are still the same
		if got := status(r, 5); got != "204" {
			t.Errorf("status %s", got)
		}
	})
	t.Run("many fields", func(t *testing.T) {
		r := dial(t, addr)
		fields := get("/")
		for i := range 300 {
			fields = append(fields, fmt.Sprintf("x-%d: y", i))
		}
		r.open(1, true, fields...)
		if got := status(r, 1); got != "431" {
			t.Errorf("status %s", got)
		}
	})
	t.Run("frames without end", func(t *testing.T) {
		r := dial(t, addr)
		go func() {
			_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(get("/")...)})
			for range 100 {
				if r.fr.WriteContinuation(1, false, r.block("x: "+strings.Repeat("~", 10_000))) != nil {
					return
				}
			}
		}()
		if f := r.awaitGoAway(); f.ErrCode != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("GOAWAY with %v", f.ErrCode)
		}
	})
	if cut[limits.HeaderBytes].Load() != 2 || cut[limits.HeaderFields].Load() != 1 {
		t.Error("not counted")
	}
}

// TestStreamsAtOnce: streams beyond those allowed are refused, and a stream counts until
// its handler has ended, even if the client has reset it.
func TestStreamsAtOnce(t *testing.T) {
	o, cut := &origin{release: make(chan struct{})}, new(tally)
	addr := listen(t, &Server{Handler: o, Limits: limits.Config{Streams: 10}, Limited: cut.limited}, nil)
	r := dial(t, addr)
	for i := range uint32(10) {
		r.open(2*i+1, true, get("/")...)
	}
	for o.running.Load() < 10 {
		time.Sleep(time.Millisecond)
	}
	r.open(21, true, get("/")...)
	if code := r.awaitReset(21); code != http2.ErrCodeRefusedStream {
		t.Errorf("stream 11 was reset with %v", code)
	}
	_ = r.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	r.open(23, true, get("/")...)
	if code := r.awaitReset(23); code != http2.ErrCodeRefusedStream {
		t.Errorf("a stream was opened in place of one whose handler runs: %v", code)
	}
	close(o.release)
	for o.running.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	r.open(25, true, get("/")...)
	r.await("HEADERS", func(f http2.Frame) bool { h, ok := f.(*http2.HeadersFrame); return ok && h.StreamID == 25 })
	if cut[limits.Streams].Load() != 2 || o.most.Load() > 10 {
		t.Errorf("%d refused, %d handlers at once", cut[limits.Streams].Load(), o.most.Load())
	}
}

// TestTheNextStreamNeedNotWaitForTheHandler of one that is answered: the client may open
// it as soon as it has seen the end, and as many handlers run as ever.
func TestTheNextStreamNeedNotWaitForTheHandler(t *testing.T) {
	release := make(chan struct{})
	var running, most atomic.Int64
	addr := listen(t, &Server{Limits: limits.Config{Streams: 4}, Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		_ = to.Respond(&exchange.Answer{Status: 204})
		<-release // it has something to do still
	})}, nil)
	r := dial(t, addr)
	ends := func(f http2.Frame) bool { h, ok := f.(*http2.HeadersFrame); return ok && h.StreamEnded() }
	for i := range uint32(4) {
		r.open(2*i+1, true, get("/")...)
		r.await("the end", ends)
	}
	for i := range uint32(4) {
		r.open(2*i+9, true, get("/")...)
	}
	r.open(17, true, get("/")...) // there is an end to it
	if code := r.awaitReset(17); code != http2.ErrCodeRefusedStream {
		t.Errorf("reset with %v", code)
	}
	close(release)
	for range 4 {
		r.await("the end", ends)
	}
	if most.Load() > 4 {
		t.Errorf("%d handlers ran at once", most.Load())
	}
}

// TestOrdinaryClientsGetAllTheirStreams, although a connection begins with few.
func TestOrdinaryClientsGetAllTheirStreams(t *testing.T) {
	o := &origin{release: make(chan struct{})}
	close(o.release)
	addr := listen(t, &Server{Handler: o}, nil)
	r := dial(t, addr)
	for i := range uint32(128) {
		r.open(2*i+1, true, get("/")...)
	}
	for ended := 0; ended < 128; ended++ {
		r.await("an answer", func(f http2.Frame) bool { _, ok := f.(*http2.HeadersFrame); return ok })
	}
	o.release = make(chan struct{}) // nobody runs
	for i := range uint32(128) {
		r.open(2*(i+128)+1, true, get("/")...)
	}
	for o.running.Load() < 100 {
		time.Sleep(time.Millisecond)
	}
	close(o.release)
}

// TestTimes: what does not come on is cut, each in its time, and counted.
func TestTimes(t *testing.T) {
	short := 200 * time.Millisecond
	big := exchange.Answer{Status: 200, Bytes: make([]byte, 1<<20), Length: 1 << 20}
	h := handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Body != nil {
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				_ = to.Respond(&exchange.Answer{Status: 408})
				return
			}
		}
		a := big
		_ = to.Respond(&a)
	})
	for _, tc := range []struct {
		name   string
		limits limits.Config
		why    limits.Reason
		do     func(r *raw)
		goAway bool
	}{
		{"first head", limits.Config{HeadTimeout: short}, limits.None, func(*raw) {}, true},
		{"half a frame", limits.Config{HeadTimeout: short}, limits.HeadTimeout, func(r *raw) { _, _ = r.nc.Write([]byte{0, 0, 8, 6}) }, true},
		{"half a head", limits.Config{HeadTimeout: short}, limits.HeadTimeout, func(r *raw) {
			_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(get("/")...), EndStream: true})
		}, true},
		{"idle", limits.Config{IdleTimeout: short}, limits.None, func(r *raw) {
			r.open(1, true, ":method: HEAD", ":scheme: http", ":authority: a", ":path: /")
		}, true},
		{"connection", limits.Config{ConnTimeout: short}, limits.ConnTimeout, func(*raw) {}, true},
		{"window that stays shut", limits.Config{WriteTimeout: short}, limits.WriteTimeout, func(r *raw) {
			r.open(1, true, get("/")...)
			if code := r.awaitReset(1); code != http2.ErrCodeCancel {
				t.Errorf("reset with %v", code)
			}
		}, false},
		{"body that stalls", limits.Config{BodyTimeout: short}, limits.BodyTimeout, func(r *raw) {
			r.open(1, false, post("/")...)
			_ = r.fr.WriteData(1, false, []byte("some"))
			r.await("408", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders && r.field(":status") == "408" })
			if code := r.awaitReset(1); code != http2.ErrCodeNo {
				t.Errorf("reset with %v", code)
			}
		}, false},
		{"body that is too large", limits.Config{BodyBytes: 10}, limits.BodyBytes, func(r *raw) {
			r.open(1, false, post("/")...)
			_ = r.fr.WriteData(1, false, []byte("more than allowed"))
			r.await("408", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders && r.field(":status") == "408" })
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cut := new(tally)
			r := dial(t, listen(t, &Server{Handler: h, Limits: tc.limits, Limited: cut.limited}, nil))
			r.t = t
			tc.do(r)
			if tc.goAway {
				if f := r.awaitGoAway(); f.ErrCode != http2.ErrCodeNo {
					t.Errorf("GOAWAY with %v", f.ErrCode)
				}
			}
			if tc.why != limits.None && cut[tc.why].Load() != 1 {
				t.Errorf("%v was counted %d times", tc.why, cut[tc.why].Load())
			}
		})
	}
}

// TestMalformedRequests are errors of their stream alone (RFC 9113 §8.1.1), and never
// reach the handler.
func TestMalformedRequests(t *testing.T) {
	addr := listen(t, &Server{Handler: handler(func(context.Context, *exchange.Request, exchange.Responder) {
		t.Error("reached the handler")
	})}, nil)
	for name, fields := range map[string][]string{
		"upper case":          get("/", "Accept: x"),
		"connection":          get("/", "connection: close"),
		"transfer-encoding":   get("/", "transfer-encoding: chunked"),
		"te":                  get("/", "te: gzip"),
		"no method":           get("/")[1:],
		"two methods":         append([]string{":method: GET"}, get("/")...),
		"no path":             get("/")[:3],
		"empty path":          get(""),
		"relative path":       get("a"),
		"space in path":       get("/a b"),
		"fragment":            get("/a#b"),
		"bad escape":          get("/%zz"),
		"no authority":        {":method: GET", ":scheme: http", ":path: /"},
		"other host":          get("/", "host: example.org"),
		"unknown pseudo":      append([]string{":foo: x"}, get("/")...),
		"protocol":            append([]string{":protocol: websocket"}, get("/")...),
		"pseudo after others": append(get("/"), "a: b", ":authority: x"),
		"scheme":              {":method: GET", ":scheme: ftp", ":authority: a", ":path: /"},
		"control in a value":  get("/", "a: b\x01"),
		"line in a value":     get("/", "a: b\r\nc: d"),
		"space in a name":     get("/", "a b: c"),
		"bad method":          append([]string{":method: G T"}, get("/")[1:]...),
		"length without body": get("/", "content-length: 5"),
		"two lengths":         get("/", "content-length: 0", "content-length: 1"),
		"signed length":       get("/", "content-length: +0"),
	} {
		r := dial(t, addr)
		r.open(1, true, fields...)
		if code := r.awaitReset(1); code != http2.ErrCodeProtocol {
			t.Errorf("%s: reset with %v", name, code)
		}
	}
	for name, body := range map[string][]string{"too short": {"1234"}, "too long": {"123456"}, "too long, in two": {"12345", "6"}} {
		r := dial(t, listen(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
			if _, err := io.Copy(io.Discard, req.Body); err == nil {
				t.Error("the body was taken for whole")
			}
		})}, nil))
		r.open(1, false, post("/", "content-length: 5")...)
		for i, p := range body {
			_ = r.fr.WriteData(1, i == len(body)-1, []byte(p))
		}
		if code := r.awaitReset(1); code != http2.ErrCodeProtocol {
			t.Errorf("body %s: reset with %v", name, code)
		}
	}
}

// TestRequestsAreReadAsSent.
func TestRequestsAreReadAsSent(t *testing.T) {
	var mu sync.Mutex
	var got string
	addr := listen(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		mu.Lock()
		got = fmt.Sprintf("%s %s|%s|%s %s %q", req.Method, req.Host, req.Port, req.Target, req.Proto, req.Header.Wire())
		mu.Unlock()
		_ = to.Respond(&exchange.Answer{Status: 204})
	})}, nil)
	for _, tc := range []struct {
		fields []string
		want   string
	}{
		{[]string{":method: GET", ":scheme: https", ":authority: Example.COM.:8443", ":path: /a%2f?b", "x: y"}, `GET example.com|8443|/a%2f?b HTTP/2.0 "x: y\r\n"`},
		{[]string{":method: GET", ":scheme: http", ":path: /", "host: [2001:DB8::1]:80"}, `GET 2001:db8::1|80|/ HTTP/2.0 ""`},
		{get("/", "host: EXAMPLE.com", "cookie: a=b", "x: y", "cookie: c=d"), `GET example.com||/ HTTP/2.0 "x: y\r\ncookie: a=b; c=d\r\n"`},
	} {
		r := dial(t, addr)
		r.open(1, true, tc.fields...)
		r.await("HEADERS", func(f http2.Frame) bool { _, ok := f.(*http2.HeadersFrame); return ok })
		mu.Lock()
		if got != tc.want {
			t.Errorf("%q was read as\n%s, want\n%s", tc.fields, got, tc.want)
		}
		mu.Unlock()
	}
}
