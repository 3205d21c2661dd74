package accesslog

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
	"unsafe"
)

// maxText is how much of one text of a request is logged, in bytes: whole characters up
// to there.
const maxText = 4 << 10

// appendText appends a member of the object, unless its text is empty. What begins it is the
// comma before it, its name, and the quotation mark that opens its value.
func appendText(b []byte, begin, text string) []byte {
	if text == "" {
		return b
	}
	text = cut(text)
	b = slices.Grow(b, len(begin)+len(text)+1)
	to := b[len(b):cap(b)]
	n := copy(to, begin)
	copied := copyPlain(to[n:], text)
	b = b[:len(b)+n+copied]
	if copied < len(text) {
		b = appendEscaped(b, text[copied:])
	}
	return append(b, '"')
}

// cut shortens a text to maxText.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// copyPlain copies a text as far as it stands in a JSON string as it is, or not quite as
// far, and says how much that is: nearly always all of it. It copies and looks at a word at
// a time. There must be room for all of s.
func copyPlain(to []byte, s string) int {
	from := unsafe.Slice(unsafe.StringData(s), len(s))
	to = to[:len(from)]
	if len(from) < 8 {
		for i, c := range from {
			if !plain[c] {
				return i
			}
			to[i] = c
		}
		return len(from)
	}
	i := 0
	for ; i+16 < len(from); i += 16 {
		f, t := from[i:i+16], to[i:i+16]
		x, y := binary.LittleEndian.Uint64(f), binary.LittleEndian.Uint64(f[8:])
		if (special(x)|special(y))&tops != 0 {
			return i
		}
		binary.LittleEndian.PutUint64(t, x)
		binary.LittleEndian.PutUint64(t[8:], y)
	}
	if i+8 < len(from) {
		x := binary.LittleEndian.Uint64(from[i:])
		if special(x)&tops != 0 {
			return i
		}
		binary.LittleEndian.PutUint64(to[i:], x)
		i += 8
	}
	last := len(from) - 8 // this word may overlap with the one before
	x := binary.LittleEndian.Uint64(from[last:])
	if special(x)&tops != 0 {
		return i
	}
	binary.LittleEndian.PutUint64(to[last:], x)
	return len(from)
}

const ones, tops = 0x0101010101010101, 0x8080808080808080

// special has the top bits of bytes set that are not plain; where a sum or a difference of
// one byte runs over into the next, of that perhaps, too.
func special(x uint64) uint64 {
	quote, backslash := x^'"'*ones, x^'\\'*ones
	return x | (x + ones) | // above ASCII, DEL
		(x - ' '*ones) | (quote - ones) | (backslash - ones)
}

// plain are the bytes that stand in a JSON string as they are.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != 0x7f
	}
	return
}()

// appendEscaped appends a text as it stands in a JSON string (RFC 8259 §7). Bytes that are
// not UTF-8 become U+FFFD; what ends a line, or is a control, is escaped, also outside ASCII.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == '\u2028' || r == '\u2029' || r < 0xa0 {
				b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			} else {
				b = utf8.AppendRune(b, r)
			}
			i += n
		}
		start = i
	}
	return append(b, s[start:]...)
}
