package edge

import (
	"time"

	"freshet/edge/response"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// Soft marks: what one covers is stale from the moment on at which it was appended. It is
// used within its stale windows as of that moment, else validated; nothing but an answer
// that is true beyond the mark makes it fresh again (rules 8, 11, 14 and 17 of the protocol).

// lifeOf is what a stored response can be used for now; nil for nil. soft: a mark that is
// open, or that the child which asks knows of, has made it stale.
func (w *walk) lifeOf(r *response.Response) (life *httpcache.Facts, soft bool) {
	if r == nil {
		return nil, false
	}
	life, soft = r.Life(w.req.Received, &w.life)
	if !soft && w.fence.Soft != 0 && r.Truth().Open(w.fence) {
		w.life = r.Facts.ExpiredAt(w.req.Received)
		return &w.life, true
	}
	return life, soft
}

// soften makes of a decision on what is stale by a mark what the mark allows: beyond the
// stale windows not even a client's max-stale, and for a child that knows of the mark no
// answer without validation.
func (w *walk) soften(d *httpcache.Decision, r *response.Response) {
	if d.Verdict > httpcache.UseAndRefresh && d.Verdict != httpcache.ValidateElseStale {
		return
	}
	state := w.life.At(w.req.Received)
	switch {
	case state == httpcache.Revalidate && d.Verdict <= httpcache.UseAndRefresh && !r.Truth().Open(w.fence):
		d.Verdict, d.Detail = httpcache.UseAndRefresh, "stale-while-revalidate"
		return
	case d.Verdict != httpcache.ValidateElseStale && httpcache.ParseRequest(w.req.Header).OnlyIfCached:
		d.Verdict = httpcache.Unsatisfiable
	case state == httpcache.Expired:
		d.Verdict = httpcache.Validate
	default:
		d.Verdict = httpcache.ValidateElseStale
	}
	d.Fwd, d.Detail = "stale", "invalidated"
}

// knew reports whether the soft mark of an answer was known when the request arrived, here
// or by the child that asks.
func (w *walk) knew(t hop.Truth) bool {
	return t.Soft.Seq <= w.fence.Soft || t.Log == w.arrival.Log && t.Soft.Seq <= w.arrival.Seq
}

// settled reports whether what arrived may be used as far as soft marks go: none is open
// that the request has to know of, or it is within the window for which that makes it
// stale. ifError: the parent has nothing better.
func (w *walk) settled(r *response.Response, ifError bool) bool {
	t := r.Truth()
	if open := t.Soft.Seq != 0 && w.knew(t) || t.Open(w.fence); !open {
		return true
	}
	state := staleNow(r, w.edge.now())
	return state == httpcache.Revalidate && !t.Open(w.fence) || ifError && state <= httpcache.StaleOnFail
}

// staleNow is what a response that is stale by a mark can be used for; the mark may be one
// that only a child knows of.
func staleNow(r *response.Response, now time.Time) httpcache.State {
	var room httpcache.Facts
	if _, soft := r.Life(now, &room); !soft {
		room = r.Facts.ExpiredAt(now)
	}
	return room.At(now)
}

// openTo reports whether a mark is open on what is to be validated, for who asks with a
// fence. Then nothing counts but a strong validator: dates and weak ones extend a lifetime
// alone (rule 18).
func openTo(base *response.Response, fence hop.Fence) bool {
	t := base.Truth()
	return t.Soft.Seq != 0 || t.Open(fence) || fence != (hop.Fence{}) && !t.Satisfies(fence)
}
