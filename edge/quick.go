package edge

import (
	"context"
	"strings"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/internal/certs"
	"freshet/internal/httpcache"
)

// ServeQuick answers a request if what it takes lies in RAM and may be used as it is; see
// exchange.Quick. It goes the steps of Serve, and turns back where one would wait.
func (e *Edge) ServeQuick(req *exchange.Request, to exchange.Responder) (served bool) {
	if e.yielded.Load() || e.trusts(req) || mayWait(req) {
		return false
	}
	w := walks.Get().(*walk)
	w.enlist(e, context.Background(), req, to)
	w.quick = true
	served = w.atOnce()
	if served && e.access != nil {
		w.record()
	}
	if !w.owned {
		w.end()
		walks.Put(w)
	}
	return served
}

// mayWait reports whether a request is of a kind that may have to be handed on, or whose
// answer may have to be put together.
func mayWait(req *exchange.Request) bool {
	h := req.Header
	return req.Method != "GET" && req.Method != "HEAD" || req.Body != nil ||
		h.Has("Range") || h.Has("If-Match") || h.Has("If-Unmodified-Since")
}

// atOnce is the walk that looks into RAM and nowhere else. Where it returns false nothing
// was sent or counted.
func (w *walk) atOnce() bool {
	if _, refused := w.admit(); refused != "" || w.upgrades() || w.past() != "" || w.rules.Preflight != nil || w.rules.Redirect.Status != 0 {
		return false
	}
	r, verdict := w.look()
	if verdict != httpcache.Use && verdict != httpcache.UseAndRefresh || r.Kind != response.Content || !inMemoryAlone(r) {
		return false
	}
	if !w.stored(r) || w.later {
		return false
	}
	w.count()
	if verdict == httpcache.UseAndRefresh {
		w.refresh(r)
	}
	return true
}

// inMemoryAlone reports whether all of r's body lies in RAM.
func inMemoryAlone(r *response.Response) bool { return r.Body == nil || r.Body.Bytes() != nil }

// upgrades reports whether upgrade would answer.
func (w *walk) upgrades() bool {
	return w.req.Scheme == "http" &&
		(strings.HasPrefix(w.req.Target, certs.ChallengePath) || w.site.Secure(w.req, w.edge.secure.port).Status != 0)
}
