package httpcache

import (
	"slices"
	"strconv"
	"strings"
)

// opaque are the fields whose values are compared byte for byte: in them a comma
// is not known to separate.
var opaque = []string{"authorization", "cookie", "proxy-authorization", "referer", "user-agent"}

// appendNormal appends the normal form of the value of a request field, of which
// the lines have been joined. Two values with one normal form have the same
// meaning by the specification of the field (RFC 9111 §4.1):
//
//   - Accept-Encoding: case, white space, the order of the members, the spelling of
//     weights and x-gzip for gzip mean nothing (RFC 9110 §12.5.3, §8.4.1).
//   - Accept-Language: the same, but members of equal weight keep their order, for
//     some origins take it as a preference (§12.5.4).
//   - every other field that may be a list: white space beside a comma means
//     nothing, because joining lines may put it there (§5.3). Quoted strings and
//     comments are left alone.
//
// A value of the first two that does not follow its grammar stays as it is.
func appendNormal(dst []byte, name, value string) []byte {
	switch {
	case name == "accept-encoding" || name == "accept-language":
		languages := name == "accept-language"
		var few [16]preference
		if prefs, ok := parsePreferences(few[:0], value, languages); ok {
			return appendPreferences(dst, prefs, languages)
		}
		return append(append(dst, '='), value...)
	case contains(opaque, name):
		return append(dst, value...)
	}
	return appendTight(dst, value)
}

// preference is a member of an Accept field with its weight in thousandths.
type preference struct {
	name   string
	weight int
}

// maxPreferences bounds what is sorted for one field.
const maxPreferences = 64

// parsePreferences appends what "name;q=0.5, …" says, of languages or of content
// codings, to none. ok is false if anything is malformed, or a name stands twice with
// different weights.
func parsePreferences(prefs []preference, value string, languages bool) (_ []preference, ok bool) {
	for m := range members(value) {
		name, parameter, weighted := strings.Cut(m, ";")
		p := preference{strings.ToLower(trimSpace(name)), 1000}
		if !languages && (p.name == "x-gzip" || p.name == "x-compress") {
			p.name = p.name[2:] // RFC 9110 §8.4.1
		}
		if weighted {
			if p.weight, ok = parseWeight(trimSpace(parameter)); !ok {
				return nil, false
			}
		}
		if !isToken(p.name) || len(prefs) == maxPreferences {
			return nil, false
		}
		if i := slices.IndexFunc(prefs, func(o preference) bool { return o.name == p.name }); i >= 0 {
			if prefs[i] != p {
				return nil, false
			}
			continue
		}
		prefs = append(prefs, p)
	}
	return prefs, true
}

// parseWeight reads weight without its semicolon, "q=0.5", as thousandths (RFC
// 9110 §12.4.2).
func parseWeight(s string) (int, bool) {
	if len(s) < 3 || len(s) > 7 || s[0]|0x20 != 'q' || s[1] != '=' || s[2] != '0' && s[2] != '1' {
		return 0, false
	}
	if len(s) > 3 && s[3] != '.' {
		return 0, false
	}
	digits := "000"
	if len(s) > 4 {
		digits = (s[4:] + digits)[:3]
	}
	n := number(digits)
	if s[2] == '1' {
		return 1000, n == 0
	}
	return n, n >= 0
}

func appendPreferences(dst []byte, prefs []preference, ordered bool) []byte {
	slices.SortStableFunc(prefs, func(a, b preference) int {
		if a.weight != b.weight || ordered {
			return b.weight - a.weight
		}
		return strings.Compare(a.name, b.name)
	})
	for i, p := range prefs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, p.name...)
		if p.weight != 1000 {
			dst = strconv.AppendInt(append(dst, ';'), int64(p.weight), 10)
		}
	}
	return dst
}

// appendTight appends a value without the white space beside its commas, but for
// those inside quoted strings and comments. What opens and does not close stays as
// it is to the end.
func appendTight(dst []byte, s string) []byte {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && depth == 0:
			n := quotedEnd(s[i:])
			if n == 0 {
				return append(dst, s[i:]...)
			}
			dst = append(dst, s[i:i+n]...)
			i += n - 1
			continue
		case c == '(':
			depth++
		case c == ')':
			depth = max(depth-1, 0)
		case c == ',' && depth == 0:
			for n := len(dst); n > 0 && isSpace(dst[n-1]); n = len(dst) {
				dst = dst[:n-1]
			}
			for i+1 < len(s) && isSpace(s[i+1]) {
				i++
			}
			dst = append(dst, ',')
			continue
		}
		dst = append(dst, s[i])
	}
	return dst
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
