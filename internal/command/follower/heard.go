package follower

import (
	"time"

	"freshet/internal/command"
)

// heard is a moment as of which everything that stood in the log is applied.
type heard struct {
	at   time.Time
	wall int64 // in nanoseconds; of the two clocks the one counts by which more time has passed
}

// never is Silent where nothing was heard yet.
const never = time.Duration(1<<63 - 1)

// Silent is for how long, as of now, this node has not known the log: what was appended
// before that time is applied, what came later may not be. The moment that counts is the
// one before the head was asked for, and it counts once the head is applied and durable.
// The machine's clocks both count, as one may stand still while it sleeps. It costs one
// atomic load.
func (f *Follower) Silent(now time.Time) time.Duration {
	h := f.heard.Load()
	if h == nil {
		return never
	}
	return max(now.Sub(h.at), time.Duration(now.UnixNano()-h.wall), 0)
}

// hear notes that the head, when it was asked for, was at last. Of answers that wait to be
// applied the first counts: as long as more comes than can be applied at once, a later one
// might never be.
func (f *Follower) hear(asked time.Time, last command.Seq) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.Clock().Seq >= last:
		f.mu.asked = time.Time{}
		f.hearLocked(asked)
	case f.mu.asked.IsZero():
		f.mu.asked, f.mu.askedFor = asked, last
	}
}

// caughtUp notes how far the log is applied.
func (f *Follower) caughtUp(seq command.Seq) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mu.asked.IsZero() && seq >= f.mu.askedFor {
		f.hearLocked(f.mu.asked)
		f.mu.asked = time.Time{}
	}
}

func (f *Follower) hearLocked(at time.Time) {
	if was := f.heard.Load(); was == nil || at.After(was.at) {
		f.heard.Store(&heard{at, at.UnixNano()})
	}
}

// deafen forgets what was heard of a log that turns out to be another.
func (f *Follower) deafen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard.Store(nil)
	f.mu.asked = time.Time{}
}
