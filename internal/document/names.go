package document

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// CheckName says what is wrong with the name of a node, PoP, region or site: it is
// one lower-case DNS label.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > 63 || !isLabel(name) {
		return fmt.Errorf("%s is no name: lower-case letters, digits and dashes (not first or last), at most 63", quote(name))
	}
	return nil
}

// CheckHost says what is wrong with a host name: lower-case labels, at most 253
// bytes, without port or final dot. IPv4 addresses pass.
func CheckHost(host string) error {
	switch {
	case host == "":
		return errors.New("the host is empty")
	case host != strings.ToLower(host):
		return fmt.Errorf("%s must be in lower case: %s", quote(host), shorten(strings.ToLower(host)))
	case strings.Contains(host, ":"):
		return fmt.Errorf("%s must be a host name alone, without port or scheme", quote(host))
	case strings.HasSuffix(host, "."):
		return fmt.Errorf("%s must not end in a dot", quote(host))
	case len(host) > 253:
		return fmt.Errorf("%s is longer than 253 characters", quote(host))
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || !isLabel(label) {
			return fmt.Errorf("%s is no host name: labels of letters, digits and dashes (not first or last), at most 63 each, between single dots; other alphabets in their xn-- form", quote(host))
		}
	}
	return nil
}

func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' && i > 0 && i < len(s)-1) {
			return false
		}
	}
	return true
}

// CheckHostPort says what is wrong with host:port. The host may be empty if
// anyHost; a port may be 0 only there, too (any free one).
func CheckHostPort(address string, anyHost bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s is no address: write host:port, or [address]:port for IPv6", quote(address))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && !anyHost {
		return fmt.Errorf("%s has no valid port: a number up to 65535", quote(address))
	}
	if host == "" && anyHost || net.ParseIP(host) != nil {
		return nil
	}
	return CheckHost(host)
}

// CheckBaseURL says what is wrong with http(s)://host[:port]. It does not repeat a
// URL that may have a password in it.
func CheckBaseURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("this is no URL: write http://host or https://host, and the port if need be")
	case u.User != nil || strings.Contains(u.Opaque, "@"):
		return errors.New("the URL must have no user name or password")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s must begin with http:// or https://", quote(text))
	case u.Host == "":
		return fmt.Errorf("%s has no host", quote(text))
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return fmt.Errorf("%s must end after the host and port: no path, query or fragment", quote(text))
	}
	if u.Port() != "" || strings.HasSuffix(u.Host, ":") {
		return CheckHostPort(u.Host, false)
	}
	if host := u.Hostname(); net.ParseIP(host) == nil {
		return CheckHost(host)
	}
	return nil
}
