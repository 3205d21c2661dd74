package steer

import (
	"net/netip"
	"slices"
	"strings"

	"freshet/internal/cluster"
)

// Family is an address family.
type Family int

// The families.
const (
	IPv4 Family = iota
	IPv6
)

// Edge is an edge that can be named.
type Edge struct {
	Name  string
	addrs [2]netip.Addr // by Family
}

// Addr is the edge's most preferred address of the family, invalid if it has none.
func (e *Edge) Addr(f Family) netip.Addr { return e.addrs[f] }

// Snapshot is what decisions are made from: the edges as they were at one moment.
// It is immutable.
type Snapshot struct {
	edges []Edge // that may be named, sorted by name
	ready []Edge // that were ready when last any was, sorted by name
	panic bool
}

// NewSnapshot takes the news of nodes, which follows what before was made of (nil:
// nothing was known). Edges without a usable address are as good as not ready.
//
// If none is ready, the ones that last were may be named: those of them that are
// still members, at the addresses that they have now, or all of them where the
// news knows none.
func NewSnapshot(before *Snapshot, nodes cluster.Nodes) *Snapshot {
	members := make(map[string]Edge)
	var ready []Edge
	for _, node := range nodes.List {
		if node.Role != cluster.Edge {
			continue
		}
		edge, ok := newEdge(node)
		if !ok {
			continue
		}
		members[node.Name] = edge
		if node.Ready {
			ready = append(ready, edge)
		}
	}
	if len(ready) > 0 {
		slices.SortFunc(ready, func(a, b Edge) int { return strings.Compare(a.Name, b.Name) })
		nameOnce(ready)
		return &Snapshot{edges: ready, ready: ready}
	}
	if before == nil || len(before.ready) == 0 {
		return &Snapshot{}
	}
	var known []Edge
	for _, edge := range before.ready {
		if now, ok := members[edge.Name]; ok {
			known = append(known, now)
		}
	}
	if len(known) == 0 {
		known = slices.Clone(before.ready)
	}
	nameOnce(known)
	return &Snapshot{edges: known, ready: before.ready, panic: true}
}

// nameOnce leaves an address that several edges share to the first: an answer
// names no address twice.
func nameOnce(edges []Edge) {
	taken := make(map[netip.Addr]bool)
	for i := range edges {
		for family, addr := range edges[i].addrs {
			if taken[addr] {
				edges[i].addrs[family] = netip.Addr{}
			}
			if addr.IsValid() {
				taken[addr] = true
			}
		}
	}
}

// Ready is the number of edges that are ready.
func (s *Snapshot) Ready() int {
	if s.panic {
		return 0
	}
	return len(s.edges)
}

// Edges is the number of edges that may be named.
func (s *Snapshot) Edges() int { return len(s.edges) }

// Panic tells that no edge is ready, so that those that last were are named.
func (s *Snapshot) Panic() bool { return s.panic }

// newEdge is the node as an edge; false if no client could reach it.
func newEdge(node cluster.Node) (Edge, bool) {
	edge := Edge{Name: node.Name}
	for _, ap := range node.Addrs {
		addr := ap.Addr().Unmap()
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
			continue
		}
		family := IPv4
		if addr.Is6() {
			family = IPv6
		}
		if !edge.addrs[family].IsValid() {
			edge.addrs[family] = addr
		}
	}
	return edge, edge.addrs != [2]netip.Addr{}
}
