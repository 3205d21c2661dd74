package site

import "strings"

// AmbiguousPath says why an origin may take a path for another one than its bytes
// say, "" if no origin should: then rules that match by path can be evaded, since
// they match on the bytes. Encoded delimiters such as %2B are not looked at: whether
// they mean the same is the origin's to say (RFC 3986 §2.2).
func AmbiguousPath(path string) string {
	for i := 0; i < len(path); i++ {
		why := ""
		switch path[i] {
		case '\\':
			why = "has a backslash"
		case '/':
			why = ambiguousSegment(path[i+1:])
		case '%':
			why = ambiguousEscape(path[i+1:])
		}
		if why != "" {
			return why
		}
	}
	return ""
}

// ambiguousSegment judges the segment that rest begins with.
func ambiguousSegment(rest string) string {
	segment, _, more := strings.Cut(rest, "/")
	segment, _, _ = strings.Cut(segment, ";") // parameters: some origins drop them first
	switch {
	case segment == "." || segment == "..":
		return "has a dot segment"
	case segment == "" && more:
		return "has an empty segment"
	}
	return ""
}

// ambiguousEscape judges the %-encoding whose digits digits begins with.
func ambiguousEscape(digits string) string {
	if len(digits) < 2 {
		return "has a malformed %-encoding"
	}
	high, ok1 := unhex(digits[0])
	low, ok2 := unhex(digits[1])
	switch c := high<<4 | low; {
	case !ok1 || !ok2:
		return "has a malformed %-encoding"
	case c == '/' || c == '\\':
		return "has an encoded slash or backslash"
	case c < ' ' || c == 0x7f:
		return "has an encoded control character"
	case unreserved(c):
		return "encodes a letter, a digit or one of -._~, which must not be (RFC 3986 section 2.3)"
	}
	return ""
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unreserved characters mean the same with and without encoding (RFC 3986 §2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
