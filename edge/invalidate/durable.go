package invalidate

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/hop"
)

// When Run looks after the journal.
const (
	touchDelay = 50 * time.Millisecond // an unsafe request is durable not much later than this
	tendEvery  = time.Second           // a journal that failed is tried again, one that has grown is written anew
)

// Commit makes durable what was applied. Until it has returned nil nothing of that may
// be acknowledged, though it is true in this process already.
func (t *Table) Commit() error { return t.unlessFull(t.journal.Sync) }

// unlessFull does what the journal may be too full for. Then the journal is written anew
// with all that the table knows, unless somebody else has done that meanwhile.
func (t *Table) unlessFull(do func() error) error {
	if err := do(); !errors.Is(err, ErrFull) {
		return err
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	if err := do(); !errors.Is(err, ErrFull) {
		return err
	}
	return t.journal.Rewrite(t.state)
}

// Keyed says what the keys and scopes of stored responses follow from, as one number.
// Where that was another one, all that is stored is dead and the clock is at none;
// kept is whether it was the same. It is called before anything is served. After an
// error the table is right and the journal is not; see Journal.
func (t *Table) Keyed(by uint64) (kept bool, err error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.keyed == by {
		return true, nil
	}
	return false, t.restart(command.Clock{}, by)
}

// Restart begins at clock with nothing known to be true before it, and makes that
// durable. After an error that is so in this process only, and Restart has to be
// called again.
func (t *Table) Restart(clock command.Clock) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	return t.restart(clock, t.keyed)
}

func (t *Table) restart(clock command.Clock, keyed uint64) error {
	m := moment{clock: clock, floor: clock.Seq, generation: NewGeneration()}
	if was := t.now.Load(); t.unkept && was.clock == clock && t.keyed == keyed {
		m = *was // called again: what was fetched since the last call is not of before
	}
	t.keyed = keyed
	t.keepWindows()
	err := t.journal.Rewrite(func() *State {
		s := t.touches.state()
		s.Windows = t.windows.all()
		s.Clock, s.Floor, s.Generation, s.Keyed = m.clock, m.floor, m.generation, keyed
		return s
	})
	if err != nil {
		err = t.journal.Abandon()
	}
	t.unkept = err != nil
	t.begin(m)
	return err
}

// Run makes unsafe requests durable and keeps the journal short and whole, until ctx
// ends.
func (t *Table) Run(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.touched:
			select {
			case <-time.After(touchDelay):
			case <-ctx.Done():
			}
		case now := <-tick.C:
			t.windows.end(now.UnixMilli())
		case <-ctx.Done():
			t.Tend()
			return nil
		}
		t.Tend()
	}
}

// Tend is what Run does from time to time. A journal that cannot be written is
// abandoned rather than left to say less than what is known; its owner logs all that.
func (t *Table) Tend() {
	failed := t.Commit() != nil
	if !failed && !t.journal.Due() {
		return
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.journal.Rewrite(t.state) != nil && failed {
		_ = t.journal.Abandon()
	}
}

// state is what the table knows. writing must be held.
func (t *Table) state() *State {
	s, now := t.touches.state(), t.now.Load()
	s.Windows = t.windows.all()
	if bans := t.bans.Load(); bans != nil {
		s.Bans = *bans
	}
	s.Clock, s.Link, s.Floor, s.Generation, s.Keyed = now.clock, now.link, now.floor, now.generation, t.keyed
	s.Marks = func(yield func(response.ScopeHash, command.Seq) bool) {
		t.hard.each(func(scope response.ScopeHash, at *atomic.Uint64) bool {
			return yield(scope, command.Seq(at.Load()))
		})
	}
	s.Softs = func(yield func(response.ScopeHash, hop.Soft) bool) {
		t.soft.each(func(scope response.ScopeHash, at *atomic.Pointer[soft]) bool {
			for m := at.Load(); m != nil; m = m.older {
				if !yield(scope, m.Soft) {
					return false
				}
			}
			return true
		})
	}
	return s
}

func (s *touches) state() *State {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &State{Touches: s.count.Load(), TouchFloor: s.mu.floor, Touched: maps.All(maps.Clone(s.mu.at))}
}
