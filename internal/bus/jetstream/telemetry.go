package jetstream

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"freshet/internal/bus"
)

// Limits of a subscription: what a slow receiver may be behind before messages are
// lost.
const (
	telemetryPrefix = "freshet.telemetry."
	maxWaiting      = 8192
	maxWaitingBytes = 16 << 20
	subscribeWait   = 2 * time.Second // for the server to know of a subscription
)

// Publish sends data; see bus.Telemetry. It fails at once while the bus is away.
func (b *Bus) Publish(subject string, data []byte) error {
	if err := bus.CheckMessage(subject, data); err != nil {
		return err
	}
	if err := b.Connected(); err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	if err := b.conn.Publish(telemetryPrefix+subject, data); err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return nil
}

// subscription is one subscriber; the connection owns the goroutine that calls it.
type subscription struct {
	bus *Bus
	sub *nats.Subscription
	mu  struct {
		sync.Mutex // held while fn runs
		cancelled  bool
	}
}

// Subscribe calls fn for what is published; see bus.Telemetry. It survives reconnects.
// When it returns the server knows of the subscription, if it can be reached.
func (b *Bus) Subscribe(pattern string, fn func(subject string, data []byte)) (func(), error) {
	if err := bus.CheckPattern(pattern); err != nil {
		return nil, err
	}
	s := &subscription{bus: b}
	if err := s.start(pattern, fn); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", pattern, err)
	}
	if b.conn.IsConnected() {
		// A failure means that the connection was lost just now: the subscription is
		// made again with the next one.
		_ = b.conn.FlushTimeout(subscribeWait)
	}
	return s.cancel, nil
}

func (s *subscription) start(pattern string, fn func(subject string, data []byte)) error {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return bus.ErrClosed
	}
	sub, err := b.conn.Subscribe(telemetryPrefix+pattern, func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.mu.cancelled {
			fn(strings.TrimPrefix(m.Subject, telemetryPrefix), m.Data)
		}
	})
	if err != nil {
		return err
	}
	s.sub = sub
	b.mu.subs[s] = struct{}{}
	return sub.SetPendingLimits(maxWaiting, maxWaitingBytes) // fails only on a connection that is gone
}

// cancel ends the subscription and waits for a running call.
func (s *subscription) cancel() {
	s.bus.mu.Lock()
	delete(s.bus.mu.subs, s)
	s.bus.mu.Unlock()
	// It fails only where there is nothing to end any more.
	_ = s.sub.Unsubscribe()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.cancelled = true
}
