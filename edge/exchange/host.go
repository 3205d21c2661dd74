package exchange

import (
	"net/netip"
	"strings"
)

// maxHost is the longest name of a host in bytes (RFC 1035 §2.3.4).
const maxHost = 253

// SplitHost takes a Host field or an :authority apart (RFC 9110 §7.2): the host in lower
// case, without its final dot or the brackets of an IPv6 address, and the port as it is
// given, "" where none is. ok is false for all but names of letters, digits, hyphens,
// underscores and dots, and addresses, with a port from 1 to 65535 or none. What is given
// as it is returned costs no memory.
func SplitHost(authority string) (host, port string, ok bool) {
	host, end := authority, strings.IndexByte(authority, ']')+1
	if i := strings.IndexByte(authority[end:], ':'); i >= 0 {
		host, port = authority[:end+i], authority[end+i+1:]
		if !isPort(port) {
			return "", "", false
		}
	}
	if end > 0 {
		if host, ok = literal(host); !ok {
			return "", "", false
		}
		return host, port, true
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > maxHost || host[len(host)-1] == '.' {
		return "", "", false
	}
	upper := false
	for i := 0; i < len(host); i++ {
		switch hostByte[host[i]] {
		case lower:
		case capital:
			upper = true
		default:
			return "", "", false
		}
	}
	if upper {
		host = strings.ToLower(host)
	}
	return host, port, true
}

// Classes of bytes in the name of a host.
const (
	foreign = iota
	lower   // stands in it as it is
	capital
)

var hostByte = func() (t [256]uint8) {
	for _, c := range "0123456789abcdefghijklmnopqrstuvwxyz-._" {
		t[c] = lower
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] = capital
	}
	return
}()

// literal is the address of IPv6 within brackets, as RFC 5952 has it. A zone means
// nothing to anybody but its own host (RFC 6874 §1).
func literal(s string) (host string, ok bool) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return "", false
	}
	s = s[1 : len(s)-1]
	addr, err := netip.ParseAddr(s)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", false
	}
	var buf [64]byte
	if text := addr.AppendTo(buf[:0]); string(text) != s {
		return string(text), true
	}
	return s, true
}

// isPort reports whether s is a port number of at most five digits.
func isPort(s string) bool {
	if len(s) == 0 || len(s) > 5 {
		return false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return 0 < n && n < 1<<16
}

// Authority is host and port as they stand in a URL.
func (r *Request) Authority() string {
	if r.Port == "" && !r.literal() {
		return r.Host
	}
	return string(r.AppendAuthority(nil))
}

// AppendAuthority appends Authority.
func (r *Request) AppendAuthority(b []byte) []byte {
	if r.literal() {
		b = append(append(append(b, '['), r.Host...), ']')
	} else {
		b = append(b, r.Host...)
	}
	if r.Port != "" {
		b = append(append(b, ':'), r.Port...)
	}
	return b
}

// literal reports whether Host is an address of IPv6.
func (r *Request) literal() bool { return strings.IndexByte(r.Host, ':') >= 0 }
