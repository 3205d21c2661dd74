package header

import "strings"

// EqualName reports whether two field names are the same, ASCII case folded.
func EqualName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z' {
			return false
		}
	}
	return true
}

// HasPrefixName reports whether name starts with prefix, ASCII case folded.
func HasPrefixName(name, prefix string) bool {
	return len(name) >= len(prefix) && EqualName(name[:len(prefix)], prefix)
}

// hopByHop are the fields that belong to one connection (RFC 9110 §7.6.1) besides
// those that Connection names. Proxy-Authenticate and its kin are between a client
// and the proxy next to it (RFC 9110 §11.7).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "TE", "Trailer",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info", "HTTP2-Settings",
}

// RemoveHopByHop drops every field that is meant for the next hop alone: those of
// RFC 9110 §7.6.1 and those that Connection names.
func (b *Block) RemoveHopByHop() {
	var named []string
	for v := range b.Values("Connection") {
		for token := range strings.SplitSeq(v, ",") {
			if token = strings.TrimSpace(token); token != "" {
				named = append(named, token)
			}
		}
	}
	b.Filter(func(name, _ string) bool {
		return !containsName(hopByHop, name) && !containsName(named, name)
	})
}

func containsName(names []string, name string) bool {
	for _, n := range names {
		if EqualName(n, name) {
			return true
		}
	}
	return false
}

// validName: RFC 9110 §5.6.2, token.
func validName(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return true
}

// tokenByte is tchar of RFC 9110 §5.6.2.
var tokenByte = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return
}()

// validValue: RFC 9110 §5.5, field-content; no controls but tab, no white space
// at the ends.
func validValue(s string) bool {
	if s == "" {
		return true
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	first, last := s[0], s[len(s)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t'
}
