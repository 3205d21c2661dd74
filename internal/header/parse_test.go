package header

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestParseGivesBackTheSameBlock(t *testing.T) {
	for _, lines := range [][]string{
		nil,
		{"A: "},
		{"content-TYPE: text/plain", "X-A: 1: 2", "x-a: 2", "Empty: ", "Last: :"},
	} {
		want := block(t, lines...)
		got, err := Parse(want.Wire())
		if err != nil {
			t.Errorf("%q: %v", want.Wire(), err)
			continue
		}
		if !bytes.Equal(got.Wire(), want.Wire()) || got.Len() != want.Len() {
			t.Errorf("Parse(%q) = %q, %d fields", want.Wire(), got.Wire(), got.Len())
		}
		for i := range want.Len() {
			wantName, wantValue := want.At(i)
			if name, value := got.At(i); name != wantName || value != wantValue {
				t.Errorf("field %d = %q %q, want %q %q", i, name, value, wantName, wantValue)
			}
		}
	}
}

func TestParseKeepsNoneOfTheBytes(t *testing.T) {
	wire := []byte("A: 1\r\n")
	b, err := Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	clear(wire)
	if b.Get("A") != "1" {
		t.Error("the block changed with the bytes that it was made of")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		wire string
		want error
	}{
		{"A: 1", ErrMalformed},
		{"A: 1\n", ErrMalformed},
		{"A: 1\r\n\r\n", ErrMalformed},
		{"A:1\r\n", ErrMalformed},
		{"A:  1\r\n", ErrMalformed},
		{"A: 1 \r\n", ErrMalformed},
		{": 1\r\n", ErrMalformed},
		{"A b: 1\r\n", ErrMalformed},
		{"A: \x00\r\n", ErrMalformed},
		{"A: 1\nB: 2\r\n", ErrMalformed},
		{"A: 1\rB: 2\r\n", ErrMalformed},
		{strings.Repeat("A: 1\r\n", MaxFields+1), ErrTooLarge},
		{"A: " + strings.Repeat("x", MaxBytes) + "\r\n", ErrTooLarge},
	} {
		if b, err := Parse([]byte(c.wire)); !errors.Is(err, c.want) || b != nil {
			t.Errorf("Parse(%q) = %v, %v; want %v", clip(c.wire), b, err, c.want)
		}
	}
}

// FuzzParse: whatever is accepted is exactly what was given.
func FuzzParse(f *testing.F) {
	f.Add([]byte("content-TYPE: text/plain\r\nX-A: 1\r\nEmpty: \r\n"))
	f.Add([]byte("A: 1"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		b, err := Parse(wire)
		if err == nil && !bytes.Equal(b.Wire(), wire) {
			t.Errorf("Parse(%q).Wire() = %q", wire, b.Wire())
		}
	})
}
