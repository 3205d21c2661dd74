package h3

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/qpack"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// decode reads a section with ours.
func decode(b []byte) (fields []string, err error) {
	var a arena
	s := section{rest: b, arena: &a}
	if err := s.prefix(); err != nil {
		return nil, err
	}
	for {
		name, value, ok, err := s.next()
		if err != nil || !ok {
			return fields, err
		}
		fields = append(fields, name+": "+value)
	}
}

// decodeTheirs reads a section with quic-go's.
func decodeTheirs(b []byte) (fields []string, err error) {
	next := qpack.NewDecoder().Decode(b)
	for {
		f, err := next()
		if err == io.EOF {
			return fields, nil
		}
		if err != nil {
			return nil, err
		}
		fields = append(fields, f.Name+": "+f.Value)
	}
}

func TestFieldsAreEncodedForOthersToRead(t *testing.T) {
	h := block("Content-Type: text/html; charset=utf-8", "content-type: text/x", "ETAG: \"1\"", "X-Own: a", "x-empty: ", "Cache-Control: no-cache",
		"Set-Cookie: a=b", "Age: 0", "Vary: origin", "Access-Control-Allow-Headers: *", "x-long: "+strings.Repeat("y", 1000))
	var want []string
	for name, value := range h.All() {
		want = append(want, strings.ToLower(name)+": "+value)
	}
	for _, status := range []int{100, 103, 200, 204, 206, 302, 304, 404, 425, 503, 599} {
		b := appendBlock(appendStatus(appendPrefix(nil), status), h)
		for who, read := range map[string]func([]byte) ([]string, error){"ours": decode, "theirs": decodeTheirs} {
			got, err := read(b)
			if err != nil || !slices.Equal(got[1:], want) || got[0] != ":status: "+string([]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)}) {
				t.Errorf("%s, %d: %q, %v", who, status, got, err)
			}
		}
	}
}

// The static table is that of the RFC as another implementation has it.
func TestStaticTable(t *testing.T) {
	for i, p := range static {
		b := appendInt(appendPrefix(nil), 0xc0, 6, uint64(i))
		got, err := decodeTheirs(b)
		if err != nil || len(got) != 1 || got[0] != p.name+": "+p.value {
			t.Errorf("entry %d is %q: %q, %v", i, p, got, err)
		}
		if found, ok := lookup(strings.ToUpper(p.name)); !ok || static[found].name != p.name || found > i {
			t.Errorf("%s is found at %d", p.name, found)
		}
		if one := appendField(nil, p.name, p.value); len(one) > 2 {
			t.Errorf("%q is not encoded by its index: %x", p, one)
		}
	}
}

func TestForbiddenFieldsAreLeftOut(t *testing.T) {
	b := appendBlock(nil, block("Connection: close", "Keep-Alive: 1", "Proxy-Connection: x", "Transfer-Encoding: chunked", "Upgrade: h2c"))
	if len(b) > 0 {
		t.Errorf("%q", b)
	}
}

func TestLargeHeads(t *testing.T) {
	for _, n := range []int{10, 1 << 14, 40_000} {
		b := appendFields([]byte("before"), 200, block("x: "+strings.Repeat("y", n)), nil, -1)
		kind, length, at := parseHead(b[6:])
		if string(b[:6]) != "before" || kind != frameHeaders || int(length) != len(b)-6-at {
			t.Errorf("%d: frame %d of %d bytes, %d are there", n, kind, length, len(b)-6-at)
		}
		if fields, err := decodeTheirs(b[6+at:]); err != nil || len(fields) != 2 || len(fields[1]) != n+3 {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// FuzzSection: ours and another implementation read the same of any bytes, or neither
// reads them. What ours is stricter in is told by its error.
func FuzzSection(f *testing.F) {
	enc := new(bytes.Buffer)
	w := qpack.NewEncoder(enc)
	for _, p := range []pair{{":method", "GET"}, {":path", "/a/b?c"}, {"user-agent", "someone/1.0"}, {"x-own", "Üx"}, {"cookie", strings.Repeat("c", 300)}} {
		_ = w.WriteField(qpack.HeaderField{Name: p.name, Value: p.value})
	}
	f.Add(enc.Bytes())
	for _, s := range []string{"", "\x00", "\x00\x00", "\x00\x00\xd1\xc1", "\x00\x00\xff\x80\x80\x80\x80\x80\x01", "\x00\x00\x2f\xff\xff\xff\xff", "\x00\x00\x51\x85aaaaa", "\x00\x7f\x01\xd1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decode(b)
		want, wantErr := decodeTheirs(b)
		if err == nil && wantErr == nil && !slices.Equal(got, want) {
			t.Fatalf("%q, others read %q", got, want)
		}
		// Ours takes any base, since nothing refers to it, and no integer beyond 32 bits.
		if err == nil && wantErr != nil && b[1]&0x7f == 0 {
			t.Fatalf("%q, others say %v", got, wantErr)
		}
	})
}

// FuzzHead: whatever fields come, what is accepted is a request that can be sent on.
func FuzzHead(f *testing.F) {
	f.Add(":method\x00GET\x00:scheme\x00https\x00:authority\x00a\x00:path\x00/\x00cookie\x00a=1\x00cookie\x00b=2", true)
	f.Add(":method\x00CONNECT\x00:authority\x00a:1", true)
	f.Add(":method\x00POST\x00:scheme\x00https\x00:path\x00/\x00host\x00[::1]:8\x00content-length\x005\x00te\x00trailers", false)
	most := limits.Config{}.WithDefaults()
	f.Fuzz(func(t *testing.T, text string, ended bool) {
		parts := strings.Split(text, "\x00")
		var h head
		var fields header.Block
		h.begin()
		for i := 0; i+1 < len(parts); i += 2 {
			h.add(&fields, parts[i], parts[i+1], &most)
		}
		h.finish(&fields, ended)
		if h.malformed != "" || h.excess != limits.None || h.method == "CONNECT" {
			return
		}
		if h.method == "" || h.path == "" || h.scheme != "https" && h.scheme != "http" {
			t.Fatalf("%+v", h)
		}
		for name, value := range fields.All() {
			if name != strings.ToLower(name) || strings.ContainsAny(value, "\r\n\x00") || forbidden(name) || name[0] == ':' {
				t.Fatalf("%q: %q", name, value)
			}
		}
		if fields.Has("content-length") || fields.Has("host") || ended && h.length > 0 {
			t.Fatalf("%+v", h)
		}
		if host, _, ok := exchange.SplitHost(h.authority); ok && (host != strings.ToLower(host) || strings.ContainsAny(host, "/?#@ \t[]")) {
			t.Fatalf("host %q", host)
		}
	})
}

func TestPriorities(t *testing.T) {
	for s, want := range map[string]struct {
		urgency     int8
		incremental bool
		ok          bool
	}{
		"u=1": {1, false, true}, "i": {3, true, true}, "u=7, i": {7, true, true}, "": {3, false, false}, "u=9": {3, false, false}, "i=?1,u=0": {0, true, true}, "x": {3, false, false},
	} {
		if u, i, ok := priority(s); u != want.urgency || i != want.incremental || ok != want.ok {
			t.Errorf("%q: %d %v %v", s, u, i, ok)
		}
	}
}

// A request that is answered at once allocates nothing of its own: what is left is
// quic-go's.
func TestEncodingAllocatesNothing(t *testing.T) {
	h := block("Content-Type: text/plain", "Etag: \"1\"", "X-Own: a")
	out := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { out = appendFields(out[:0], 200, h, h, 1234) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	request := get("/a/b?c", "accept-encoding: gzip", "user-agent: someone")
	_, _, at := parseHead(request)
	a := make(arena, 0, 1024)
	var fields header.Block
	var hd head
	most := limits.Config{}.WithDefaults()
	if n := testing.AllocsPerRun(100, func() {
		fields.Reset()
		hd.begin()
		s := section{rest: request[at:], arena: &a}
		_ = s.prefix()
		for {
			name, value, ok, err := s.next()
			if !ok || err != nil {
				break
			}
			hd.add(&fields, name, value, &most)
		}
		hd.finish(&fields, true)
	}); n > 0 {
		t.Errorf("%v allocations to read a head", n)
	}
}

// FuzzControl: whatever comes on the streams that go one way is read to its end, or is
// an error of the connection.
func FuzzControl(f *testing.F) {
	f.Add([]byte{frameSettings, 2, 6, 9, frameGoAway, 1, 4, frameMaxPushID, 1, 5, 0x21, 1, 0}, uint8(0))
	f.Add([]byte{frameSettings, 0, frameCancelPush, 1, 0}, uint8(0))
	f.Add([]byte{frameSettings, 0, 0x80, 0x0f, 0x07, 0x00, 4, 4, 'u', '=', '1'}, uint8(0))
	f.Add([]byte{0x20, 0x20, 0x3f}, uint8(1))
	f.Add([]byte{0x44, 0x7f, 0xff, 0x01, 0x81}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		c := &conn{s: &Server{limits: limits.Config{}.WithDefaults()}}
		in := bufio.NewReader(bytes.NewReader(b))
		var err error
		switch which % 3 {
		case 0:
			err = c.readControl(in)
		case 1:
			err = readEncoder(in)
		case 2:
			err = readDecoder(in)
		}
		if err == nil {
			t.Fatal("a critical stream ends without an error")
		}
	})
}
