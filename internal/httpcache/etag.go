package httpcache

import "strings"

// validTag reports whether s is an entity-tag (RFC 9110 §8.8.3).
func validTag(s string) bool {
	s = strings.TrimPrefix(s, "W/")
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		if c := s[i]; c == '"' || c < 0x21 || c == 0x7f {
			return false
		}
	}
	return true
}

// IsStrong reports whether s is a strong entity-tag.
func IsStrong(s string) bool { return validTag(s) && s[0] == '"' }

// StrongMatch is the strong comparison of RFC 9110 §8.8.3.2.
func StrongMatch(a, b string) bool { return a == b && IsStrong(a) }

// WeakMatch is the weak comparison of RFC 9110 §8.8.3.2.
func WeakMatch(a, b string) bool {
	return validTag(a) && validTag(b) && strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}
