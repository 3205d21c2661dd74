package httpcache

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func spansOf(pairs ...int64) []Span {
	var s []Span
	for i := 0; i < len(pairs); i += 2 {
		s = append(s, Span{pairs[i], pairs[i+1]})
	}
	return s
}

func TestSelectRange(t *testing.T) {
	many := func(n int) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = fmt.Sprintf("%d-%d", i*1000, i*1000)
		}
		return "Range: bytes=" + strings.Join(parts, ",")
	}
	stored := []string{`ETag: "a"`, "Last-Modified: " + stamp(-1000), "Date: " + stamp(0)}
	const size = 10000
	for _, tc := range []struct {
		name    string
		request []string
		size    int64
		want    Selection
		spans   []Span
	}{
		{"no Range", nil, size, Whole, nil},
		{"§14.1.2: first 500", []string{"Range: bytes=0-499"}, size, Partial, spansOf(0, 500)},
		{"§14.1.2: second 500", []string{"Range: bytes=500-999"}, size, Partial, spansOf(500, 1000)},
		{"§14.1.2: final 500", []string{"Range: bytes=-500"}, size, Partial, spansOf(9500, 10000)},
		{"§14.1.2: or", []string{"Range: bytes=9500-"}, size, Partial, spansOf(9500, 10000)},
		{"§14.1.2: first and last byte", []string{"Range: bytes=0-0,-1"}, size, Partial, spansOf(0, 1, 9999, 10000)},
		{"§14.1.2: first, middle and last 1000", []string{"Range: bytes= 0-999, 4500-5499, -1000"}, size, Partial, spansOf(0, 1000, 4500, 5500, 9000, 10000)},
		{"§14.1.2: two that join", []string{"Range: bytes=500-600,601-999"}, size, Partial, spansOf(500, 1000)},
		{"§14.1.2: two that overlap", []string{"Range: bytes=500-700,601-999"}, size, Partial, spansOf(500, 1000)},
		{"§14.1.2: last-pos beyond the end", []string{"Range: bytes=9000-99999999999999999999999"}, size, Partial, spansOf(9000, 10000)},
		{"§14.1.2: a suffix longer than all", []string{"Range: bytes=-99999999999999999999999"}, size, Partial, spansOf(0, 10000)},
		{"§14.1.1: the unit in any case", []string{"Range: Bytes=0-0"}, size, Partial, spansOf(0, 1)},
		{"§14.2: another unit is ignored", []string{"Range: lines=0-0"}, size, Whole, nil},
		{"§14.1.1: last before first is invalid", []string{"Range: bytes=5-4"}, size, Whole, nil},
		{"§14.1.1: and makes the whole set invalid", []string{"Range: bytes=0-1,5-4"}, size, Whole, nil},
		{"malformed", []string{"Range: bytes=a-b"}, size, Whole, nil},
		{"no range at all", []string{"Range: bytes=-"}, size, Whole, nil},
		{"empty set", []string{"Range: bytes=,"}, size, Whole, nil},
		{"no unit", []string{"Range: 0-5"}, size, Whole, nil},
		{"negative", []string{"Range: bytes=--5"}, size, Whole, nil},
		{"white space inside", []string{"Range: bytes=0 -5"}, size, Whole, nil},
		{"two Range lines", []string{"Range: bytes=0-1", "Range: bytes=2-3"}, size, Whole, nil},
		{"§14.1.2: beyond the end is not satisfiable", []string{"Range: bytes=10000-"}, size, Unsatisfied, nil},
		{"§14.1.2: a suffix of zero is not", []string{"Range: bytes=-0"}, size, Unsatisfied, nil},
		{"§14.1.2: one that is satisfiable is enough", []string{"Range: bytes=20000-,0-4"}, size, Partial, spansOf(0, 5)},
		{"§14.2: no content", []string{"Range: bytes=0-"}, 0, Whole, nil},
		{"§15.3.7.2: a gap smaller than what a part costs", []string{"Range: bytes=0-99,150-199,5000-5001"}, size, Partial, spansOf(0, 200, 5000, 5002)},
		{"§15.3.7.2: 'in the same order' as they were asked for", []string{"Range: bytes=5000-5001,0-99,4990-4999"}, size, Partial, spansOf(4990, 5002, 0, 100)},
		{"not more than the whole", []string{"Range: bytes=0-4999,5200-9999"}, size, Whole, nil},
		{"as many as are allowed", []string{many(MaxRanges)}, 100000, Partial, nil},
		{"§17.15: too many", []string{many(MaxRanges + 1)}, 100000, Whole, nil},
		{"§17.15: the same again and again", []string{"Range: bytes=0-" + strings.Repeat(",0-", MaxRanges-1)}, size, Partial, spansOf(0, 10000)},
		{"the size is not known", []string{"Range: bytes=0-4"}, -1, Partial, spansOf(0, 5)},
		{"the size is not known and needed", []string{"Range: bytes=-5"}, -1, NeedsTheWhole, nil},
		{"the size is not known and needed for one of them", []string{"Range: bytes=0-4,900-"}, -1, NeedsTheWhole, nil},

		{"§13.1.5: If-Range, the same tag", []string{"Range: bytes=0-0", `If-Range: "a"`}, size, Partial, spansOf(0, 1)},
		{"§13.1.5: another tag", []string{"Range: bytes=0-0", `If-Range: "b"`}, size, Whole, nil},
		{"§13.1.5: a weak tag", []string{"Range: bytes=0-0", `If-Range: W/"a"`}, size, Whole, nil},
		{"§13.1.5: the same date", []string{"Range: bytes=0-0", "If-Range: " + stamp(-1000)}, size, Partial, spansOf(0, 1)},
		{"§13.1.5: 'by exact match', not a later date", []string{"Range: bytes=0-0", "If-Range: " + stamp(-999)}, size, Whole, nil},
		{"§13.1.5: neither", []string{"Range: bytes=0-0", "If-Range: abc"}, size, Whole, nil},
		{"§13.1.5: two of them", []string{"Range: bytes=0-0", `If-Range: "a"`, `If-Range: "a"`}, size, Whole, nil},
		{"§13.2.2: If-Range goes before what cannot be satisfied", []string{"Range: bytes=10000-", `If-Range: "b"`}, size, Whole, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, spans := SelectRange(get(t, tc.request...), 200, factsOf(t, stored...), tc.size)
			if got != tc.want || tc.spans != nil && fmt.Sprint(spans) != fmt.Sprint(tc.spans) {
				t.Errorf("got %v %v, want %v %v", got, spans, tc.want, tc.spans)
			}
		})
	}
	for _, q := range []struct {
		method string
		status int
	}{{"HEAD", 200}, {"POST", 200}, {"GET", 404}, {"GET", 204}, {"GET", 206}} {
		if got, _ := SelectRange(Request{q.method, fields(t, "Range: bytes=0-0")}, q.status, factsOf(t), size); got != Whole {
			t.Errorf("§14.2: %s %d: %v", q.method, q.status, got)
		}
	}
	young := factsOf(t, "Last-Modified: "+stamp(-59), "Date: "+stamp(0))
	if got, _ := SelectRange(get(t, "Range: bytes=0-0", "If-Range: "+stamp(-59)), 200, young, size); got != Whole {
		t.Errorf("§8.8.2.2: a date that is a weak validator: %v", got)
	}
}

func TestContentRange(t *testing.T) {
	for v, want := range map[string]Part{
		"bytes 42-1233/1234": {Span{42, 1234}, 1234}, "bytes 42-1233/*": {Span{42, 1234}, -1}, "BYTES 0-0/1": {Span{0, 1}, 1},
	} {
		s, size, ok := ParseContentRange(v)
		if !ok || (Part{s, size}) != want {
			t.Errorf("%q: %v of %d, %v", v, s, size, ok)
		}
		if got := ContentRange(s, size); !strings.EqualFold(got, v) {
			t.Errorf("%q comes back as %q", v, got)
		}
	}
	for _, v := range []string{"", "bytes", "bytes */1234", "bytes 5-4/10", "bytes 0-9/9", "bytes 0-9/10/11", "lines 0-9/10", "bytes 0-/10", "bytes -9/10", "bytes 0-9", "bytes 0-9/", "bytes=0-9/10", "bytes  0-9/10", "bytes 0-99999999999999999999/*"} {
		if s, size, ok := ParseContentRange(v); ok {
			t.Errorf("%q is taken as %v of %d", v, s, size)
		}
	}
	if got := UnsatisfiedRange(47022); got != "bytes */47022" {
		t.Errorf("got %q", got)
	}
}

func TestPartOf(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		ok    bool
	}{
		{[]string{"Content-Range: bytes 4-8/10"}, true},
		{[]string{"Content-Range: bytes 4-8/10", "Content-Length: 5"}, true},
		{[]string{"Content-Range: bytes 4-9/10", "Content-Length: 5"}, false},
		{[]string{"Content-Range: bytes 4-8/10", "Content-Length: x"}, false},
		{[]string{"Content-Range: bytes 4-8/10", "Content-Range: bytes 4-8/10"}, false},
		{[]string{"Content-Type: multipart/byteranges; boundary=x"}, false},
		{[]string{"Content-Range: lines 4-8/10"}, false},
	} {
		if p, ok := PartOf(fields(t, tc.lines...)); ok != tc.ok || ok && p != (Part{Span{4, 9}, 10}) {
			t.Errorf("%q: %+v, %v", tc.lines, p, ok)
		}
	}
}

// RFC 9111 §3.4: "if they all share the same strong validator".
func TestCombines(t *testing.T) {
	old := "Date: " + stamp(0)
	for _, tc := range []struct {
		a, b []string
		want bool
	}{
		{[]string{`ETag: "a"`}, []string{`ETag: "a"`}, true},
		{[]string{`ETag: "a"`}, []string{`ETag: "b"`}, false},
		{[]string{`ETag: W/"a"`}, []string{`ETag: W/"a"`}, false},
		{[]string{`ETag: "a"`}, nil, false},
		{nil, nil, false},
		{[]string{old, "Last-Modified: " + stamp(-1000)}, []string{old, "Last-Modified: " + stamp(-1000)}, true},
		{[]string{old, "Last-Modified: " + stamp(-1000)}, []string{old, "Last-Modified: " + stamp(-1001)}, false},
		{[]string{old, "Last-Modified: " + stamp(-10)}, []string{old, "Last-Modified: " + stamp(-10)}, false},
		{[]string{old, "Last-Modified: " + stamp(-1000), `ETag: "a"`}, []string{old, "Last-Modified: " + stamp(-1000)}, false},
	} {
		a, b := factsOf(t, tc.a...), factsOf(t, tc.b...)
		if Combines(a, b) != tc.want || Combines(b, a) != tc.want {
			t.Errorf("%q and %q: %v", tc.a, tc.b, !tc.want)
		}
	}
}

// Held against a plain array of bits.
func TestHeldIsASetOfBytes(t *testing.T) {
	const size = 40
	rapid.Check(t, func(rt *rapid.T) {
		var held Held
		var bits [size]bool
		span := func(name string) Span {
			a, b := rapid.Int64Range(0, size).Draw(rt, name), rapid.Int64Range(0, size).Draw(rt, name)
			return Span{min(a, b), max(a, b)}
		}
		for range rapid.IntRange(0, 8).Draw(rt, "n") {
			s := span("add")
			before := fmt.Sprint(held)
			next := held.Add(s)
			if fmt.Sprint(held) != before {
				rt.Fatal("Add changed what it was called on")
			}
			held = next
			for i := s.Start; i < s.End; i++ {
				bits[i] = true
			}
		}
		for i, s := range held {
			if s.Len() <= 0 || i > 0 && held[i-1].End >= s.Start {
				rt.Fatalf("not in normal form: %v", held)
			}
		}
		want, covers := span("want"), true
		missing := held.Missing(want)
		for i := want.Start; i < want.End; i++ {
			in := false
			for _, m := range missing {
				in = in || m.Start <= i && i < m.End
			}
			if in == bits[i] {
				rt.Fatalf("byte %d of %v: held %v, missing %v", i, want, held, missing)
			}
			covers = covers && bits[i]
		}
		if held.Covers(want) != covers || covers != (len(missing) == 0) {
			rt.Fatalf("%v covers %v: %v, missing %v", held, want, held.Covers(want), missing)
		}
	})
}

// The plan, followed, is what a multipart reader understands.
func TestMultipart(t *testing.T) {
	content := strings.Repeat("0123456789", 100)
	spans := spansOf(500, 1000, 0, 1)
	m := NewMultipart(spans, 1000, "text/plain", "THIS_STRING_SEPARATES")
	var b strings.Builder
	for _, p := range m.Parts {
		b.WriteString(p.Head + content[p.Span.Start:p.Span.End])
	}
	b.WriteString(m.Tail)
	if int64(b.Len()) != m.Length {
		t.Errorf("length %d, want %d", b.Len(), m.Length)
	}
	kind, params, err := mime.ParseMediaType(m.ContentType)
	if err != nil || kind != "multipart/byteranges" {
		t.Fatalf("%q: %v", m.ContentType, err)
	}
	r := multipart.NewReader(strings.NewReader(b.String()), params["boundary"])
	for _, s := range spans {
		p, err := r.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil || string(body) != content[s.Start:s.End] || p.Header.Get("Content-Range") != ContentRange(s, 1000) || p.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%v: %q %v", p.Header, body, err)
		}
	}
	if _, err := r.NextRawPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
	if bare := NewMultipart(spans, -1, "", "b"); strings.Contains(bare.Parts[0].Head, "Content-Type") || !strings.Contains(bare.Parts[0].Head, "/*") {
		t.Errorf("%q", bare.Parts[0].Head)
	}
}

// FuzzRange: whatever is asked for, what is sent is within the representation,
// disjoint, and costs no more than the whole.
func FuzzRange(f *testing.F) {
	f.Add("bytes=0-0,-1", int64(10000), "bytes 0-9/10")
	f.Add("bytes= 0-999, 4500-5499, -1000", int64(5000), "bytes */5")
	f.Add("bytes=9223372036854775807-9223372036854775808,-0", int64(1), "bytes 9223372036854775807-9223372036854775808/*")
	f.Fuzz(func(t *testing.T, value string, size int64, content string) {
		if s, n, ok := ParseContentRange(content); ok {
			if s.Len() <= 0 || s.Start < 0 || n >= 0 && s.End > n {
				t.Fatalf("%q: %v of %d", content, s, n)
			}
			if again, m, ok := ParseContentRange(ContentRange(s, n)); !ok || again != s || m != n {
				t.Fatalf("%q does not come back", content)
			}
		}
		h := fields(t)
		if size < 0 || h.Add("Range", value) != nil {
			return
		}
		got, spans := SelectRange(Request{"GET", h}, 200, &Facts{}, size)
		if (got == Partial) != (len(spans) > 0) || got == NeedsTheWhole || len(spans) > MaxRanges {
			t.Fatalf("%q of %d: %v %v", value, size, got, spans)
		}
		var held Held
		total := int64(0)
		for _, s := range spans {
			if s.Start < 0 || s.End > size || s.Len() <= 0 {
				t.Fatalf("%q of %d: %v", value, size, s)
			}
			if missing := held.Missing(s); len(missing) != 1 || missing[0] != s {
				t.Fatalf("%q of %d: %v overlap", value, size, spans)
			}
			held, total = held.Add(s), total+s.Len()
		}
		if total > size {
			t.Fatalf("%q of %d sends %d bytes", value, size, total)
		}
	})
}
