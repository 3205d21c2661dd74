package httpcache

import "freshet/internal/header"

// IsSafe reports whether a method is safe (RFC 9110 §9.2.1). A method that is not
// known is not.
func IsSafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH":
		return true
	}
	return false
}

// invalidates reports whether an answer ends the life of what is stored: it is no
// error, to a method that is not safe (RFC 9111 §4.4).
func invalidates(method string, status int) bool {
	return !IsSafe(method) && status >= 200 && status <= 399
}

// Invalidated is what the answer to a request with an unsafe method makes untrue
// (RFC 9111 §4.4): the target (path and query) that it was sent to, and those of
// Location and Content-Location if they have the same origin. Nil for a safe
// method and for an error. scheme and authority are those of the request. Targets
// are taken as they are spelled, but for the resolution of RFC 3986 §5.2.
func Invalidated(method, scheme, authority, target string, status int, response *header.Block) []string {
	if !invalidates(method, status) {
		return nil
	}
	targets := []string{target}
	for _, name := range [...]string{"Location", "Content-Location"} {
		t, ok := resolveSameOrigin(scheme, authority, target, onlyValue(response, name))
		if ok && !contains(targets, t) {
			targets = append(targets, t)
		}
	}
	return targets
}
