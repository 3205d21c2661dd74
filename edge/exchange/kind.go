package exchange

import "strings"

// IsGRPC reports whether a Content-Type is one of gRPC over HTTP/2: messages of either
// side may come whenever they like.
func IsGRPC(contentType string) bool {
	rest, ok := cutFold(contentType, "application/grpc")
	return ok && (rest == "" || strings.ContainsAny(rest[:1], "+; \t"))
}

// IsEventStream reports whether a Content-Type is that of server-sent events.
func IsEventStream(contentType string) bool {
	rest, ok := cutFold(contentType, "text/event-stream")
	return ok && (rest == "" || strings.ContainsAny(rest[:1], "; \t"))
}

// cutFold is what follows a prefix, in whatever case that is.
func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}
