package invalidate

import (
	"math/bits"
	"sync/atomic"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/hop"
)

// shards spread the marks, so that a part is made larger at a time.
const shards = 64

// index finds what is known of scopes. Reading it takes no lock; one goroutine at a time
// writes. V is an atomic value whose zero means that nothing is known.
//
// A shard is a table with open addressing. What stands in it never moves: to make it
// larger or to remove something a new table takes its place, and readers of the old one
// find there what was known when they began.
type index[V any] struct {
	shards [shards]struct {
		slots atomic.Pointer[[]slot[V]]
		used  int // the writer's
	}
	move func(to, from *V)
}

// slot is a scope, zero for none, and what is known of it.
type slot[V any] struct {
	scope atomic.Uint64
	value V
}

// ident is what stands in a slot for a scope: zero is none.
func ident(scope response.ScopeHash) uint64 {
	if scope == 0 {
		return response.ScopeKinds // of the same kind
	}
	return uint64(scope)
}

// find is what is known of a scope, nil if nothing is.
func (x *index[V]) find(scope response.ScopeHash) *V {
	id := ident(scope)
	p := x.shards[id>>3%shards].slots.Load()
	if p == nil {
		return nil
	}
	slots := *p
	mask := uint64(len(slots) - 1)
	for i := id >> 9 & mask; ; i = (i + 1) & mask {
		switch slots[i].scope.Load() {
		case id:
			return &slots[i].value
		case 0:
			return nil
		}
	}
}

// put is find that makes room; added is whether nothing was known. The value has to be set
// before anybody may rely on it.
func (x *index[V]) put(scope response.ScopeHash) (value *V, added bool) {
	if v := x.find(scope); v != nil {
		return v, false
	}
	id := ident(scope)
	shard := &x.shards[id>>3%shards]
	if p := shard.slots.Load(); p == nil || 3*(shard.used+1) > 2*len(*p) {
		x.rebuild(int(id>>3%shards), shard.used+1, func(*V) bool { return true })
	}
	shard.used++
	return claim(*shard.slots.Load(), id), true
}

// claim takes the next free slot for id.
func claim[V any](slots []slot[V], id uint64) *V {
	mask := uint64(len(slots) - 1)
	for i := id >> 9 & mask; ; i = (i + 1) & mask {
		if slots[i].scope.Load() == 0 {
			slots[i].scope.Store(id)
			return &slots[i].value
		}
	}
}

// rebuild puts a table with room for so many in place of a shard's, with what is kept.
func (x *index[V]) rebuild(n, room int, keep func(*V) bool) {
	shard := &x.shards[n]
	next := make([]slot[V], max(8, 1<<bits.Len(uint(room+room/2))))
	used := 0
	if p := shard.slots.Load(); p != nil {
		for i := range *p {
			was := &(*p)[i]
			if id := was.scope.Load(); id != 0 && keep(&was.value) {
				x.move(claim(next, id), &was.value)
				used++
			}
		}
	}
	shard.used = used
	shard.slots.Store(&next)
}

// prune removes what is not to be kept.
func (x *index[V]) prune(keep func(*V) bool) {
	for n := range x.shards {
		p := x.shards[n].slots.Load()
		if p == nil {
			continue
		}
		left := 0
		for i := range *p {
			if id := (*p)[i].scope.Load(); id != 0 && keep(&(*p)[i].value) {
				left++
			}
		}
		switch {
		case left == 0:
			x.shards[n].slots.Store(nil)
			x.shards[n].used = 0
		case left < x.shards[n].used:
			x.rebuild(n, left, keep)
		}
	}
}

// each is called for all that is known, until it returns false.
func (x *index[V]) each(do func(response.ScopeHash, *V) bool) {
	for n := range x.shards {
		p := x.shards[n].slots.Load()
		if p == nil {
			continue
		}
		for i := range *p {
			s := &(*p)[i]
			if id := s.scope.Load(); id != 0 && !do(response.ScopeHash(id), &s.value) {
				return
			}
		}
	}
}

// maxSofts is how many soft marks there are on one scope. What has been tested since before
// so many is dead.
const maxSofts = 8

// soft is a soft mark on a scope, and those before it. It never changes.
type soft struct {
	hop.Soft
	older *soft
}

// firstAbove is the first of the marks above asOf and up to limit; zero for none.
func (s *soft) firstAbove(asOf, limit command.Seq) (first hop.Soft) {
	for ; s != nil && s.Seq > asOf; s = s.older {
		if s.Seq <= limit {
			first = s.Soft
		}
	}
	return first
}

// with is s and another mark. Of more than maxSofts the oldest is left out, at dropped.
func (s *soft) with(m hop.Soft) (list *soft, added int, dropped command.Seq) {
	list, added = s.insert(m)
	if list.count() <= maxSofts {
		return list, added, 0
	}
	for last := list; ; last = last.older {
		if last.older == nil {
			return list.above(last.Seq), 0, last.Seq
		}
	}
}

// insert is s and another mark, which may come out of order when marks are read back.
func (s *soft) insert(m hop.Soft) (list *soft, added int) {
	switch {
	case s == nil || s.Seq < m.Seq:
		return &soft{m, s}, 1
	case s.Seq == m.Seq:
		return s, 0
	}
	older, added := s.older.insert(m)
	return &soft{s.Soft, older}, added
}

func (s *soft) count() (n int) {
	for ; s != nil; s = s.older {
		n++
	}
	return n
}

// above are the marks above a sequence.
func (s *soft) above(seq command.Seq) *soft {
	if s == nil || s.Seq <= seq {
		return nil
	}
	return &soft{s.Soft, s.older.above(seq)}
}
