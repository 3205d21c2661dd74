package invalidate

import (
	"sync"
	"sync/atomic"

	"freshet/edge/response"
)

// touches are the scopes that requests through this node have made untrue: the
// targets of unsafe methods (RFC 9111 §4.4). They are this node's own matter, so
// they have a count of their own, beside the log's sequence.
type touches struct {
	count atomic.Uint64
	mu    struct {
		sync.RWMutex
		floor uint64 // everything up to here counts as touched
		at    map[response.ScopeHash]uint64
	}
}

// Touch makes untrue what is stored, or being fetched, under a scope.
func (t *Table) Touch(scope response.ScopeHash) {
	s := &t.touches
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.count.Load() + 1
	if s.mu.at == nil || len(s.mu.at) >= MaxTouched {
		s.mu.at, s.mu.floor = make(map[response.ScopeHash]uint64), n-1
	}
	s.mu.at[scope] = n
	s.count.Store(n) // after the scope: who sees the count finds it
}

// Touches is the count that a response has to bear which is asked for now.
func (t *Table) Touches() uint64 { return t.touches.count.Load() }

// Touched is the count as of the last unsafe request that made one of these scopes
// untrue; zero if none is known.
func (t *Table) Touched(scopes []response.ScopeHash) uint64 {
	s := &t.touches
	if s.count.Load() == 0 {
		return 0
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	last := s.mu.floor
	for _, scope := range scopes {
		last = max(last, s.mu.at[scope])
	}
	return last
}

// since reports whether r was touched after it was asked for. It remembers in r up
// to where it was not, so that a hit costs one comparison.
func (s *touches) since(r *response.Response) bool {
	seen, now := r.Touches(), s.count.Load()
	if seen == now {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if seen < s.mu.floor {
		return true
	}
	for _, scope := range r.Scopes {
		if s.mu.at[scope] > seen {
			return true
		}
	}
	r.RaiseTouches(now)
	return false
}
