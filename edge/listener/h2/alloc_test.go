package h2

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"freshet/edge/exchange"
)

// endless is a connection whose client sends one head again and again, each time on the
// next stream, ten to a read, and reads whatever comes.
type endless struct {
	net.Conn
	first, again []byte
	id           uint32
	written      int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.first != nil {
		n := copy(p, e.first)
		e.first = e.first[n:]
		if len(e.first) == 0 {
			e.first = nil
		}
		return n, nil
	}
	n := 0
	for range 10 {
		if n+len(e.again) > len(p) {
			break
		}
		e.id += 2
		copy(p[n:], e.again)
		binary.BigEndian.PutUint32(p[n+5:], e.id)
		n += len(e.again)
	}
	return n, nil
}

func (e *endless) Write(p []byte) (int, error)      { e.written += len(p); return len(p), nil }
func (e *endless) SetReadDeadline(time.Time) error  { return nil }
func (e *endless) SetWriteDeadline(time.Time) error { return nil }
func (e *endless) Close() error                     { return io.ErrClosedPipe }

// newEndless makes a connection which has read the first of those heads, which may have
// literals that the others have in the table.
func newEndless(t testing.TB, h exchange.Handler, fields ...string) *conn {
	b := new(frames)
	r := &raw{t: t, fr: http2.NewFramer(b, nil)}
	r.enc = hpack.NewEncoder(&r.buf)
	b.b = append(b.b, http2.ClientPreface...)
	_ = r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	for i := range 20 {
		_ = r.fr.WriteWindowUpdate(0, 1<<26)
		r.open(uint32(2*i+1), true, fields...)
	}
	first := b.b
	b.b = nil
	r.open(1, true, fields...)
	c := serverOf(h).newConn(&endless{first: first, again: b.b, id: 39}, ConnInfo{Scheme: "https", Remote: anywhere})
	if err := c.hello(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := c.frame(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestAHitAllocatesNothing: neither reading the frames, nor the head, nor answering,
// once the client has its fields in the table. What allocates else: each literal of a
// head is made a string by x/net's decoder (one :path that is new, say), control frames
// other than WINDOW_UPDATE and RST_STREAM by its Framer, and an authority with an IPv6
// address or capitals.
func TestAHitAllocatesNothing(t *testing.T) {
	miss := handler(func(context.Context, *exchange.Request, exchange.Responder) { t.Error("not at once") })
	for name, fields := range map[string][]string{
		"plain": get("/hit"),
		"browser": get("/hit", "user-agent: Mozilla/5.0 (X11; Linux x86_64)", "accept: text/html", "accept-encoding: gzip, deflate, br, zstd",
			"accept-language: en", "cookie: a=b", "cookie: c=d", "priority: u=1, i", "sec-fetch-mode: navigate"),
	} {
		c := newEndless(t, everything{&quick{miss, stored()}}, fields...)
		allocs := testing.AllocsPerRun(2000, func() {
			if err := c.frame(); err != nil {
				t.Error(err)
			}
			c.mu.window = maxWindow / 2
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
		if n := c.nc.(*endless).written; n < 2000*1024 {
			t.Errorf("%s: %d bytes were answered", name, n)
		}
	}
}

// BenchmarkHit is the loop without TLS and sockets.
func BenchmarkHit(b *testing.B) {
	miss := handler(func(context.Context, *exchange.Request, exchange.Responder) { b.Error("not at once") })
	c := newEndless(b, everything{&quick{miss, stored()}}, get("/hit", "user-agent: h2load nghttp2/1.52.0")...)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.frame(); err != nil {
			b.Fatal(err)
		}
		c.mu.window = maxWindow / 2
	}
}

func serverOf(h exchange.Handler) *Server {
	s := &Server{Handler: h}
	s.init()
	return s
}
