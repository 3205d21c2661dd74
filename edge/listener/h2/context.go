package h2

import (
	"context"
	"sync"
	"time"
)

// streamContext ends with its stream. What it does not cost: a channel, as long as
// nobody asks for it, and a goroutine for each context derived from it.
type streamContext struct {
	mu struct {
		sync.Mutex
		err   error
		done  chan struct{}
		after map[*func()]struct{}
	}
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Deadline is none.
func (*streamContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value is none.
func (*streamContext) Value(any) any { return nil }

// Done is closed when the client goes away or the handler has returned.
func (x *streamContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mu.done == nil {
		if x.mu.err != nil {
			return closed
		}
		x.mu.done = make(chan struct{})
	}
	return x.mu.done
}

// Err is context.Canceled after that.
func (x *streamContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.err
}

// AfterFunc has f run on a goroutine of its own after the context has ended; package
// context derives contexts by it.
func (x *streamContext) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mu.err != nil {
		go f()
		return func() bool { return false }
	}
	if x.mu.after == nil {
		x.mu.after = make(map[*func()]struct{})
	}
	x.mu.after[&f] = struct{}{}
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		_, waits := x.mu.after[&f]
		delete(x.mu.after, &f)
		return waits
	}
}

// end ends it.
func (x *streamContext) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mu.err != nil {
		return
	}
	x.mu.err = context.Canceled
	if x.mu.done != nil {
		close(x.mu.done)
	}
	for f := range x.mu.after {
		go (*f)()
	}
	x.mu.after = nil
}
