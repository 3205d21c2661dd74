package listener

import (
	"context"
	"strings"
	"testing"

	"freshet/edge/exchange"
)

// handler is an exchange.Handler made of a function.
type handler func(req *exchange.Request, to exchange.Responder)

func (h handler) Serve(_ context.Context, req *exchange.Request, to exchange.Responder) { h(req, to) }

// FuzzHost: no host is accepted that would be ambiguous in a key or a URL.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"a:80", "[::1]:8", "A.B.", "a b", "[::1", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, ok := splitHost(s)
		if !ok {
			return
		}
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, "/?#@ \t\\[]") || strings.ContainsAny(port, ":/") {
			t.Fatalf("%q was read as %q and %q", s, host, port)
		}
	})
}
