// Package memory is a bus within one process: for tests under virtual time
// (testing/synctest), and for a lone edge that has no one to talk to. It keeps
// nothing over a restart. Several roles of a process may share one Bus.
//
// Beside the contract of package bus it has the faults that tests need: a log that
// is lost, replaced or cut short, and a bus that cannot be reached.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// errAway is what a disconnected bus says.
var errAway = errors.New("bus is disconnected")

// Bus is a bus.Bus in memory. It starts no goroutines but one for each
// subscription, which the subscription's cancel, or Close, ends and waits for.
type Bus struct {
	mu struct {
		sync.Mutex
		closed bool
		away   bool
		log    *log          // nil: there is none
		change chan struct{} // closed, and replaced, with every change of what Next waits for
		subs   map[*subscription]struct{}
	}
}

var _ bus.Bus = (*Bus)(nil)

// maxKept is how many bytes of records a log keeps, each counted with recordCost
// on top. The oldest go first; a reader that was slower sees a gap.
const (
	maxKept    = 64 << 20
	recordCost = 64
)

// log is one command log: records[i] has the sequence first+i.
type log struct {
	id      command.LogID
	first   command.Seq
	records []bus.Entry
	bytes   int // what records count for
	link    command.Link
}

func (l *log) head() bus.Head {
	return bus.Head{Log: l.id, First: l.first, Last: l.first + command.Seq(len(l.records)) - 1}
}

func newLog(first command.Seq) *log {
	id := command.NewLogID()
	return &log{id: id, first: first, link: command.LinkOf(id)}
}

// drop forgets the n oldest records.
func (l *log) drop(n int) {
	for i := range l.records[:n] {
		l.bytes -= len(l.records[i].Data) + recordCost
		l.records[i] = bus.Entry{}
	}
	l.records = l.records[n:]
	l.first += command.Seq(n)
}

// New makes a bus without a log.
func New() *Bus {
	b := &Bus{}
	b.mu.change = make(chan struct{})
	b.mu.subs = make(map[*subscription]struct{})
	return b
}

// wake lets every waiting Next look again. The caller holds the lock.
func (b *Bus) wake() {
	close(b.mu.change)
	b.mu.change = make(chan struct{})
}

// reachable says why a call cannot go through. The caller holds the lock.
func (b *Bus) reachable(ctx context.Context) error {
	switch {
	case b.mu.closed:
		return bus.ErrClosed
	case b.mu.away:
		return errAway
	default:
		return ctx.Err()
	}
}

// Create makes an empty log; see bus.Log.
func (b *Bus) Create(ctx context.Context, first command.Seq) (bus.Head, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reachable(ctx); err != nil {
		return bus.Head{}, fmt.Errorf("create command log: %w", err)
	}
	if first == 0 {
		return bus.Head{}, errors.New("create command log: the first sequence cannot be 0")
	}
	if b.mu.log != nil {
		return bus.Head{}, fmt.Errorf("create command log: %w", bus.ErrExists)
	}
	b.mu.log = newLog(first)
	b.wake()
	return b.mu.log.head(), nil
}

// Seal ends the log, and forgets it; see bus.Log.
func (b *Bus) Seal(ctx context.Context, id command.LogID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reachable(ctx); err != nil {
		return fmt.Errorf("seal command log: %w", err)
	}
	if b.mu.log == nil || b.mu.log.id != id {
		return fmt.Errorf("seal command log %s: %w", id, bus.ErrNoLog)
	}
	b.mu.log = nil
	b.wake()
	return nil
}

// Head describes the log; see bus.Log.
func (b *Bus) Head(ctx context.Context) (bus.Head, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reachable(ctx); err != nil {
		return bus.Head{}, fmt.Errorf("head of command log: %w", err)
	}
	if b.mu.log == nil {
		return bus.Head{}, fmt.Errorf("head of command log: %w", bus.ErrNoLog)
	}
	return b.mu.log.head(), nil
}

// Append adds a record; see bus.Log.
func (b *Bus) Append(ctx context.Context, data []byte, after command.Seq) (command.Seq, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reachable(ctx); err != nil {
		return 0, fmt.Errorf("append to command log: %w", err)
	}
	l := b.mu.log
	if l == nil {
		return 0, fmt.Errorf("append to command log: %w", bus.ErrNoLog)
	}
	if len(data) > command.MaxRecord {
		return 0, fmt.Errorf("append to command log: %d bytes, at most %d fit", len(data), command.MaxRecord)
	}
	if last := l.head().Last; last != after {
		return 0, fmt.Errorf("append to command log after %s, which ends at %s: %w", after, last, bus.ErrConflict)
	}
	e := bus.Entry{Seq: after + 1, Data: append([]byte(nil), data...), At: time.Now(), Prev: l.link}
	l.link = l.link.Next(e.Seq, e.Data)
	l.records = append(l.records, e)
	l.bytes += len(data) + recordCost
	for l.bytes > maxKept {
		l.drop(1)
	}
	b.wake()
	return e.Seq, nil
}

// Link is the link of a record; see bus.Log.
func (b *Bus) Link(ctx context.Context, seq command.Seq) (command.Link, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reachable(ctx); err != nil {
		return command.Link{}, fmt.Errorf("link of the command log: %w", err)
	}
	l := b.mu.log
	switch {
	case l == nil:
		return command.Link{}, fmt.Errorf("link of the command log: %w", bus.ErrNoLog)
	case seq == l.head().Last:
		return l.link, nil
	case seq < l.first || seq > l.head().Last:
		return command.Link{}, nil
	}
	return l.records[seq-l.first+1].Prev, nil
}

// Read starts reading; see bus.Log.
func (b *Bus) Read(ctx context.Context, id command.LogID, from command.Seq) (bus.Reader, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reachable(ctx); err != nil {
		return nil, fmt.Errorf("read command log: %w", err)
	}
	if b.mu.log == nil {
		return nil, fmt.Errorf("read command log: %w", bus.ErrNoLog)
	}
	if b.mu.log.id != id {
		return nil, fmt.Errorf("read command log %s: it is %s: %w", id, b.mu.log.id, bus.ErrReplaced)
	}
	return &reader{bus: b, log: id, next: from, closed: make(chan struct{})}, nil
}

// Connected is nil unless the bus is closed or Disconnect(true) was called.
func (b *Bus) Connected() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reachable(context.Background())
}

// Close ends readers and subscriptions, and waits for the latter.
func (b *Bus) Close() {
	b.mu.Lock()
	if !b.mu.closed {
		b.mu.closed = true
		b.wake()
	}
	subs := make([]*subscription, 0, len(b.mu.subs))
	for s := range b.mu.subs {
		subs = append(subs, s)
	}
	b.mu.Unlock()
	for _, s := range subs {
		s.cancel()
	}
}

// reader reads a Bus's log.
type reader struct {
	bus    *Bus
	log    command.LogID
	next   command.Seq
	once   sync.Once
	closed chan struct{}
}

// Next waits for a record. A disconnected bus makes it wait, as a lost connection
// would: it comes back or it does not.
func (r *reader) Next(ctx context.Context) (bus.Entry, error) {
	for {
		e, change, err := r.poll(ctx)
		if change == nil {
			return e, err
		}
		select {
		case <-change:
		case <-r.closed:
		case <-ctx.Done():
		}
	}
}

// poll returns the record that is next, an error, or what to wait for.
func (r *reader) poll(ctx context.Context) (bus.Entry, <-chan struct{}, error) {
	b := r.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-r.closed:
		return bus.Entry{}, nil, fmt.Errorf("read command log: %w", bus.ErrClosed)
	default:
	}
	switch l := b.mu.log; {
	case b.mu.closed:
		return bus.Entry{}, nil, fmt.Errorf("read command log: %w", bus.ErrClosed)
	case ctx.Err() != nil:
		return bus.Entry{}, nil, fmt.Errorf("read command log: %w", ctx.Err())
	case b.mu.away:
		return bus.Entry{}, b.mu.change, nil
	case l == nil || l.id != r.log:
		return bus.Entry{}, nil, fmt.Errorf("read command log %s: %w", r.log, bus.ErrReplaced)
	default:
		r.next = max(r.next, l.first)
		if r.next > l.head().Last {
			return bus.Entry{}, b.mu.change, nil
		}
		e := l.records[r.next-l.first]
		e.Data = append([]byte(nil), e.Data...)
		r.next++
		return e, nil, nil
	}
}

// Close ends the reader and a waiting Next.
func (r *reader) Close() { r.once.Do(func() { close(r.closed) }) }
