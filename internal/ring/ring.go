// Package ring places keys on nodes by rendezvous hashing: each key has an order
// of all nodes, in which the first is its home. When a node goes, only the keys
// whose home it was move, each to its next.
package ring

import (
	"cmp"
	"slices"

	"github.com/zeebo/xxh3"
)

// Order returns the indices of nodes in the order of the key: the home first. The
// names decide, not their positions. It is a pure function; equal names keep their
// relative order.
func Order(key string, nodes []string) []int {
	type scored struct {
		index int
		score uint64
	}
	seed := xxh3.HashString(key)
	all := make([]scored, len(nodes))
	for i, name := range nodes {
		all[i] = scored{i, xxh3.HashStringSeed(name, seed)}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	order := make([]int, len(nodes))
	for i, s := range all {
		order[i] = s.index
	}
	return order
}
