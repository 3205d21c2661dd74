package httpcache

import (
	"net/url"
	"strings"

	"freshet/internal/header"
)

// IsSafe reports whether a method is safe (RFC 9110 §9.2.1). A method that is not
// known is not.
func IsSafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH":
		return true
	}
	return false
}

// Invalidated is what the answer to a request with an unsafe method makes untrue
// (RFC 9111 §4.4): the target (path and query) that it was sent to, and those of
// Location and Content-Location if they have the same origin. Nil for a safe
// method and for an error. scheme and authority are those of the request, and may
// not be empty.
func Invalidated(method, scheme, authority, target string, status int, response *header.Block) []string {
	if IsSafe(method) || status < 200 || status > 399 {
		return nil
	}
	targets := []string{target}
	base, err := url.ParseRequestURI(target)
	if err != nil {
		return targets
	}
	base.Scheme, base.Host = strings.ToLower(scheme), authority
	for _, name := range [...]string{"Location", "Content-Location"} {
		if t, ok := resolveSameOrigin(base, onlyValue(response, name)); ok && !contains(targets, t) {
			targets = append(targets, t)
		}
	}
	return targets
}

// resolveSameOrigin is the path and query of a reference, if it points to the
// origin of base (RFC 9110 §4.3.1).
func resolveSameOrigin(base *url.URL, reference string) (string, bool) {
	if reference == "" {
		return "", false
	}
	u, err := base.Parse(reference)
	if err != nil || u.Scheme != base.Scheme || !strings.EqualFold(hostPort(u), hostPort(base)) {
		return "", false
	}
	return u.RequestURI(), true
}

// hostPort is the authority with the default port spelled out.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Hostname() + ":" + port
}
