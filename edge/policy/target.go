package policy

import (
	"strings"

	"freshet/internal/site"
)

// refusal says why a target is not served, "" if it is. What no target may hold (RFC
// 9112 §3.2.1, RFC 3986 §3) is always refused, since a parent may end the path there;
// guarded adds the paths by which rules could be evaded.
func refusal(target, path string, guarded bool) string {
	if len(target) > maxTarget {
		return "the request target is too long"
	}
	for i := 0; i < len(target); i++ {
		if c := target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return "the request target has a character that must be encoded"
		}
	}
	if !guarded {
		return ""
	}
	if why := site.AmbiguousPath(path); why != "" {
		return "the path " + why
	}
	return ""
}

// splitTarget cuts a target into path and query, the query with its question mark.
func splitTarget(target string) (path, query string) {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i:]
	}
	return target, ""
}

// location makes an expanded template a Location: what is no URL character is
// encoded, and a path that would be read as another host's stays a path.
func location(expanded []byte) string {
	var b strings.Builder
	if strings.HasPrefix(string(expanded), "//") {
		b.WriteString("/.") // RFC 3986 §4.2: two slashes begin an authority
	}
	const hex = "0123456789ABCDEF"
	for _, c := range expanded {
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
