package httpcache

import (
	"strings"

	"freshet/internal/header"
)

// reference is a URI reference in its parts, as they are spelled (RFC 3986 §4.1),
// without the fragment.
type reference struct {
	scheme, authority, path, query    string
	hasScheme, hasAuthority, hasQuery bool
}

// parseReference splits a reference. It never fails: what has no scheme has a path.
func parseReference(s string) (r reference) {
	s, _, _ = strings.Cut(s, "#")
	if i := strings.IndexAny(s, ":/?"); i > 0 && s[i] == ':' && isScheme(s[:i]) {
		r.scheme, r.hasScheme, s = s[:i], true, s[i+1:]
	}
	s, r.query, r.hasQuery = strings.Cut(s, "?")
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			i = len(rest)
		}
		r.authority, r.hasAuthority, s = rest[:i], true, rest[i:]
	}
	r.path = s
	return r
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// resolveSameOrigin is the target (path and query) that a reference in the answer
// to a request for target points to (RFC 3986 §5.2.2); ok is false if it has
// another origin (RFC 9110 §4.3.1), names a user, or is empty.
func resolveSameOrigin(scheme, authority, target, ref string) (string, bool) {
	if ref == "" {
		return "", false
	}
	r := parseReference(ref)
	switch {
	case r.hasScheme && !header.EqualName(r.scheme, scheme):
		return "", false
	case r.hasScheme && !r.hasAuthority:
		return "", false // "https:path" is no http URI (RFC 9110 §4.2)
	case r.hasAuthority && !sameAuthority(r.authority, authority, scheme):
		return "", false
	}
	basePath, baseQuery, baseHasQuery := strings.Cut(target, "?")
	switch {
	case r.hasAuthority:
		r.path = removeDots(r.path)
	case r.path == "":
		r.path = basePath
		if !r.hasQuery {
			r.query, r.hasQuery = baseQuery, baseHasQuery
		}
	case r.path[0] == '/':
		r.path = removeDots(r.path)
	default:
		r.path = removeDots(basePath[:strings.LastIndexByte(basePath, '/')+1] + r.path)
	}
	if r.path == "" || r.path[0] != '/' {
		r.path = "/" + r.path
	}
	if r.hasQuery {
		r.path += "?" + r.query
	}
	return r.path, true
}

// sameAuthority compares host and port, the default port of the scheme spelled out.
func sameAuthority(a, b, scheme string) bool {
	port := ":80"
	if header.EqualName(scheme, "https") {
		port = ":443"
	}
	trim := func(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, port), ":") }
	return !strings.Contains(a, "@") && header.EqualName(trim(a), trim(b))
}

// removeDots is remove_dot_segments of RFC 3986 §5.2.4 for a path that begins with
// a slash.
func removeDots(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	kept := segments[:0]
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
		case ".":
		default:
			kept = append(kept, s)
			continue
		}
		if last {
			kept = append(kept, "") // "/a/." and "/a/b/.." are "/a/"
		}
	}
	return "/" + strings.Join(kept, "/")
}
