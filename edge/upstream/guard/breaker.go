package guard

import (
	"math"
	"sync"
	"time"
)

// When a breaker opens, and for how long.
const (
	// failuresInRow open it. Where there is more to go by, more are needed, the square root
	// of the tries within the window: one that fails one try in three fails five in a row
	// every now and then.
	failuresInRow = 5
	// window is what counts of the past, in seconds; of at least windowTries more than half
	// have to have failed.
	window      = 10
	windowTries = 20
	// firstWait is how long it is open at first. It doubles with each probe that fails, up to
	// longestWait: a parent that is back has to be found, and everything be fresh again,
	// within ten seconds.
	firstWait   = time.Second
	longestWait = 3 * time.Second
	// jitter is added to a wait, up to this part of it: nodes must not probe together.
	jitter = 0.25
	// steady is how long it has to have been closed before it opens for firstWait again: a
	// parent that comes and goes is left alone for longer and longer.
	steady = 30 * time.Second
	// goodProbes in a row close it.
	goodProbes = 2
	// blames is how many keys are remembered that have failed.
	blames = 16
)

// State is that of a breaker.
type State uint8

// The states.
const (
	Closed   State = iota // requests pass
	Open                  // none does
	HalfOpen              // one at a time does, to find out
)

// String is the state in one word.
func (s State) String() string { return [...]string{"closed", "open", "half-open"}[s] }

// Breaker keeps requests away from a parent that does not answer. Make it with init.
type Breaker struct {
	now    func() time.Time
	random func() float64

	mu struct {
		sync.Mutex
		seconds seconds
		broken  bool   // not Closed
		epoch   uint32 // of the state: what began under another says nothing
		row     int
		tries   [window]tally
		last    int64 // seconds at the newest tally
		blamed  [blames]blame
		next    int // of blamed

		wait    time.Duration // the last
		until   time.Time     // no probe before
		probing bool
		good    int       // probes in a row
		closed  time.Time // when it was closed again
	}
}

type tally struct{ good, bad int }

type blame struct {
	key uint64
	at  int64
}

// Permit is leave to ask a parent once. Of Passed, Failed and Void one has to be called,
// once; the zero Permit is of no breaker.
type Permit struct {
	breaker *Breaker
	epoch   uint32
	Probe   bool // it decides what becomes of the parent
}

func (b *Breaker) init(now func() time.Time, random func() float64) {
	b.now, b.random = now, random
	b.mu.seconds.init(now)
}

// Enter asks for leave; without probe only of a breaker that is closed. It fails with
// ErrOpen.
func (b *Breaker) Enter(probe bool) (Permit, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mu.broken {
		return Permit{b, b.mu.epoch, false}, nil
	}
	if !probe || b.mu.probing || b.now().Before(b.mu.until) {
		return Permit{}, ErrOpen
	}
	b.mu.probing = true
	return Permit{b, b.mu.epoch, true}, nil
}

// State is that of now, with the time until a probe may be let through: zero where one may
// be at once, or is under way.
func (b *Breaker) State() (State, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mu.broken {
		return Closed, 0
	}
	if wait := b.mu.until.Sub(b.now()); wait > 0 {
		return Open, wait
	}
	return HalfOpen, 0
}

func (b *Breaker) isBroken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.broken
}

// ready reports whether Enter would give leave.
func (b *Breaker) ready(probe bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.mu.broken || probe && !b.mu.probing && !b.now().Before(b.mu.until)
}

// Passed says that the parent has done its part. It reports whether that has closed the
// breaker.
func (p Permit) Passed() (closed bool) {
	b := p.breaker
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case p.epoch != b.mu.epoch:
	case !p.Probe:
		b.tally().good++
		b.mu.row = 0
	default:
		b.mu.probing = false
		if b.mu.good++; b.mu.good == goodProbes {
			b.mu.broken, b.mu.closed = false, b.now()
			b.renew()
			return true
		}
	}
	return false
}

// Failed says that the parent has not. What is asked for may be to blame rather than the
// parent: then key is not zero and stands for it. One that fails again within the window
// counts only where nothing else succeeds. It reports whether that has opened a breaker that
// was closed.
func (p Permit) Failed(key uint64) (opened bool) {
	b := p.breaker
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case p.epoch != b.mu.epoch:
	case p.Probe:
		b.open(min(2*b.mu.wait, longestWait))
	default:
		at := b.tally()
		good, bad := b.sum()
		if b.known(key) && good > 0 {
			return false
		}
		at.bad++
		bad++
		b.mu.row++
		tries := good + bad
		if b.mu.row < max(failuresInRow, int(math.Sqrt(float64(tries)))) && (tries < windowTries || 2*bad <= tries) {
			return false
		}
		wait := firstWait
		if b.mu.wait > 0 && b.now().Sub(b.mu.closed) < steady {
			wait = min(2*b.mu.wait, longestWait)
		}
		b.open(wait)
		return true
	}
	return false
}

// Void says that nothing was learnt.
func (p Permit) Void() {
	if b := p.breaker; b != nil && p.Probe {
		b.mu.Lock()
		defer b.mu.Unlock()
		if p.epoch == b.mu.epoch {
			b.mu.probing = false
		}
	}
}

func (b *Breaker) open(wait time.Duration) {
	b.mu.broken, b.mu.wait = true, wait
	b.mu.until = b.now().Add(wait + time.Duration(jitter*b.random()*float64(wait)))
	b.renew()
}

// renew begins an epoch that knows nothing of what was before.
func (b *Breaker) renew() {
	b.mu.epoch++
	b.mu.row, b.mu.good, b.mu.probing = 0, 0, false
	b.mu.tries, b.mu.blamed = [window]tally{}, [blames]blame{}
}

// tally is that of this second.
func (b *Breaker) tally() *tally {
	now := b.mu.seconds.count()
	for s := max(b.mu.last+1, now-window+1); s <= now; s++ {
		b.mu.tries[s%window] = tally{}
	}
	b.mu.last = now
	return &b.mu.tries[b.mu.last%window]
}

func (b *Breaker) sum() (good, bad int) {
	for _, t := range b.mu.tries {
		good, bad = good+t.good, bad+t.bad
	}
	return good, bad
}

// known reports whether key has failed within the window, and remembers it.
func (b *Breaker) known(key uint64) bool {
	if key == 0 {
		return false
	}
	for _, known := range b.mu.blamed {
		if known.key == key && b.mu.last-known.at < window {
			return true
		}
	}
	b.mu.blamed[b.mu.next%blames] = blame{key, b.mu.last}
	b.mu.next++
	return false
}
