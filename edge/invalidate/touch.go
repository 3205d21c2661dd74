package invalidate

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"freshet/edge/response"
)

// touches are the scopes that requests through this node have made untrue: the
// targets of unsafe methods (RFC 9111 §4.4). They are this node's own matter, so
// they have a count of their own, beside the log's sequence.
type touches struct {
	max    int // scopes held
	count  atomic.Uint64
	adding sync.Mutex // before mu: one Touch at a time, which readers need not wait for
	mu     struct {
		sync.RWMutex
		floor uint64 // everything up to here counts as touched
		at    map[response.ScopeHash]uint64
	}
}

// Touch makes untrue what is stored, or being fetched, under a scope. When it returns,
// the end of this process does not undo that.
func (t *Table) Touch(scope response.ScopeHash) {
	n, floor := t.touches.add(scope)
	if t.unlessFull(func() error { return t.journal.Touched(scope, n, floor) }) != nil {
		// Nobody else will tell of it after a restart, as the log does of commands. That
		// this fails, too, is in the journal's log; there is nobody to refuse it to.
		_ = t.journal.Abandon()
	}
	select {
	case t.touched <- struct{}{}:
	default:
	}
}

func (s *touches) add(scope response.ScopeHash) (n, floor uint64) {
	s.adding.Lock()
	defer s.adding.Unlock()
	at, floor := s.mu.at, s.mu.floor // only changed under adding
	if len(at) >= s.max {
		at, floor = newerHalf(at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n = s.count.Load() + 1
	s.mu.at, s.mu.floor = at, floor
	at[scope] = n
	s.count.Store(n) // after the scope: who sees the count finds it
	return n, floor
}

// newerHalf is about the newer half of at, and what is the floor below it. It leaves at
// as it is, for those who read it meanwhile.
func newerHalf(at map[response.ScopeHash]uint64) (half map[response.ScopeHash]uint64, floor uint64) {
	counts := slices.Sorted(maps.Values(at))
	floor = counts[len(counts)/2]
	half = make(map[response.ScopeHash]uint64, len(at))
	for scope, n := range at {
		if n > floor {
			half[scope] = n
		}
	}
	return half, floor
}

// restore begins as of a state, with room for so many scopes.
func (s *touches) restore(from *State, room int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max = room
	s.count.Store(from.Touches)
	s.mu.floor, s.mu.at = from.TouchFloor, make(map[response.ScopeHash]uint64)
	if from.Touched != nil {
		for scope, n := range from.Touched {
			s.mu.at[scope] = max(s.mu.at[scope], n)
		}
	}
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
