package exchange

import (
	"strings"
	"testing"
)

func TestHosts(t *testing.T) {
	for authority, want := range map[string]string{
		"a": "a|", "a.example:80": "a.example|80", "A.Example.": "a.example|", "a.:1": "a|1", "a_b-c": "a_b-c|", "a:00080": "a|00080", "a:65535": "a|65535",
		"[::1]": "::1|", "[::1]:8": "::1|8", "[2001:DB8:0::1]:80": "2001:db8::1|80", "[::FFFF:1.2.3.4]": "::ffff:1.2.3.4|", "192.0.2.1:1": "192.0.2.1|1",
		strings.Repeat("a", 253) + ".": strings.Repeat("a", 253) + "|",
	} {
		if host, port, ok := SplitHost(authority); !ok || host+"|"+port != want {
			t.Errorf("%q is read as %q and %q, %v, want %q", authority, host, port, ok, want)
		}
	}
	for _, authority := range []string{
		"", ".", "..", "a..", ":80", "a:", "a:0", "a:65536", "a:000080", "a:+80", "a:8_0", "a:80:80", "::1", "::1:80", strings.Repeat("a", 254),
		"[]", "[", "]", "[]:1", "[::1", "::1]", "[::1]x", "x[::1]", "[[::1]]", "[::1]]", "[::1]:", "[::1]::1", "[::1]80", "[a]", "[1.2.3.4]",
		"[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1%/../]", "[::1%]", "[v1.a]",
		"a b", " a", "a ", "a,b", "u@a", "a/b", "a?b", "a#b", "a\\b", "a%41", "a\x00", "a\x7f", "é", "\u212Aelvin.example", "a\xff", "a[::1]", "*",
	} {
		if host, port, ok := SplitHost(authority); ok || host != "" || port != "" {
			t.Errorf("%q is read as %q and %q", authority, host, port)
		}
	}
}

func TestAuthorities(t *testing.T) {
	for _, authority := range []string{"a", "a:80", "[::1]", "[::1]:80", "[::1:80]"} {
		host, port, ok := SplitHost(authority)
		if got := (&Request{Host: host, Port: port}).Authority(); !ok || got != authority {
			t.Errorf("%q is %q", authority, got)
		}
	}
}

func TestOrdinaryHostsCostNothing(t *testing.T) {
	for _, authority := range []string{"www.example.com", "www.example.com.:8080", "[2001:db8::1]:443"} {
		if n := testing.AllocsPerRun(100, func() { _, _, _ = SplitHost(authority) }); n > 0 {
			t.Errorf("%q costs %v allocations", authority, n)
		}
	}
}

// FuzzHost: no host is accepted that would be ambiguous in a key or a URL, and each is
// read as what it is written as.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"a:80", "[::1]:8", "A.B.", "a b", "[::1", "%", "..", "[::1%a]:1", "\u212A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, ok := SplitHost(s)
		if !ok {
			return
		}
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, "/?#@ \t\\[]%\r\n\x00") || strings.ContainsAny(port, ":/") {
			t.Fatalf("%q was read as %q and %q", s, host, port)
		}
		authority := (&Request{Host: host, Port: port}).Authority()
		if again, port2, ok := SplitHost(authority); !ok || port2 != port || again != host {
			t.Fatalf("%q is %q, and that is %q and %q", s, authority, again, port2)
		}
	})
}
