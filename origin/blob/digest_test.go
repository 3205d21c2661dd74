package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseDigest(t *testing.T) {
	want := Digest(sha256.Sum256([]byte("x")))
	text := fmt.Sprintf("%x", want[:])
	if got, err := ParseDigest(text); err != nil || got != want || got.String() != text {
		t.Fatalf("ParseDigest(%q) = %v, %v", text, got, err)
	}
	for name, text := range map[string]string{
		"empty":      "",
		"short":      text[:63],
		"long":       text + "0",
		"upper case": strings.Repeat("A", 64),
		"not hex":    strings.Repeat("g", 64),
		"path":       "../../" + text[6:],
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseDigest(text); !errors.Is(err, ErrDigest) {
				t.Fatalf("error %v, want ErrDigest", err)
			}
		})
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add(strings.Repeat("0a", 32))
	f.Add("../" + strings.Repeat("0", 61))
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDigest(text); err == nil && d.String() != text {
			t.Fatalf("%q became %q", text, d)
		}
	})
}
