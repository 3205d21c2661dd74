package h2

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"freshet/edge/exchange"
)

// decodeAll decodes one header block as "name: value" lines.
func decodeAll(t *testing.T, dec *hpack.Decoder, block []byte) string {
	t.Helper()
	var b strings.Builder
	dec.SetEmitFunc(func(f hpack.HeaderField) { b.WriteString(f.Name + ": " + f.Value + "\n") })
	if _, err := dec.Write(block); err != nil {
		t.Fatalf("% x: %v", block, err)
	}
	if err := dec.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestStaticNames holds our names against x/net's table: each is decoded as itself.
func TestStaticNames(t *testing.T) {
	for _, s := range staticNames {
		if got := staticName(strings.ToUpper(s.name)); got != s.index {
			t.Errorf("%s has index %d, found %d", s.name, s.index, got)
		}
		dec := hpack.NewDecoder(tableSize, nil)
		if got := decodeAll(t, dec, append(appendInt(nil, 0, 4, uint64(s.index)), 1, 'x')); got != s.name+": x\n" {
			t.Errorf("index %d is %q", s.index, got)
		}
	}
	for _, name := range []string{"x-cache", "cache-status", "a", "viA2"} {
		if staticName(name) != 0 {
			t.Errorf("%s has index %d", name, staticName(name))
		}
	}
}

// TestEncoding: whatever is encoded, with tables of changing sizes, x/net's decoder reads
// it as it was, in lower case.
func TestEncoding(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	names := []string{"Content-Type", "ETag", "X-A", "x-b", "Age", "Set-Cookie", "Cache-Status", "Via", strings.Repeat("X-Long", 20)}
	for range 50 {
		enc, dec := newEncoder(), hpack.NewDecoder(tableSize, nil)
		dec.SetAllowedMaxDynamicTableSize(1 << 20)
		for range 200 {
			for range r.IntN(3) * r.IntN(2) {
				enc.resize(uint32(r.IntN(6000)))
			}
			var fields []string
			for range r.IntN(12) {
				fields = append(fields, names[r.IntN(len(names))]+": "+strings.Repeat(strconv.Itoa(r.IntN(20)), r.IntN(r.IntN(400)+1)))
			}
			a := exchange.Answer{Status: 100 + r.IntN(500), Header: block(fields...), Extra: block("Age: " + strconv.Itoa(r.IntN(3)))}
			want := ":status: " + strconv.Itoa(a.Status) + "\n"
			for _, f := range append(fields, "Age: "+a.Extra.Get("Age"), "content-length: 7") {
				name, value, _ := strings.Cut(f, ": ")
				want += strings.ToLower(name) + ": " + value + "\n"
			}
			b := enc.appendHead([]byte("before"), 1, true, &a, 7)[6:]
			if int(b[1])<<8+int(b[2]) != len(b)-frameHead {
				t.Fatalf("a frame of %d bytes says % x", len(b), b[:frameHead])
			}
			if got := decodeAll(t, dec, b[frameHead:]); got != want {
				t.Fatalf("got\n%swant\n%s", got, want)
			}
			if enc.size > enc.limit {
				t.Fatalf("the table has %d bytes of %d", enc.size, enc.limit)
			}
		}
	}
}

// TestRepeatedHeadsAreSmall: from the third time on a field costs a byte.
func TestRepeatedHeadsAreSmall(t *testing.T) {
	enc := newEncoder()
	a := stored()
	var sizes []int
	for range 4 {
		sizes = append(sizes, len(enc.appendHead(nil, 1, false, &a, 1024)))
	}
	if fields := a.Header.Len() + a.Extra.Len() + 2; sizes[2] != frameHead+fields || sizes[3] != sizes[2] {
		t.Errorf("heads of %d bytes for %d fields", sizes, fields)
	}
	t.Logf("heads of %d bytes", sizes)
}

// TestForbiddenFieldsAreLeftOut (RFC 9113 §8.2.2).
func TestForbiddenFieldsAreLeftOut(t *testing.T) {
	enc, dec := newEncoder(), hpack.NewDecoder(tableSize, nil)
	for range 3 {
		b := enc.block(nil, block("Connection: x", "Keep-Alive: x", "Proxy-Connection: x", "Transfer-Encoding: chunked", "Upgrade: x", "A: b"))
		if got := decodeAll(t, dec, b); got != "a: b\n" {
			t.Errorf("got %q", got)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	enc, a := newEncoder(), stored()
	var buf []byte
	for b.Loop() {
		buf = enc.appendHead(buf[:0], 1, false, &a, 1024)
	}
}

// BenchmarkEncodeStatic is what it would cost without a dynamic table, all prepared.
func BenchmarkEncodeStatic(b *testing.B) {
	a := stored()
	enc := newEncoder()
	prepared := enc.block(nil, a.Header)
	var buf []byte
	b.ReportMetric(float64(len(enc.appendHead(nil, 1, false, &a, 1024))), "bytes")
	for b.Loop() {
		none := encoder{limit: 0}
		buf = append(buf[:0], prepared...)
		buf = none.block(buf, a.Extra)
	}
}

// BenchmarkEncodeXNet is the same with x/net's encoder.
func BenchmarkEncodeXNet(b *testing.B) {
	a := stored()
	buf := new(frames)
	enc := hpack.NewEncoder(buf)
	for b.Loop() {
		buf.b = buf.b[:0]
		_ = enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		for name, value := range a.Header.All() {
			_ = enc.WriteField(hpack.HeaderField{Name: name, Value: value})
		}
		for name, value := range a.Extra.All() {
			_ = enc.WriteField(hpack.HeaderField{Name: name, Value: value})
		}
	}
}
