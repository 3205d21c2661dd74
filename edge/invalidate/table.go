// Package invalidate answers one question: is this stored response still true? It
// holds the marks that purges set, at the logical time that the node has applied
// (DESIGN section 5). A purge deletes nothing; it sets a mark, and a response that
// a mark covers and that is not known to be younger is dead from then on.
package invalidate

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/hop"
)

// Bounds of what is held, where the journal has room for that.
const (
	MaxMarks   = 1 << 20 // beyond it the older half is forgotten into the floor
	MaxTouched = 1 << 18 // beyond it what was asked for before the older half counts as touched
)

// Effect is what a command does to what is stored.
type Effect struct {
	Scopes []response.ScopeHash // what it marks
	Soft   bool                 // what it covers is stale from At on; else it is dead
	At     time.Time            // when the command was appended
	Until  time.Time            // up to then nothing is stored that it covers; the zero time: it may be
	Bans   []Ban                // of their predicates Site and Match alone are looked at
	Link   command.Link         // of its record
}

// until is Until as windows have it.
func (e *Effect) until() int64 {
	if e.Until.IsZero() {
		return 0
	}
	return e.Until.UnixMilli()
}

// bansAt are the bans of the effect of the command at seq.
func (e *Effect) bansAt(seq command.Seq) []Ban {
	bans := make([]Ban, 0, len(e.Bans))
	for _, b := range e.Bans {
		bans = append(bans, Ban{Seq: seq, Since: e.since(), Until: e.until(), Soft: e.Soft, Site: b.Site, Match: b.Match})
	}
	return bans
}

// since is the time of a soft mark.
func (e *Effect) since() int64 { return e.At.UnixMilli() }

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
	filter  atomic.Pointer[filter]      // of all that is marked
	hard    index[atomic.Uint64]        // the last sequence
	soft    index[atomic.Pointer[soft]] // all, the last one first

	windows  windows
	bans     atomic.Pointer[[]Ban] // in order
	banBytes int
	hosts    Hosts

	journal Journal
	touched chan struct{} // there are unsafe requests to make durable
	writing sync.Mutex    // held while the time or the marks change, and while all of them are written anew
	keyed   uint64        // under writing
	unkept  bool          // the last Restart is not durable; under writing
	ages    ages          // of sequences; under writing
}

// moment is the logical time and what counts as dead at it, which change together.
type moment struct {
	clock      command.Clock
	link       command.Link // of the record at clock, zero if not known
	floor      command.Seq
	generation uint64
}

// New is an empty table at no time, whose marks end with the process.
func New() *Table { return Open(&State{Generation: NewGeneration()}, nowhere{}) }

// Open is the table as of a state, which goes on in a journal that holds that state.
func Open(s *State, j Journal) *Table {
	room := j.Room()
	t := &Table{max: int64(room.Marks), banBytes: room.BanBytes, journal: j, touched: make(chan struct{}, 1), keyed: s.Keyed}
	t.hard.move = func(to, from *atomic.Uint64) { to.Store(from.Load()) }
	t.soft.move = func(to, from *atomic.Pointer[soft]) { to.Store(from.Load()) }
	t.filter.Store(newFilter(0))
	t.now.Store(&moment{clock: s.Clock, link: s.Link, floor: s.Floor, generation: s.Generation})
	if s.Marks != nil {
		for scope, seq := range s.Marks {
			t.setHard(scope, seq)
		}
	}
	if s.Softs != nil {
		for scope, m := range s.Softs {
			t.setSoft(scope, m)
		}
	}
	t.windows.max = room.Windows
	t.setBans(s.Bans)
	if len(s.Windows) > 0 {
		for scope, until := range s.Windows {
			t.windows.set([]response.ScopeHash{scope}, until, 0)
		}
	}
	t.touches.restore(s, room.Touched)
	return t
}

// Clock is the logical time that is applied.
func (t *Table) Clock() command.Clock { return t.now.Load().clock }

// Link is that of the record at Clock, zero if it is not known.
func (t *Table) Link() command.Link { return t.now.Load().link }

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
	t.hard.prune(func(*atomic.Uint64) bool { return false })
	t.soft.prune(func(*atomic.Pointer[soft]) bool { return false })
	t.count.Store(0)
	t.filter.Store(newFilter(0))
	t.bans.Store(nil)
	t.ages = ages{}
}

// Apply carries out the command at seq, which is the next of the log: it sets its marks,
// and then moves the time, so that nobody sees the new time without the marks. It may be
// applied again, as long as no Commit has succeeded since.
func (t *Table) Apply(seq command.Seq, e Effect) {
	t.writing.Lock()
	defer t.writing.Unlock()
	for _, scope := range e.Scopes {
		if e.Soft {
			t.setSoft(scope, hop.Soft{Seq: seq, Since: e.since()})
		} else {
			t.setHard(scope, seq)
		}
	}
	bans := e.bansAt(seq)
	t.setBans(bans)
	if until := e.until(); until > 0 {
		t.windows.set(e.Scopes, until, e.since())
	}
	t.ages.note(seq, e.At)
	next := *t.now.Load()
	if seq >= next.clock.Seq {
		next.clock.Seq, next.link = seq, e.Link
	}
	t.now.Store(&next)
	e.Bans = bans
	err := t.journal.Applied(seq, e)
	if t.count.Load() > t.max {
		err = errors.Join(err, t.forget())
	}
	if errors.Is(err, ErrFull) {
		_ = t.journal.Rewrite(t.state)
	}
	// Commit tells of errors; until then the marks hold in this process.
}

func (t *Table) setHard(scope response.ScopeHash, seq command.Seq) {
	at, added := t.hard.put(scope)
	if added {
		t.count.Add(1)
	}
	at.Store(max(at.Load(), uint64(seq)))
	t.noteMark(scope)
}

func (t *Table) setSoft(scope response.ScopeHash, m hop.Soft) {
	at, _ := t.soft.put(scope)
	list, added, dropped := at.Load().with(m)
	if dropped != 0 {
		t.setHard(scope, dropped)
	}
	t.count.Add(int64(added))
	at.Store(list)
	t.noteMark(scope)
}

// above is the highest hard mark on any of the scopes, and the first soft one above asOf
// and up to limit; zero for none.
func (t *Table) above(scopes []response.ScopeHash, asOf, limit command.Seq) (hard command.Seq, first hop.Soft) {
	f := t.filter.Load()
	kinds := f.kinds.Load()
	if kinds == 0 {
		return 0, first
	}
	for _, scope := range scopes {
		if !f.mayHave(kinds, scope) {
			continue
		}
		if at := t.hard.find(scope); at != nil {
			hard = max(hard, command.Seq(at.Load()))
		}
		if at := t.soft.find(scope); at != nil {
			if m := at.Load().firstAbove(asOf, limit); m.Seq != 0 && (first.Seq == 0 || m.Seq < first.Seq) {
				first = m
			}
		}
	}
	return hard, first
}

// highest are the highest marks on any of the scopes.
func (t *Table) highest(scopes []response.ScopeHash) (hard, last command.Seq) {
	f := t.filter.Load()
	kinds := f.kinds.Load()
	for _, scope := range scopes {
		if !f.mayHave(kinds, scope) {
			continue
		}
		if at := t.hard.find(scope); at != nil {
			hard = max(hard, command.Seq(at.Load()))
		}
		if at := t.soft.find(scope); at != nil {
			if list := at.Load(); list != nil {
				last = max(last, list.Seq)
			}
		}
	}
	return hard, last
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
	OfBan      Death = "banned"    // a ban does
)

// Alive reports whether a response may still be used, and raises its AsOf if so. What a
// soft mark covers may be, but as stale: see Response.Soft.
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
	}
	hard, soft := t.above(r.Scopes, asOf, now.clock.Seq)
	if hard > asOf {
		return OfMark
	}
	banned, m := t.banned(r, asOf, now.clock.Seq)
	if banned {
		return OfBan
	}
	if m.Seq != 0 && (soft.Seq == 0 || m.Seq < soft.Seq) {
		soft = m
	}
	// A mark may have been forgotten while the marks were read; the floor that took
	// its place stood before that.
	switch after := t.now.Load(); {
	case after.generation != now.generation:
		return OfRestart
	case asOf < after.floor:
		return BelowFloor
	}
	if soft.Seq != 0 {
		r.Soften(soft) // before AsOf says that it was looked for
	}
	r.RaiseAsOf(now.clock.Seq)
	return Living
}

// Fence is how true an answer must be that this node takes from a parent for
// something that these scopes cover: those of the key, and of any copy held.
func (t *Table) Fence(scopes []response.ScopeHash) hop.Fence {
	hard, soft := t.highest(scopes)
	now := t.now.Load() // after the marks: what was forgotten is below this floor
	return hop.Fence{
		Log: now.clock.Log, Hard: min(hard, now.clock.Seq), Soft: min(soft, now.clock.Seq), Floor: now.floor,
	}
}

// forget drops the older half of the marks and raises the floor above them: what
// is stored and was not tested since counts as dead. Marks younger than a minute stay as
// long as that makes any room, so that parents which lag are not asked in vain. The error
// is the journal's.
func (t *Table) forget() error {
	var all []command.Seq
	t.hard.each(func(_ response.ScopeHash, at *atomic.Uint64) bool {
		all = append(all, command.Seq(at.Load()))
		return true
	})
	t.soft.each(func(_ response.ScopeHash, at *atomic.Pointer[soft]) bool {
		for s := at.Load(); s != nil; s = s.older {
			all = append(all, s.Seq)
		}
		return true
	})
	slices.Sort(all)
	floor := all[len(all)/2]
	if young := t.ages.young(); young < floor {
		if n, _ := slices.BinarySearch(all, young+1); n >= len(all)/8 {
			floor = young
		}
	}
	next := *t.now.Load()
	next.floor = max(next.floor, floor)
	t.now.Store(&next)
	err := t.journal.Forgot(next.floor) // a journal without it holds the marks
	left := int64(0)
	t.hard.prune(func(at *atomic.Uint64) bool { return at.Load() > uint64(floor) })
	t.hard.each(func(response.ScopeHash, *atomic.Uint64) bool { left++; return true })
	t.soft.prune(func(at *atomic.Pointer[soft]) bool {
		at.Store(at.Load().above(floor))
		return at.Load() != nil
	})
	t.soft.each(func(_ response.ScopeHash, at *atomic.Pointer[soft]) bool {
		left += int64(at.Load().count())
		return true
	})
	t.count.Store(left)
	t.sift()
	t.dropBans(floor)
	return err
}

// youth is how old a mark gets at least, if there is room.
const youth = time.Minute

// ages say, about to the second, when sequences were appended: what came up to one of
// them is as old at least.
type ages struct {
	at [64]struct {
		seq command.Seq
		ms  int64
	}
	next int
}

// note remembers when a sequence was appended, in order.
func (a *ages) note(seq command.Seq, at time.Time) {
	const every = int64(youth/time.Millisecond) / 60
	last := &a.at[(a.next+len(a.at)-1)%len(a.at)]
	if ms := at.UnixMilli(); last.seq == 0 || ms >= last.ms+every {
		a.at[a.next%len(a.at)].seq, a.at[a.next%len(a.at)].ms = seq, ms
		a.next++
	}
}

// young is the last sequence that is older than youth as of the last one noted; zero if
// none is known to be.
func (a *ages) young() (old command.Seq) {
	last := a.at[(a.next+len(a.at)-1)%len(a.at)].ms
	for _, x := range a.at {
		if x.seq != 0 && x.ms <= last-int64(youth/time.Millisecond) {
			old = max(old, x.seq)
		}
	}
	return old
}
