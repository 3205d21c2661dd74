package exchange_test

import (
	"net/http"
	"net/url"
	"testing"

	"freshet/edge/exchange"
)

// TestMethods: what stands in a request line can be no method.
func TestMethods(t *testing.T) {
	for _, s := range []string{"GET", "get", "M-SEARCH", "X!#$%&'*+-.^_`|~9"} {
		if !exchange.ValidMethod(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for c := range 256 {
		s := string([]byte{'A', byte(c), 'B'})
		_, err := http.NewRequest(s, "/", nil)
		if exchange.ValidMethod(s) != (err == nil) {
			t.Errorf("%q: net/http says %v", s, err)
		}
	}
	if exchange.ValidMethod("") {
		t.Error("none is one")
	}
}

// FuzzTarget: what is accepted as a target could not be read in two ways, and net/http
// takes it.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/a?b", "/%20", "/%2", "*", "/a#b", "a", "//a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !exchange.ValidTarget(s) {
			return
		}
		for i := range len(s) {
			if s[0] != '/' || s[i] <= ' ' || s[i] == '#' || s[i] == 0x7f {
				t.Errorf("target %q", s)
			}
		}
		if _, err := url.ParseRequestURI(s); err != nil && s[:min(2, len(s))] != "//" {
			t.Errorf("target %q: %v", s, err)
		}
	})
}
