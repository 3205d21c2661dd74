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

// nextTag cuts the first member off a list of entity-tags. A comma inside the
// quotes of a tag does not separate; there are no escapes in them.
func nextTag(s string) (tag, rest string) {
	s = strings.TrimLeft(s, " \t,")
	end := 0
	if start := strings.TrimPrefix(s, "W/"); strings.HasPrefix(start, `"`) {
		if i := strings.IndexByte(start[1:], '"'); i >= 0 {
			end = len(s) - len(start) + i + 2
		}
	}
	if i := strings.IndexByte(s[end:], ','); i >= 0 {
		return trimSpace(s[:end+i]), s[end+i:]
	}
	return trimSpace(s), ""
}
