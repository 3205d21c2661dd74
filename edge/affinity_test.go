package edge

import (
	"strings"
	"testing"

	"freshet/internal/header"
	"freshet/internal/hop"
)

func TestTakeAffinity(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, cookies, left, server string }{
		{"alone", "to=abc", "", "abc"},
		{"between others", "a=1; to=abc; b=2", "a=1; b=2", "abc"},
		{"quoted", `to="abc"; a="to=x"`, `a="to=x"`, "abc"},
		{"another name", "auto=abc; toto=1; TO=2", "auto=abc; toto=1; TO=2", ""},
		{"twice", "to=abc; a=1;to=def", "a=1", "abc"},
		{"in two lines", "a=1\nto=abc", "a=1", "abc"},
		{"without value", "to; a=1", "a=1", ""},
		{"within a value", "a=to", "a=to", ""},
		{"too long", "to=" + strings.Repeat("x", 100), "", ""},
		{"none", "", "", ""},
	} {
		h := new(header.Block)
		for line := range strings.SplitSeq(tc.cookies, "\n") {
			if line != "" {
				_ = h.Add("Cookie", line)
			}
		}
		takeAffinity(h, "to")
		takeAffinity(h, "to") // as Serve does after ServeQuick
		if got := h.Joined("Cookie"); got != tc.left || hop.Affinity(h) != tc.server {
			t.Errorf("%s: %q left, server %q; want %q, %q", tc.name, got, hop.Affinity(h), tc.left, tc.server)
		}
	}
}

// FuzzTakeAffinity: the cookie is gone, and all others are still there.
func FuzzTakeAffinity(f *testing.F) {
	f.Add("a=1; to=abc; b=2", "to")
	f.Add(";;to=;to ;=to", "to")
	f.Fuzz(func(t *testing.T, cookies, name string) {
		h := new(header.Block)
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" || h.Add("Cookie", cookies) != nil {
			return
		}
		takeAffinity(h, name)
		var want []string
		for pair := range strings.SplitSeq(cookies, ";") {
			pair = strings.Trim(pair, " \t")
			if n, _, _ := strings.Cut(pair, "="); strings.TrimRight(n, " \t") != name && pair != "" {
				want = append(want, pair)
			}
		}
		var got []string
		for pair := range strings.SplitSeq(h.Joined("Cookie"), ";") {
			if pair = strings.Trim(pair, " \t"); pair != "" {
				got = append(got, pair)
			}
		}
		if strings.Join(got, ";") != strings.Join(want, ";") {
			t.Fatalf("%q of %q: left %q, want %q", name, cookies, got, want)
		}
	})
}
