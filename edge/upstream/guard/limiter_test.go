package guard

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// caller is one who asks a limiter, and what it gets.
type caller struct {
	cancel context.CancelCauseFunc
	got    chan error
}

var errLeft = errors.New("the caller went away")

// TestLimiterAgainstModel: whatever comes, goes, gives up and changes, there are never more
// under way than may be, places go to those who have waited longest, and none is lost.
func TestLimiterAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			m := &limiterModel{T: t, limit: 1}
			for step := range 400 {
				switch n := r.IntN(20); {
				case n < 9:
					m.come()
				case n < 14:
					m.end()
				case n < 17 && len(m.queue) > 0:
					m.giveUp(r.IntN(len(m.queue)))
				case n < 19:
					m.limit = 1 + r.IntN(5)
					m.come() // with which it changes
				case r.IntN(4) == 0:
					m.wait()
				default:
					m.endAndGiveUp()
				}
				m.check()
				if t.Failed() {
					t.Fatalf("seed %d, step %d", seed, step)
				}
			}
			for len(m.queue) > 0 {
				m.giveUp(0)
			}
		})
	}
}

const modelQueue = 6

// limiterModel is what a limiter should do, beside one.
type limiterModel struct {
	*testing.T
	limiter     Limiter
	limit, open int
	queue       []*caller
}

// take gives the places that are free to the first of the queue, who must get them.
func (m *limiterModel) take() {
	synctest.Wait()
	for m.open < m.limit && len(m.queue) > 0 {
		select {
		case err := <-m.queue[0].got:
			if err != nil {
				m.Errorf("the first of the queue gets %v", err)
			}
		default:
			m.Fatalf("a place is free, and the first of %d has not got it", len(m.queue))
		}
		m.queue[0].cancel(nil)
		m.queue, m.open = m.queue[1:], m.open+1
	}
}

func (m *limiterModel) check() {
	synctest.Wait()
	for i, c := range m.queue {
		select {
		case err := <-c.got:
			m.Fatalf("number %d of the queue is answered: %v", i, err)
		default:
		}
	}
	if open, limit, queued := m.limiter.Counts(); open != m.open || queued != len(m.queue) || limit > 5 {
		m.Errorf("%d of %d under way and %d waiting, want %d and %d", open, limit, queued, m.open, len(m.queue))
	}
}

func (m *limiterModel) come() {
	ctx, cancel := context.WithCancelCause(m.Context())
	c := &caller{cancel, make(chan error, 1)}
	b := Bounds{Requests: m.limit, Queue: modelQueue, Wait: time.Second}
	go func() { c.got <- m.limiter.Acquire(ctx, b) }()
	m.take()
	switch {
	case len(m.queue) == 0 && m.open < m.limit:
		if err := <-c.got; err != nil {
			m.Errorf("there is room: %v", err)
		}
		cancel(nil)
		m.open++
	case len(m.queue) == modelQueue:
		if err := <-c.got; !errors.Is(err, ErrQueueFull) || !errors.Is(err, ErrBusy) {
			m.Errorf("the queue is full: %v", err)
		}
		cancel(nil)
	default:
		m.queue = append(m.queue, c)
	}
}

func (m *limiterModel) end() {
	if m.open > 0 {
		m.limiter.Release()
		m.open--
		// Where fewer may be than are, nobody takes the place.
		m.take()
	}
}

func (m *limiterModel) giveUp(i int) {
	c := m.queue[i]
	m.queue = slices.Delete(m.queue, i, i+1)
	c.cancel(errLeft)
	if err := <-c.got; !errors.Is(err, errLeft) {
		m.Errorf("who gave up gets %v", err)
	}
}

// endAndGiveUp has the first of the queue give up at the very moment when it gets a place:
// it has it, or the next one has.
func (m *limiterModel) endAndGiveUp() {
	if m.open == 0 || m.open > m.limit || len(m.queue) == 0 {
		return
	}
	c := m.queue[0]
	c.cancel(errLeft) // before it can say so there is a place
	m.limiter.Release()
	m.queue = m.queue[1:]
	switch err := <-c.got; {
	case errors.Is(err, errLeft):
		m.open--
		m.take()
	case err != nil:
		m.Errorf("who gave up gets %v", err)
	}
}

func (m *limiterModel) wait() {
	time.Sleep(time.Second)
	for _, c := range m.queue {
		if err := <-c.got; !errors.Is(err, ErrQueueTimeout) || !errors.Is(err, ErrBusy) {
			m.Errorf("who has waited too long gets %v", err)
		}
		c.cancel(nil)
	}
	m.queue = nil
}

// TestLimiterUnderRace: with many at once that give up at any moment there are never more
// under way than may be, and in the end none is.
func TestLimiterUnderRace(t *testing.T) {
	var l Limiter
	const limit = 3
	var mu sync.Mutex
	under, most := 0, 0
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*100*time.Microsecond)
			defer cancel()
			if l.Acquire(ctx, Bounds{Requests: limit, Queue: 100, Wait: time.Duration(1+i%5) * 100 * time.Microsecond}) != nil {
				return
			}
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			for range i % 1000 {
				runtime.Gosched() // work under way
			}
			mu.Lock()
			under--
			mu.Unlock()
			l.Release()
		})
	}
	all.Wait()
	if open, _, queued := l.Counts(); open != 0 || queued != 0 || most > limit || most == 0 {
		t.Errorf("at most %d under way, in the end %d, and %d waiting", most, open, queued)
	}
}
