package httpcache

import (
	"net/url"
	"strings"
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
	return strings.ToValidUTF8(s, "\uFFFD")
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

// compareText orders keys by UTF-16 code units, as the draft does.
func compareText(a, b string) int { return strings.Compare(a, b) }
