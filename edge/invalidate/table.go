// Package invalidate answers one question: is this stored response still true? It
// holds the marks that purges set, at the logical time that the node has applied
// (DESIGN section 5). A purge deletes nothing; it sets a mark, and a response that
// a mark covers and that is not known to be younger is dead from then on.
package invalidate

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/hop"
)

// Bounds of what is held, where the journal has room for that.
const (
	MaxMarks   = 1 << 20 // beyond it the older half is forgotten into the floor
	MaxTouched = 1 << 18 // beyond it what was asked for before the older half counts as touched
)

// shards spread the marks, so that tests of different responses do not meet on
// one lock.
const shards = 64

// Table is the marks of one node. It may be used from any goroutine; Apply, Commit and
// Restart come from one, the follower of the command log.
//
// A node that keeps its stored responses only in RAM needs no marks on disk: it
// starts with nothing stored, and a floor at the head of the log (rule 5 of the
// protocol). Others give the table a Journal and have Run run.
type Table struct {
	now     atomic.Pointer[moment]
	count   atomic.Int64
	max     int64
	touches touches
	shards  [shards]struct {
		sync.RWMutex
		marks map[response.ScopeHash]command.Seq
	}

	journal Journal
	touched chan struct{} // there are unsafe requests to make durable
	writing sync.Mutex    // held while the time or the marks change, and while all of them are written anew
	keyed   uint64        // under writing
	unkept  bool          // the last Restart is not durable; under writing
}

// moment is the logical time and what counts as dead at it, which change together.
type moment struct {
	clock      command.Clock
	floor      command.Seq
	generation uint64
}

// New is an empty table at no time, whose marks end with the process.
func New() *Table { return Open(&State{Generation: NewGeneration()}, nowhere{}) }

// Open is the table as of a state, which goes on in a journal that holds that state.
func Open(s *State, j Journal) *Table {
	marks, touched := j.Room()
	t := &Table{max: int64(marks), journal: j, touched: make(chan struct{}, 1), keyed: s.Keyed}
	for i := range t.shards {
		t.shards[i].marks = make(map[response.ScopeHash]command.Seq)
	}
	t.now.Store(&moment{clock: s.Clock, floor: s.Floor, generation: s.Generation})
	if s.Marks != nil {
		for scope, seq := range s.Marks {
			t.set(scope, seq)
		}
	}
	t.touches.restore(s, touched)
	return t
}

// Clock is the logical time that is applied.
func (t *Table) Clock() command.Clock { return t.now.Load().clock }

// Generation is drawn at each restart of the log. What was asked for under an earlier
// one is dead: a log that has lost its end gives sequences out a second time, so that
// comparing them would not tell. It is never zero.
func (t *Table) Generation() uint64 { return t.now.Load().generation }

// Marks is the number of marks held.
func (t *Table) Marks() int64 { return t.count.Load() }

// begin takes up another time of which no marks are known.
func (t *Table) begin(m moment) {
	// First the time: from here on all that came before is dead. Then the marks may
	// go, because they speak of nothing else.
	t.now.Store(&m)
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		t.count.Add(-int64(len(s.marks)))
		clear(s.marks)
		s.Unlock()
	}
}

// Apply sets a mark at seq, which is the next of the log, on each of the scopes, and
// then moves the time, so that nobody sees the new time without the marks. It may be
// applied again, as long as no Commit has succeeded since.
func (t *Table) Apply(seq command.Seq, scopes []response.ScopeHash) {
	t.writing.Lock()
	defer t.writing.Unlock()
	for _, scope := range scopes {
		t.set(scope, seq)
	}
	next := *t.now.Load()
	next.clock.Seq = max(next.clock.Seq, seq)
	t.now.Store(&next)
	err := t.journal.Applied(seq, scopes)
	if t.count.Load() > t.max {
		err = errors.Join(err, t.forget())
	}
	if errors.Is(err, ErrFull) {
		_ = t.journal.Rewrite(t.state)
	}
	// Commit tells of errors; until then the marks hold in this process.
}

func (t *Table) set(scope response.ScopeHash, seq command.Seq) {
	s := &t.shards[scope.Lo%shards]
	s.Lock()
	defer s.Unlock()
	if _, ok := s.marks[scope]; !ok {
		t.count.Add(1)
	}
	s.marks[scope] = max(s.marks[scope], seq)
}

// highest is the highest mark on any of the scopes.
func (t *Table) highest(scopes []response.ScopeHash) command.Seq {
	var high command.Seq
	for _, scope := range scopes {
		s := &t.shards[scope.Lo%shards]
		s.RLock()
		high = max(high, s.marks[scope])
		s.RUnlock()
	}
	return high
}

// Death is why a response may not be used any more.
type Death string

// The ways to die. Of several the first counts.
const (
	Living     Death = ""
	OfRestart  Death = "restart"   // the log was restarted since
	OfTouch    Death = "touched"   // an unsafe request to its target came through this node
	OfOtherLog Death = "other-log" // it was asked for under another log
	BelowFloor Death = "floor"     // too long untested: the marks of that time are forgotten
	OfMark     Death = "purged"    // a purge covers it
)

// Alive reports whether a response may still be used, and raises its AsOf if so.
func (t *Table) Alive(r *response.Response) bool { return t.Test(r) == Living }

// Test is Alive with the reason.
func (t *Table) Test(r *response.Response) Death {
	now := t.now.Load() // before the marks: AsOf is raised to this, no further
	asOf := max(r.AsOf(), r.Born)
	switch {
	case r.Generation != now.generation:
		return OfRestart
	case t.touches.since(r):
		return OfTouch
	case r.Log != now.clock.Log:
		return OfOtherLog
	case asOf < now.floor:
		return BelowFloor
	case asOf >= now.clock.Seq:
		return Living
	case t.highest(r.Scopes) > asOf:
		return OfMark
	}
	// A mark may have been forgotten while the marks were read; the floor that took
	// its place stood before that.
	switch after := t.now.Load(); {
	case after.generation != now.generation:
		return OfRestart
	case asOf < after.floor:
		return BelowFloor
	}
	r.RaiseAsOf(now.clock.Seq)
	return Living
}

// Fence is how true an answer must be that this node takes from a parent for
// something that these scopes cover: those of the key, and of any copy held.
func (t *Table) Fence(scopes []response.ScopeHash) hop.Fence {
	hard := t.highest(scopes)
	now := t.now.Load() // after the marks: what was forgotten is below this floor
	return hop.Fence{Log: now.clock.Log, Hard: min(hard, now.clock.Seq), Floor: now.floor}
}

// forget drops the older half of the marks and raises the floor above them: what
// is stored and was not tested since counts as dead. The error is the journal's.
func (t *Table) forget() error {
	var all []command.Seq
	for i := range t.shards {
		s := &t.shards[i]
		s.RLock()
		for _, seq := range s.marks {
			all = append(all, seq)
		}
		s.RUnlock()
	}
	slices.SortFunc(all, func(a, b command.Seq) int { return cmp.Compare(a, b) })
	floor := all[len(all)/2]
	next := *t.now.Load()
	next.floor = max(next.floor, floor)
	t.now.Store(&next)
	err := t.journal.Forgot(next.floor) // a journal without it holds the marks
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		for scope, seq := range s.marks {
			if seq <= floor {
				delete(s.marks, scope)
				t.count.Add(-1)
			}
		}
		s.Unlock()
	}
	return err
}
