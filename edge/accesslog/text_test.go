package accesslog

import (
	"encoding/json"
	"strings"
	"testing"
)

// same fails the test unless a text is written as byte by byte.
func same(t *testing.T, s string) {
	t.Helper()
	const begin = `,"x":"`
	got := appendText(nil, begin, s)
	want := ""
	if s != "" {
		want = begin + string(appendEscaped(nil, cut(s))) + `"`
	}
	if string(got) != want {
		t.Fatalf("%q is written as %s, want %s", s, got, want)
	}
}

// TestWordsAreLookedAtAsBytesAre: every byte, at every place of texts of all lengths that
// the words begin and end in, beside bytes from which a sum could run over.
func TestWordsAreLookedAtAsBytesAre(t *testing.T) {
	for length := range 26 {
		for _, around := range []byte{'a', ' ', '~', '\xff', 0, '"'} {
			text := []byte(strings.Repeat(string([]byte{around}), length))
			for at := range text {
				for c := range 256 {
					text[at] = byte(c)
					same(t, string(text))
				}
				text[at] = around
			}
		}
	}
}

// FuzzText: a text reads as encoding/json would have written it.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "/a", "GET", "HTTP/1.1", "0123456\x7f", "01234567\x80", "Mozilla/5.0 (X11; \"Linux\" x86_64)", "ä\u2028\u2029\u0080\U0001f600", "\xff\xc3(\xe2\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		same(t, s)
		if s == "" {
			return
		}
		plainly, err := json.Marshal(cut(s))
		if err != nil {
			t.Fatal(err)
		}
		var got, want string
		if err := json.Unmarshal(plainly, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(appendText(nil, `"`, s), &got); err != nil || got != want {
			t.Fatalf("%q reads as %q, want %q; %v", s, got, want, err)
		}
	})
}
