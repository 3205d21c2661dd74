package steer

import (
	"net/netip"

	"github.com/zeebo/xxh3"

	"freshet/internal/site"
)

// Query is one client that asks for one site.
type Query struct {
	Client  netip.Addr     // who asks; every edge counts as equally near to everyone
	Site    *site.Document // what for
	Family  Family         // only edges with an address of it
	Answers int            // how many edges at most; less than 1 is 1
	Turn    uint64         // which of the chosen comes first; by chance, so that clients spread
}

// Steer chooses edges for q by rendezvous hashing on the site's name, and orders
// them: the site's preferred ones, the same whoever asks, rotated by q.Turn. No two
// have one address. It is empty if no edge that may be named has an address of the
// family.
func (s *Snapshot) Steer(q Query) []*Edge {
	answers := min(max(q.Answers, 1), len(s.edges))
	if answers == 0 {
		return nil
	}
	// Selecting the best few is cheaper than sorting all: this runs for each question.
	seed := xxh3.HashString(q.Site.Site)
	best := ranking{edges: make([]*Edge, 0, answers), scores: make([]uint64, 0, answers)}
	for i := range s.edges {
		edge := &s.edges[i]
		if edge.Addr(q.Family).IsValid() {
			best.offer(edge, xxh3.HashStringSeed(edge.Name, seed))
		}
	}
	return rotate(best.edges, q.Turn)
}

// ranking holds the edges with the highest scores, highest first, as many as edges
// has room for.
type ranking struct {
	edges  []*Edge
	scores []uint64
}

// offer takes edge in if it is among the best so far; of equals the earlier stays.
func (r *ranking) offer(edge *Edge, score uint64) {
	at := len(r.edges)
	for at > 0 && score > r.scores[at-1] {
		at--
	}
	if at == cap(r.edges) {
		return
	}
	if len(r.edges) < cap(r.edges) {
		r.edges, r.scores = append(r.edges, nil), append(r.scores, 0)
	}
	copy(r.edges[at+1:], r.edges[at:])
	copy(r.scores[at+1:], r.scores[at:])
	r.edges[at], r.scores[at] = edge, score
}

// rotate begins the list at turn, modulo its length.
func rotate(edges []*Edge, turn uint64) []*Edge {
	if len(edges) < 2 {
		return edges
	}
	first := int(turn % uint64(len(edges)))
	return append(edges[first:len(edges):len(edges)], edges[:first]...)
}
