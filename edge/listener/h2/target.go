package h2

import (
	"errors"
	"net/netip"
	"strconv"
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

// splitHost takes an authority apart as the full lane does: the name lower-cased,
// without its final dot and the brackets of an IPv6 address. A plain one costs nothing.
func splitHost(authority string) (host, port string, ok bool) {
	host = authority
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host, port = authority[:i], authority[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", "", false
		}
	}
	if strings.HasPrefix(host, "[") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
		if err != nil || !strings.HasSuffix(host, "]") {
			return "", "", false
		}
		return addr.String(), port, true
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || len(host) > 253 {
		return "", "", false
	}
	for i := 0; i < len(host); i++ {
		if c := host[i]; c <= ' ' || c == 0x7f || strings.IndexByte(":/?#@[]\\%", c) >= 0 {
			return "", "", false
		}
	}
	return host, port, true
}
