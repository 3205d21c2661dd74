package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// connect is the head of a request for a stream of WebSocket.
func connect(more ...string) []string {
	h := get("/socket", append([]string{":protocol: websocket"}, more...)...)
	h[0] = ":method: CONNECT"
	return h
}

// said waits for the next DATA of a stream.
func (r *raw) said(id uint32) (content string, end bool) {
	r.t.Helper()
	f := r.await("DATA", func(f http2.Frame) bool {
		d, ok := f.(*http2.DataFrame)
		return ok && d.StreamID == id
	}).(*http2.DataFrame)
	return string(f.Data()), f.StreamEnded()
}

func (r *raw) head(id uint32) (status string, end bool) {
	r.t.Helper()
	f := r.await("HEADERS", func(f http2.Frame) bool {
		h, ok := f.(*http2.HeadersFrame)
		return ok && h.StreamID == id
	}).(*http2.HeadersFrame)
	return r.field(":status"), f.StreamEnded()
}

// accepting answers an offer of WebSocket as an origin would, and has the tunnel served.
func accepting(serve func(ctx context.Context, req *exchange.Request, t exchange.Tunnel)) handler {
	return func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Method != "GET" || req.Upgrade != "websocket" || req.Body != nil {
			_ = to.Respond(&exchange.Answer{Status: 400})
			return
		}
		fields := new(header.Block)
		_ = fields.Add("Upgrade", "websocket")
		_ = fields.Add("Sec-WebSocket-Accept", accepted(req.Header.Get("Sec-WebSocket-Key")))
		_ = fields.Add("Sec-WebSocket-Protocol", req.Header.Get("Sec-WebSocket-Protocol"))
		t, err := to.(exchange.Upgrader).Upgrade(&exchange.Answer{Status: 101, Header: fields, Length: -1})
		if err != nil {
			return
		}
		serve(ctx, req, t)
		t.Close()
	}
}

// TestAStreamSpeaksWebSocket proves that CONNECT with :protocol reaches the handler as what
// it means over HTTP/1.1, that its answer is that of RFC 8441, and that each side may end
// before the other.
func TestAStreamSpeaksWebSocket(t *testing.T) {
	ended := make(chan error, 2)
	s := &Server{scribble: spoil, Handler: accepting(func(_ context.Context, req *exchange.Request, tun exchange.Tunnel) {
		if req.Target == "/socket" {
			_, err := io.Copy(tun, tun)
			ended <- errors.Join(err, tun.CloseWrite())
		}
	})}
	r := dial(t, listen(t, s, nil))
	r.open(1, false, connect("sec-websocket-protocol: echo", "sec-websocket-version: 13")...)
	if status, end := r.head(1); status != "200" || end || r.field("sec-websocket-protocol") != "echo" || r.field("sec-websocket-accept")+r.field("upgrade")+r.field("content-length") != "" {
		t.Errorf("answer %q, %v", status, r.got)
	}
	for _, word := range []string{"one", "two", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		_ = r.fr.WriteData(1, false, []byte(word))
		if got, end := r.said(1); got != word || end {
			t.Errorf("%q came back as %q", word, got)
		}
	}
	_ = r.fr.WriteData(1, true, nil)
	if rest, end := r.said(1); rest != "" || !end {
		t.Errorf("ends with %q, %t", rest, end)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestTheServerMayEndFirst proves that what the client says after the end of the other side
// is still heard, and that nothing is carried when both have ended.
func TestTheServerMayEndFirst(t *testing.T) {
	heard := make(chan []byte, 1)
	s := &Server{Handler: accepting(func(_ context.Context, _ *exchange.Request, tun exchange.Tunnel) {
		_ = tun.CloseWrite()
		all, err := io.ReadAll(tun)
		if err != nil {
			t.Error(err)
		}
		heard <- all
	})}
	r := dial(t, listen(t, s, nil))
	r.open(1, false, connect()...)
	r.head(1)
	if _, end := r.said(1); !end {
		t.Error("the server has not ended")
	}
	words := bytes.Repeat([]byte("still here "), 1000)
	_ = r.fr.WriteData(1, false, words)
	_ = r.fr.WriteData(1, true, nil)
	if got := <-heard; !bytes.Equal(got, words) {
		t.Errorf("%d bytes were heard of %d", len(got), len(words))
	}
}

// TestATunnelThatIsClosedIsReset proves that each side hears of the other's end that is out
// of order.
func TestATunnelThatIsClosedIsReset(t *testing.T) {
	ended := make(chan error, 1)
	s := &Server{Limits: limits.Config{BodyTimeout: 50 * time.Millisecond, QuietTimeout: 50 * time.Millisecond}, Handler: accepting(func(ctx context.Context, req *exchange.Request, tun exchange.Tunnel) {
		if req.Header.Has("X-Close") {
			return
		}
		_, err := tun.Read(make([]byte, 1))
		<-ctx.Done()
		ended <- err
	})}
	r := dial(t, listen(t, s, nil))
	r.open(1, false, connect("x-close: 1")...)
	if code := r.awaitReset(1); code != http2.ErrCodeCancel {
		t.Errorf("reset with %v", code)
	}
	r.open(3, false, connect()...)
	r.head(3)
	<-time.After(2 * s.Limits.BodyTimeout) // those are for bodies
	_ = r.fr.WriteRSTStream(3, http2.ErrCodeCancel)
	if err := <-ended; !errors.Is(err, errGone) {
		t.Errorf("the tunnel ended with %v", err)
	}
}

// TestWhatIsNoOfferOfWebSocket: RFC 8441 §4, RFC 9113 §8.3.1.
func TestWhatIsNoOfferOfWebSocket(t *testing.T) {
	s := &Server{Handler: accepting(func(context.Context, *exchange.Request, exchange.Tunnel) { t.Error("accepted") })}
	addr := listen(t, s, nil)
	with := func(i int, field string) []string {
		h := connect()
		h[i] = field
		return h
	}
	for name, tc := range map[string]struct {
		head  []string
		end   bool
		reset bool
		want  string
	}{
		"another method":   {with(0, ":method: GET"), false, true, ""},
		"no path":          {append(connect()[:3], ":protocol: websocket"), false, true, ""},
		"no scheme":        {with(1, ":authority: example.com"), false, true, ""},
		"empty":            {with(4, ":protocol: "), false, true, ""},
		"ended":            {connect(), true, true, ""},
		"of a length":      {connect("content-length: 0"), false, true, ""},
		"twice":            {connect(":protocol: websocket"), false, true, ""},
		"another protocol": {with(4, ":protocol: connect-udp"), false, false, "501"},
		"none":             {[]string{":method: CONNECT", ":authority: example.com:443"}, false, false, "405"},
	} {
		r := dial(t, addr)
		r.open(1, tc.end, tc.head...)
		if tc.reset {
			if code := r.awaitReset(1); code != http2.ErrCodeProtocol {
				t.Errorf("%s: reset with %v", name, code)
			}
		} else if status, _ := r.head(1); status != tc.want {
			t.Errorf("%s: %s, want %s", name, status, tc.want)
		}
	}
}

// TestAWrongAcceptIsNone proves that who answers a key that is not ours has no tunnel.
func TestAWrongAcceptIsNone(t *testing.T) {
	s := &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		if _, err := to.(exchange.Upgrader).Upgrade(&exchange.Answer{Status: 101, Header: block("Upgrade: websocket", "Sec-WebSocket-Accept: AAAA"), Length: -1}); err == nil {
			t.Error("accepted")
		}
		_ = to.Respond(&exchange.Answer{Status: 502})
	})}
	r := dial(t, listen(t, s, nil))
	r.open(1, false, connect()...)
	if status, _ := r.head(1); status != "502" {
		t.Errorf("answer %s", status)
	}
}

// TestOnlyAnUpgradeIsSuccess proves that an origin which knows nothing of WebSocket is not
// taken for one that has gone over to it: to CONNECT any 2xx says so (RFC 8441 §5), and a
// script that may not read a page would get it as messages.
func TestOnlyAnUpgradeIsSuccess(t *testing.T) {
	s := &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		a := &exchange.Answer{Status: 200, Header: block("Content-Type: text/html", "Set-Cookie: a=b"), Length: -1}
		switch req.Header.Get("X-Answer") {
		case "bytes":
			a.Bytes, a.Length = []byte("<html>"), 6
		case "stream":
			a.Stream = bytes.NewReader([]byte("<html>"))
		case "none":
			a.Status = 204
		case "missing":
			a.Status, a.Bytes, a.Length = 404, []byte("<html>"), 6
		}
		if err := to.Respond(a); err != nil {
			t.Errorf("%s: %v", req.Header.Get("X-Answer"), err)
		}
	})}
	r := dial(t, listen(t, s, nil))
	for i, answer := range []string{"bytes", "stream", "none"} {
		id := uint32(2*i + 1)
		r.open(id, false, connect("x-answer: "+answer)...)
		if status, end := r.head(id); status != "502" || !end || r.field("content-type")+r.field("set-cookie") != "" {
			t.Errorf("%s: %s, ended %t, %q", answer, status, end, r.got)
		}
	}
	r.open(7, false, connect("x-answer: missing")...)
	if status, _ := r.head(7); status != "404" {
		t.Errorf("what is no success becomes %s", status)
	}
	if content, end := r.said(7); content != "<html>" || !end {
		t.Errorf("with %q", content)
	}
}

// TestTunnelsAreCounted proves that a tunnel counts as a connection while it lasts, and that
// one too many is refused without the client taking it for one.
func TestTunnelsAreCounted(t *testing.T) {
	var places atomic.Int64
	places.Store(1)
	s := &Server{
		Admit: func(addr netip.Addr) (func(), bool) {
			if !addr.IsLoopback() {
				t.Errorf("a tunnel of %s", addr)
			}
			if places.Add(-1) < 0 {
				places.Add(1)
				return nil, false
			}
			return func() { places.Add(1) }, true
		},
		Handler: handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
			fields := block("Upgrade: websocket", "Sec-WebSocket-Accept: "+accepted(req.Header.Get("Sec-WebSocket-Key")))
			tun, err := to.(exchange.Upgrader).Upgrade(&exchange.Answer{Status: 101, Header: fields, Length: -1})
			if errors.Is(err, exchange.ErrNoRoom) {
				_ = to.Respond(&exchange.Answer{Status: 503})
				return
			}
			_, _ = io.Copy(io.Discard, tun)
			tun.Close()
		}),
	}
	r := dial(t, listen(t, s, nil))
	r.open(1, false, connect()...)
	if status, _ := r.head(1); status != "200" {
		t.Errorf("the first: %s", status)
	}
	r.open(3, false, connect()...)
	if status, _ := r.head(3); status != "503" {
		t.Errorf("one too many: %s", status)
	}
	_ = r.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	for places.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	r.open(5, false, connect()...)
	if status, _ := r.head(5); status != "200" {
		t.Errorf("after the end of the first: %s", status)
	}
}

// TestOffersAreAnnounced: RFC 8441 §3.
func TestOffersAreAnnounced(t *testing.T) {
	nc, err := net.Dial("tcp", listen(t, &Server{Handler: accepting(nil)}, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, http2.ClientPreface)
	fr := http2.NewFramer(nc, nc)
	_ = fr.WriteSettings()
	f, err := fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := f.(*http2.SettingsFrame).Value(http2.SettingEnableConnectProtocol); v != 1 || !ok {
		t.Errorf("%v", f)
	}
}

// TestADrainDoesNotFailForTunnels proves that a connection on which there is nothing else
// is cut at the end of a drain without an error.
func TestADrainDoesNotFailForTunnels(t *testing.T) {
	ended := make(chan error, 1)
	s := &Server{Handler: accepting(func(_ context.Context, _ *exchange.Request, tun exchange.Tunnel) {
		_, err := tun.Read(make([]byte, 1))
		ended <- err
	})}
	r := dial(t, listen(t, s, nil))
	r.open(1, false, connect()...)
	r.head(1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the tunnel has not been cut")
	}
}
