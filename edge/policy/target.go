package policy

import (
	"strings"
)

// ambiguity says why two parsers could read a target in two ways, "" if they could
// not. What no target may hold is always refused; guarded adds the paths that an
// origin may take for another one, so that they evade rules which match by path.
func ambiguity(path, query string, guarded bool) string {
	for i := 0; i < len(path); i++ {
		if c := path[i]; c <= ' ' || c == 0x7f || c == '#' {
			return "the path has a character that must be encoded"
		}
	}
	for i := 0; i < len(query); i++ {
		if c := query[i]; c <= ' ' || c == 0x7f || c == '#' {
			return "the query has a character that must be encoded"
		}
	}
	if guarded {
		return ambiguousPath(path)
	}
	return ""
}

// ambiguousPath says why an origin may take path for another one.
func ambiguousPath(path string) string {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; c {
		case '\\':
			return "the path has a backslash"
		case '/':
			rest := path[i+1:]
			segment, _, more := strings.Cut(rest, "/")
			if segment == "." || segment == ".." {
				return "the path has a dot segment"
			}
			if segment == "" && more {
				return "the path has an empty segment"
			}
		case '%':
			if why := ambiguousEscape(path[i:]); why != "" {
				return why
			}
		}
	}
	return ""
}

// ambiguousEscape judges the %-encoding that s begins with.
func ambiguousEscape(s string) string {
	if len(s) < 3 {
		return "the path has a malformed %-encoding"
	}
	high, ok1 := unhex(s[1])
	low, ok2 := unhex(s[2])
	c := high<<4 | low
	switch {
	case !ok1 || !ok2:
		return "the path has a malformed %-encoding"
	case c == '/' || c == '\\':
		return "the path has an encoded slash"
	case c < ' ' || c == 0x7f:
		return "the path has an encoded control character"
	case unreserved(c):
		return "the path encodes a character that needs none"
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

// sanitizeLocation makes an expanded redirect safe: what is no URL character is
// encoded, and a path that would be read as another host's stays a path.
func sanitizeLocation(location []byte) string {
	var b strings.Builder
	if len(location) > 1 && location[0] == '/' && (location[1] == '/' || location[1] == '\\') {
		b.WriteString("/.") // RFC 3986 §4.2: a path must not begin with two slashes
	}
	const hex = "0123456789ABCDEF"
	for _, c := range location {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
