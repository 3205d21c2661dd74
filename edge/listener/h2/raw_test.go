package h2

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is a client that says what it is told to, frame by frame.
type raw struct {
	t   testing.TB
	nc  net.Conn
	fr  *http2.Framer
	dec *hpack.Decoder
	enc *hpack.Encoder
	buf bytes.Buffer
	got []hpack.HeaderField
}

// dial begins a connection and reads the server's SETTINGS.
func dial(t testing.TB, addr string, settings ...http2.Setting) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return begin(t, nc, settings...)
}

func begin(t testing.TB, nc net.Conn, settings ...http2.Setting) *raw {
	t.Helper()
	r := &raw{t: t, nc: nc, fr: http2.NewFramer(nc, nc)}
	r.fr.AllowIllegalWrites = true
	r.enc = hpack.NewEncoder(&r.buf)
	r.dec = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { r.got = append(r.got, f) })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := nc.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	_ = r.fr.WriteSettings(settings...)
	if f, err := r.fr.ReadFrame(); err != nil {
		t.Fatal(err)
	} else if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
		t.Fatalf("the first frame is %v", f)
	}
	_ = r.fr.WriteSettingsAck()
	return r
}

// await reads frames until one is as wanted; it has the fields of HEADERS decoded.
func (r *raw) await(what string, want func(http2.Frame) bool) http2.Frame {
	r.t.Helper()
	for {
		f, err := r.fr.ReadFrame()
		if err != nil {
			r.t.Fatalf("waiting for %s: %v", what, err)
		}
		if h, ok := f.(*http2.HeadersFrame); ok {
			r.got = nil
			if _, err := r.dec.Write(h.HeaderBlockFragment()); err != nil {
				r.t.Fatal(err)
			}
		}
		if want(f) {
			return f
		}
	}
}

func (r *raw) awaitReset(id uint32) http2.ErrCode {
	r.t.Helper()
	return r.await("RST_STREAM", func(f http2.Frame) bool {
		s, ok := f.(*http2.RSTStreamFrame)
		return ok && s.StreamID == id
	}).(*http2.RSTStreamFrame).ErrCode
}

func (r *raw) awaitGoAway() *http2.GoAwayFrame {
	r.t.Helper()
	return r.await("GOAWAY", func(f http2.Frame) bool { _, ok := f.(*http2.GoAwayFrame); return ok }).(*http2.GoAwayFrame)
}

// field is a field of the head that was read last.
func (r *raw) field(name string) string {
	for _, f := range r.got {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// block encodes fields, "name: value".
func (r *raw) block(fields ...string) []byte {
	r.buf.Reset()
	for _, f := range fields {
		i := strings.Index(f[1:], ":") + 1
		_ = r.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: strings.TrimPrefix(f[i+1:], " ")})
	}
	return r.buf.Bytes()
}

// get is the head of a plain request.
func get(path string, more ...string) []string {
	return append([]string{":method: GET", ":scheme: http", ":authority: example.com", ":path: " + path}, more...)
}

func post(path string, more ...string) []string {
	h := get(path, more...)
	h[0] = ":method: POST"
	return h
}

// open sends a head; an error shows when something is awaited.
func (r *raw) open(id uint32, end bool, fields ...string) {
	_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(fields...), EndStream: end, EndHeaders: true})
}
