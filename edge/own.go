package edge

import (
	"context"
	"strings"
	"time"
	"unsafe"

	"freshet/edge/accesslog"
	"freshet/edge/exchange"
	"freshet/edge/policy"
	"freshet/edge/response"
	"freshet/internal/header"
	"freshet/internal/httpcache"
)

// scratch is the memory that a walk leaves to the next one.
type scratch struct {
	rules    policy.Decision
	text     []byte                  // of the key
	chosen   []byte                  // of the variant's key
	line     []byte                  // of a field's value
	held     content                 // to answer with
	life     httpcache.Facts         // of what is stored, under a soft mark
	covering [4][]response.ScopeHash // of a fence
	out      exchange.Answer
	lines    accesslog.Encoder // of the access log
	extra    header.Block      // of out
	draft    header.Draft      // of out's Header, where it is not the stored one
}

// enlist makes w the walk of a request.
func (w *walk) enlist(e *Edge, ctx context.Context, req *exchange.Request, to exchange.Responder) {
	w.edge, w.ctx, w.req, w.to, w.stripe = e, ctx, req, to, e.traffic.stripe()
	w.arrival, w.touches = e.table.Clock(), e.table.Touches()
}

// end forgets the request, and leaves the memory.
func (w *walk) end() {
	w.course = course{}
	w.rules.Reset()
	w.held, w.out, w.covering = content{}, exchange.Answer{}, [4][]response.ScopeHash{}
}

// own makes the walk share nothing with the listener but the body of its request and the
// responder: from here on it may be kept. It is not used again for another request. What
// leads to a parent begins with it.
func (w *walk) own() {
	if w.owned {
		return
	}
	w.owned = true
	req := w.req.Clone()
	req.Body, req.Length, req.Conn = w.req.Body, w.req.Length, w.req.Conn
	w.req, w.rules = req, w.rules.Clone()
	w.key.Text, w.seenKey.Text = strings.Clone(w.key.Text), strings.Clone(w.seenKey.Text)
	w.fillKey = strings.Clone(w.fillKey)
}

// keyOf makes the key of a text in memory of the walk. The key's text lies there too, as
// long as the walk does not own itself.
func (w *walk) keyOf(text []byte) response.Key {
	if w.owned {
		return response.NewKey(string(text))
	}
	return response.NewKey(unsafe.String(unsafe.SliceData(text), len(text)))
}

// variant is the key of the variant that the request selects of what its own key has.
func (w *walk) variant(names []string) response.Key {
	if len(names) == 0 {
		return w.key
	}
	w.chosen = append(append(w.chosen[:0], w.key.Text...), '\n')
	w.chosen = httpcache.AppendVariant(w.chosen, w.req.Header, names)
	return w.keyOf(w.chosen)
}

// covers are the scopes that cover whatever is stored for the request; nil where the
// request was refused.
func (w *walk) covers() []response.ScopeHash {
	if w.scopes == nil && w.key.Text != "" {
		w.scopes = w.rules.Scopes(w.key)
	}
	return w.scopes
}

// now is the time: of a walk that has waited for nothing, that of its request.
func (w *walk) now() time.Time {
	if w.owned {
		return w.edge.now()
	}
	return w.req.Received
}
