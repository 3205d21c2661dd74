package header

import (
	"errors"
	"strings"
	"testing"
)

func block(t testing.TB, lines ...string) *Block {
	t.Helper()
	b := new(Block)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if err := b.Add(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestBlockKeepsOrderAndSpellingOnTheWire(t *testing.T) {
	b := block(t, "content-TYPE: text/plain", "X-A: 1", "x-a: 2", "Empty: ")
	want := "content-TYPE: text/plain\r\nX-A: 1\r\nx-a: 2\r\nEmpty: \r\n"
	if got := string(b.Wire()); got != want {
		t.Errorf("wire = %q, want %q", got, want)
	}
	if got := b.Get("Content-Type"); got != "text/plain" {
		t.Errorf("Get = %q", got)
	}
	if got := b.Joined("X-A"); got != "1, 2" {
		t.Errorf("Joined = %q", got)
	}
	if !b.Has("empty") || b.Has("absent") {
		t.Error("Has is wrong about an empty or an absent field")
	}
}

func TestSetReplacesInPlace(t *testing.T) {
	b := block(t, "A: 1", "B: 2", "a: 3", "C: 4")
	if err := b.Set("A", "9"); err != nil {
		t.Fatal(err)
	}
	if got, want := string(b.Wire()), "A: 9\r\nB: 2\r\nC: 4\r\n"; got != want {
		t.Errorf("wire = %q, want %q", got, want)
	}
	if err := b.Set("A", "bad\r\nX: y"); !errors.Is(err, ErrMalformed) {
		t.Errorf("err = %v, want ErrMalformed", err)
	}
	if b.Get("A") != "9" || b.Len() != 3 {
		t.Error("a refused Set changed the block")
	}
}

func TestStringsOutliveChanges(t *testing.T) {
	b := block(t, "A: first", "B: second")
	v := b.Get("B")
	b.Del("A")
	for range 100 {
		if err := b.Add("Filler", strings.Repeat("x", 50)); err != nil {
			t.Fatal(err)
		}
	}
	if v != "second" || b.Get("B") != "second" {
		t.Errorf("got %q and %q after changes", v, b.Get("B"))
	}
}

func TestAddRefusesWhatWouldSplitOrOverflow(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        error
	}{
		{"", "x", ErrMalformed},
		{"A b", "x", ErrMalformed},
		{"A:", "x", ErrMalformed},
		{"A", "x\r\nInjected: y", ErrMalformed},
		{"A", "x\x00", ErrMalformed},
		{"A", " x", ErrMalformed},
		{"A", "x\t", ErrMalformed},
		{"A", strings.Repeat("x", MaxBytes), ErrTooLarge},
		{"A", "caf\u00e9 \t ok", nil},
	} {
		b := new(Block)
		if err := b.Add(tc.name, tc.value); !errors.Is(err, tc.want) {
			t.Errorf("Add(%q, %.20q) = %v, want %v", tc.name, tc.value, err, tc.want)
		} else if tc.want != nil && b.Len() != 0 {
			t.Errorf("Add(%q, %.20q) was refused and left something", tc.name, tc.value)
		}
	}
	b := new(Block)
	for i := 0; i < MaxFields; i++ {
		if err := b.Add("A", "1"); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := b.Add("A", "1"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("field %d: %v", MaxFields+1, err)
	}
}

func TestRemoveHopByHop(t *testing.T) {
	b := block(t, "Connection: close, X-Private", "Keep-Alive: 5", "X-Private: 1", "TE: trailers",
		"Transfer-Encoding: chunked", "Content-Type: a/b", "connection: x-other", "X-Other: 2", "X-Kept: 3")
	b.RemoveHopByHop()
	if got, want := string(b.Wire()), "Content-Type: a/b\r\nX-Kept: 3\r\n"; got != want {
		t.Errorf("left %q, want %q", got, want)
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	b := block(t, "Cache-Control: max-age=60", "Content-Type: text/html", "ETag: \"x\"")
	if n := testing.AllocsPerRun(100, func() {
		if b.Get("etag") == "" || b.Joined("cache-control") == "" || b.Has("none") {
			t.Fatal("wrong")
		}
		for range b.Values("content-type") {
			continue
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzBlock: whatever is added and accepted reads back, and the wire form holds
// exactly one line for each field.
func FuzzBlock(f *testing.F) {
	f.Add("A", "1", "b", "2")
	f.Add("Connection", "b", "b", "x")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string) {
		b := new(Block)
		e1, e2 := b.Add(n1, v1), b.Add(n2, v2)
		want := 0
		if e1 == nil {
			want++
			if b.Get(n1) != v1 {
				t.Fatal("first field does not read back")
			}
		}
		if e2 == nil {
			want++
			if _, v := b.At(b.Len() - 1); v != v2 {
				t.Fatal("second field does not read back")
			}
		}
		if lines := strings.Count(string(b.Wire()), "\n"); lines != want || b.Len() != want {
			t.Fatalf("%d lines and %d fields for %d accepted", lines, b.Len(), want)
		}
		b.RemoveHopByHop()
		if b.Has("Connection") {
			t.Fatal("Connection is left")
		}
	})
}
