package h2

import (
	"time"

	"freshet/edge/listener/limits"
)

// budget is how often something may happen within limits.Window.
type budget struct {
	most, spent int
	since       time.Time
}

// spend counts one more and reports whether there is something left of the budget.
func (b *budget) spend(now time.Time) bool {
	if now.Sub(b.since) >= limits.Window {
		b.since, b.spent = now, 0
	}
	b.spent++
	return b.spent < b.most
}

// How many handlers a connection may begin. Each takes a grant. One that ends without
// the client having reset its stream brings its own back and another one, up to
// limits.Config.Streams: a connection that is used as it should be soon has as many as
// it may have streams. The grant of a stream that was reset is lost, so that resets in a
// row, whose requests may go on at the origin, soon find nothing that they could begin.
const (
	firstGrants = 24
	grantEvery  = 250 * time.Millisecond // one comes back, while there are fewer than firstGrants
)

// grants counts them.
type grants struct {
	left, most int
	since      time.Time // of the last one that time brought
}

// take takes one if there is any.
func (g *grants) take(now time.Time) bool {
	if g.left < min(firstGrants, g.most) {
		if n := int(now.Sub(g.since) / grantEvery); n > 0 {
			g.left = min(g.left+n, firstGrants, g.most)
			g.since = now
		}
	} else {
		g.since = now
	}
	if g.left == 0 {
		return false
	}
	g.left--
	return true
}

// earned gives back the grant of a stream that ended well, and one more.
func (g *grants) earned() { g.left = min(g.left+2, g.most) }
