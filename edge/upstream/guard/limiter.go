package guard

import (
	"context"
	"sync"
	"time"
)

// Bounds of a limiter.
type Bounds struct {
	Requests int           // under way at once
	Queue    int           // waiting for one of them to end
	Wait     time.Duration // the longest wait; none queues where it is not above zero
}

// Limiter lets a number of requests be under way at once, and the others wait in the order
// in which they came. The zero Limiter is ready for use.
type Limiter struct {
	mu struct {
		sync.Mutex
		limit, open, queued int
		first, last         *waiter
	}
}

// waiter is one who waits. What it waits for is handed to it: nobody who comes later can
// take it away.
type waiter struct {
	prev, next *waiter
	granted    chan struct{} // closed under the lock, once it is out of the queue
	waits      bool
}

// Acquire takes a place, for which it waits as b says and while ctx goes on. A number of
// requests other than before holds from now on, for all. It fails with ErrQueueFull,
// ErrQueueTimeout or the cause of ctx; after nil there must be one Release.
func (l *Limiter) Acquire(ctx context.Context, b Bounds) error {
	l.mu.Lock()
	l.set(b.Requests)
	if l.mu.first == nil && l.mu.open < l.mu.limit {
		l.mu.open++
		l.mu.Unlock()
		return nil
	}
	if b.Wait <= 0 || l.mu.queued >= b.Queue {
		l.mu.Unlock()
		return ErrQueueFull
	}
	w := &waiter{granted: make(chan struct{}), waits: true, prev: l.mu.last}
	if l.mu.last == nil {
		l.mu.first = w
	} else {
		l.mu.last.next = w
	}
	l.mu.last = w
	l.mu.queued++
	l.mu.Unlock()

	timer := time.NewTimer(b.Wait)
	defer timer.Stop()
	var err error
	select {
	case <-w.granted:
		return nil
	case <-timer.C:
		err = ErrQueueTimeout
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.waits {
		l.remove(w)
		return err
	}
	if err == ErrQueueTimeout {
		return nil // granted at the very moment
	}
	l.mu.open--
	l.grant()
	return err
}

// Release gives a place back.
func (l *Limiter) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.open--
	l.grant()
}

// Counts says how many are under way, how many may be, and how many wait.
func (l *Limiter) Counts() (open, limit, queued int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.open, l.mu.limit, l.mu.queued
}

func (l *Limiter) set(limit int) {
	if limit != l.mu.limit {
		l.mu.limit = limit
		l.grant()
	}
}

// grant gives the places that are free to those who wait.
func (l *Limiter) grant() {
	for l.mu.first != nil && l.mu.open < l.mu.limit {
		w := l.mu.first
		l.remove(w)
		l.mu.open++
		close(w.granted)
	}
}

func (l *Limiter) remove(w *waiter) {
	if w.prev == nil {
		l.mu.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.mu.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.waits = nil, nil, false
	l.mu.queued--
}
