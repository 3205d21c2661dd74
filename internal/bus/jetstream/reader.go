package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// How the log is read.
const (
	readAhead     = 256              // records on their way to a reader
	heartbeat     = 2 * time.Second  // a server silent for twice that has lost the consumer
	consumerTTL   = 30 * time.Second // after which the server forgets a reader that has gone
	maxReopenWait = 2 * time.Second
	minReopenWait = 50 * time.Millisecond
)

// foreign stands for a link that cannot be read.
var foreign = command.Link{0xff}

// reader reads the log through a consumer that lives in a server's memory. Whatever
// happens to the consumer (its server restarts, the connection is lost, a record goes
// astray on the way), the reader makes another one from the record that is next.
type reader struct {
	bus  *Bus
	log  command.LogID
	next command.Seq
	done context.Context // ended by Close
	end  context.CancelFunc

	// The consumer, nil for none, and how many records it has delivered. They belong to
	// the goroutine in Next; the bus reaches the iterator through mu of Bus.
	records   jetstream.MessagesContext
	delivered uint64
	wait      time.Duration // before the next try to make a consumer
}

// Read starts reading; see bus.Log.
func (b *Bus) Read(ctx context.Context, log command.LogID, from command.Seq) (bus.Reader, error) {
	r := &reader{bus: b, log: log, next: max(from, 1)}
	r.done, r.end = context.WithCancel(context.Background())
	if err := r.open(ctx); err != nil {
		r.end()
		if errors.Is(err, bus.ErrReplaced) {
			if _, lookErr := b.lookUp(ctx); errors.Is(lookErr, bus.ErrNoLog) {
				err = lookErr
			}
		}
		return nil, fmt.Errorf("read command log %s: %w", log, err)
	}
	b.mu.Lock()
	b.mu.readers[r] = struct{}{}
	b.mu.Unlock()
	return r, nil
}

// open makes the consumer. bus.ErrReplaced when the log's stream is not there: the
// stream's name holds the log's id, so that no other log can take its place.
func (r *reader) open(ctx context.Context) error {
	if err := r.bus.Connected(); err != nil {
		return err
	}
	ctx, end := r.bus.call(ctx)
	defer end()
	consumer, err := r.bus.consumer(ctx, r.log, r.next)
	if err != nil {
		return err
	}
	records, err := consumer.Messages(
		jetstream.PullMaxMessages(readAhead),
		jetstream.PullHeartbeat(heartbeat),
		jetstream.WithMessagesErrOnMissingHeartbeat(true),
	)
	if err != nil {
		return r.bus.explain(ctx, err)
	}
	r.bus.mu.Lock()
	r.records = records
	r.bus.mu.Unlock()
	r.delivered, r.wait = 0, 0
	return nil
}

// drop gives the consumer up.
func (r *reader) drop() {
	r.bus.mu.Lock()
	records := r.records
	r.records = nil
	r.bus.mu.Unlock()
	if records != nil {
		records.Stop()
	}
}

// Next waits for a record; see bus.Reader. While the bus is away it waits.
func (r *reader) Next(ctx context.Context) (bus.Entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.done, cancel)()
	for {
		e, err := r.try(ctx)
		switch {
		case r.done.Err() != nil || r.bus.isClosed():
			r.drop()
			return bus.Entry{}, fmt.Errorf("read command log: %w", bus.ErrClosed)
		case err == nil && e.Seq != 0:
			return e, nil
		case ctx.Err() != nil:
			return bus.Entry{}, fmt.Errorf("read command log: %w", ctx.Err())
		case errors.Is(err, bus.ErrReplaced):
			return bus.Entry{}, fmt.Errorf("read command log %s: %w", r.log, err)
		}
		if err != nil {
			r.sleep(ctx)
		}
	}
}

// try waits for one record. It may return neither record nor error: try again.
func (r *reader) try(ctx context.Context) (bus.Entry, error) {
	if r.records == nil {
		if err := r.open(ctx); err != nil {
			return bus.Entry{}, err
		}
	}
	msg, err := r.records.Next(jetstream.NextContext(ctx))
	if err != nil {
		if ctx.Err() == nil {
			r.drop()
		}
		return bus.Entry{}, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		r.drop()
		return bus.Entry{}, err
	}
	// The consumer numbers its deliveries: a jump means that one was lost between the
	// server and here. (A jump of the log's own sequence is a truncated log, and for
	// the caller to see.)
	if meta.Sequence.Consumer != r.delivered+1 {
		r.drop()
		return bus.Entry{}, nil
	}
	r.delivered++
	seq := command.Seq(meta.Sequence.Stream)
	if seq < r.next {
		return bus.Entry{}, nil
	}
	r.next = seq + 1
	prev, err := prevOf(msg.Headers())
	if err != nil {
		prev = foreign // it agrees with nothing
	}
	return bus.Entry{Seq: seq, Data: msg.Data(), At: meta.Timestamp, Prev: prev}, nil
}

// sleep waits before the next try, longer each time, with jitter.
func (r *reader) sleep(ctx context.Context) {
	r.wait = min(max(2*r.wait, minReopenWait), maxReopenWait)
	timer := time.NewTimer(r.wait/2 + rand.N(r.wait/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Close ends the reader and a waiting Next.
func (r *reader) Close() {
	r.end()
	r.bus.mu.Lock()
	delete(r.bus.mu.readers, r)
	records := r.records
	r.bus.mu.Unlock()
	if records != nil {
		records.Stop()
	}
}

// resetReaders makes every reader look for its log anew: after a reconnect its
// consumer may be gone, or the server may be one with another log.
func (b *Bus) resetReaders() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.last = linked{} // the next append reads what the log really ends in
	for r := range b.mu.readers {
		if r.records != nil {
			r.records.Stop()
		}
	}
}
