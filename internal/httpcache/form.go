package httpcache

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// formPair is one name and value of application/x-www-form-urlencoded.
type formPair struct{ key, value string }

// parseForm is the WHATWG parser of that format: it accepts every input.
func parseForm(s string) []formPair {
	var pairs []formPair
	for seq := range strings.SplitSeq(s, "&") {
		if seq == "" {
			continue
		}
		key, value, _ := strings.Cut(seq, "=")
		pairs = append(pairs, formPair{decodeForm(key), decodeForm(value)})
	}
	return pairs
}

// decodeForm undoes "+" and percent-encoding; a "%" that introduces nothing stands
// for itself, and bytes that are no UTF-8 become U+FFFD.
func decodeForm(s string) string {
	if strings.IndexByte(s, '%') >= 0 || strings.IndexByte(s, '+') >= 0 {
		b := make([]byte, 0, len(s))
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case c == '+':
				b = append(b, ' ')
			case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
				b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
				i += 2
			default:
				b = append(b, c)
			}
		}
		s = string(b)
	}
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			n = brokenRune(s)
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}

// brokenRune is how many bytes at the start of s, which is no UTF-8 there, stand
// for one U+FFFD: the longest part that a valid sequence could begin with, as the
// WHATWG decoder has it. Another choice would make queries equal that are not.
func brokenRune(s string) int {
	lower, upper, more := byte(0x80), byte(0xBF), 0
	switch c := s[0]; {
	case c >= 0xC2 && c <= 0xDF:
		more = 1
	case c >= 0xE0 && c <= 0xEF:
		more = 2
		if c == 0xE0 {
			lower = 0xA0
		} else if c == 0xED {
			upper = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		more = 3
		if c == 0xF0 {
			lower = 0x90
		} else if c == 0xF4 {
			upper = 0x8F
		}
	}
	n := 1
	for n <= more && n < len(s) && s[n] >= lower && s[n] <= upper {
		lower, upper = 0x80, 0xBF
		n++
	}
	return n
}

func encodeForm(pairs []formPair) string {
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.key) + "=" + url.QueryEscape(p.value))
	}
	return b.String()
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
