package disk

import (
	"sync/atomic"

	"freshet/edge/response"
)

// admits reports whether r is worth writing. Policy: while the disk has room, everything;
// then only what was offered before, not long ago, or replaces what is there: most of
// what is asked for once is never asked for again, and would evict what is.
func (s *Store) admits(r *response.Response) bool {
	seen := s.ghosts.see(r.Key.Sum.Lo)
	if seen || !s.full.Load() {
		return true
	}
	_, there := s.index.Get(r.Key.Sum.Lo)
	return there
}

// ghosts remembers keys that were offered lately: a table of fingerprints, each at a place
// that its key tells, so that a later one of the same place takes it.
type ghosts struct {
	prints []atomic.Uint32
}

// Bounds of the table: 4 bytes for each.
const (
	minGhosts = 1 << 12
	maxGhosts = 1 << 22
	// ghostsFor is the size of the disk, in bytes, for which there is one.
	ghostsFor = 16 << 10
)

func newGhosts(size int64) *ghosts {
	n := minGhosts
	for n < maxGhosts && int64(n)*ghostsFor < size {
		n *= 2
	}
	return &ghosts{make([]atomic.Uint32, n)}
}

// see remembers the key and reports whether it was remembered already.
func (g *ghosts) see(key uint64) bool {
	at := &g.prints[key&uint64(len(g.prints)-1)]
	print := uint32(key>>32) | 1
	return at.Swap(print) == print
}
