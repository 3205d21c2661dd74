package h2

import (
	"errors"
	"strings"

	"freshet/internal/header"
)

func isTooLarge(err error) bool { return errors.Is(err, header.ErrTooLarge) }

// validMethod: RFC 9110 §9.1, a token.
func validMethod(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// validTarget: no controls, white space or fragment anywhere, and in the path each %
// before two hexadecimal digits, as net/http has it. Bytes above 0x7f pass.
func validTarget(s string) bool {
	query := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f || c == '#':
			return false
		case c == '?':
			query = true
		case c == '%' && !query && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])):
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}
