package memory

import (
	"fmt"
	"sync"

	"freshet/internal/bus"
)

// maxWaiting is how many messages a slow subscriber may be behind before further
// ones are lost.
const maxWaiting = 1024

// subscription is one subscriber with the goroutine that calls it.
type subscription struct {
	bus     *Bus
	pattern string
	queue   chan message
	stop    chan struct{}
	once    sync.Once
	done    chan struct{}
}

type message struct {
	subject string
	data    []byte
}

// Publish hands data to the subscribers; see bus.Telemetry.
func (b *Bus) Publish(subject string, data []byte) error {
	if err := bus.CheckMessage(subject, data); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return fmt.Errorf("publish %s: %w", subject, bus.ErrClosed)
	}
	if b.mu.away {
		return fmt.Errorf("publish %s: %w", subject, errAway)
	}
	for s := range b.mu.subs {
		if !bus.Match(s.pattern, subject) {
			continue
		}
		select {
		case s.queue <- message{subject, append([]byte(nil), data...)}:
		default: // telemetry may be lost, and must not wait
		}
	}
	return nil
}

// Subscribe calls fn for what is published; see bus.Telemetry.
func (b *Bus) Subscribe(pattern string, fn func(subject string, data []byte)) (func(), error) {
	if err := bus.CheckPattern(pattern); err != nil {
		return nil, err
	}
	s := &subscription{
		bus: b, pattern: pattern,
		queue: make(chan message, maxWaiting), stop: make(chan struct{}), done: make(chan struct{}),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return nil, fmt.Errorf("subscribe to %s: %w", pattern, bus.ErrClosed)
	}
	b.mu.subs[s] = struct{}{}
	go s.run(fn)
	return s.cancel, nil
}

// run delivers until the subscription is cancelled.
func (s *subscription) run(fn func(subject string, data []byte)) {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		select {
		case <-s.stop:
			return
		case m := <-s.queue:
			fn(m.subject, m.data)
		}
	}
}

// cancel ends the subscription and waits for a running call.
func (s *subscription) cancel() {
	s.once.Do(func() {
		s.bus.mu.Lock()
		delete(s.bus.mu.subs, s)
		s.bus.mu.Unlock()
		close(s.stop)
	})
	<-s.done
}
