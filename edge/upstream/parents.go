package upstream

import (
	"slices"
	"sync/atomic"

	"freshet/internal/cluster"
	"freshet/internal/ring"
	"freshet/internal/site"
)

// Kind says what a parent is.
type Kind int

// The kinds of parents.
const (
	Mid     Kind = iota // a cache tier of this cluster: fences and truths are exchanged with it
	Origin              // the cluster's own origin
	Outside             // an origin outside of the cluster
)

// String is the kind in one word, as metrics and explanations have it.
func (k Kind) String() string { return [...]string{"mid", "origin", "outside"}[k] }

// Parent is one possible next hop up.
type Parent struct {
	Name string // the node's, or the authority of an outside origin
	URL  string // "http://host:port"
	Kind Kind
	Host string // Host field to send; empty passes the client's on
}

// String is the parent's name.
func (p Parent) String() string { return p.Name }

// Parents knows who can be asked. It may be used from any goroutine.
type Parents struct {
	role   cluster.Role
	region string
	loads  *ring.Loads
	nodes  atomic.Pointer[[]cluster.Node]
}

// NewParents is for a node of that role (Edge or Mid) and region; it knows nobody
// until Update. loads is what the node asks of each.
func NewParents(role cluster.Role, region string, loads *ring.Loads) *Parents {
	p := &Parents{role: role, region: region, loads: loads}
	p.nodes.Store(new([]cluster.Node))
	return p
}

// Update takes the members of the cluster over; it must not be called twice at the
// same time. News that all parents are gone at once is distrusted: those last known
// stay, as not ready, for a last try.
func (p *Parents) Update(nodes []cluster.Node) {
	if !slices.ContainsFunc(nodes, isParent) {
		nodes = slices.Clone(nodes)
		for _, n := range *p.nodes.Load() {
			if isParent(n) {
				n.Ready = false
				nodes = append(nodes, n)
			}
		}
	}
	p.nodes.Store(&nodes)
}

func isParent(n cluster.Node) bool { return n.Role == cluster.Mid || n.Role == cluster.Origin }

// For lists the parents for a key of a site in the order in which to ask them: for
// an edge the mids of its region in the key's order, then those of other regions;
// for both the origin last. Mids that have more than their share already come after
// others. Those that are not ready come after all that are, for
// a last try: the news of their death may be wrong.
func (p *Parents) For(s *site.Document, key string) []Parent {
	nodes := *p.nodes.Load()
	var parents []Parent
	pick := func(want func(cluster.Node) bool, kind Kind) {
		var found []cluster.Node
		var names []string
		for _, n := range nodes {
			if want(n) && len(n.Addrs) > 0 {
				found, names = append(found, n), append(names, n.Name)
			}
		}
		for _, i := range p.loads.Order(key, names) {
			parents = append(parents, Parent{Name: names[i], URL: "http://" + found[i].Addrs[0].String(), Kind: kind})
		}
	}
	for _, ready := range []bool{true, false} {
		if p.role == cluster.Edge {
			pick(func(n cluster.Node) bool { return n.Role == cluster.Mid && n.Ready == ready && n.Region == p.region }, Mid)
			pick(func(n cluster.Node) bool { return n.Role == cluster.Mid && n.Ready == ready && n.Region != p.region }, Mid)
		}
		if s.Origin.URL == "" {
			pick(func(n cluster.Node) bool { return n.Role == cluster.Origin && n.Ready == ready }, Origin)
		} else if ready {
			parents = append(parents, Parent{Name: s.Origin.URL, URL: s.Origin.URL, Kind: Outside, Host: s.Origin.Host})
		}
	}
	return parents
}
