// Package follower reads the command log on a node and hands its commands, in order
// and none twice, to the node's command.Applier. It notices what a log can do besides
// growing (it was cut short, lost, replaced, cannot be reached) and tells the Applier
// what that means for all that is stored.
//
// It stands beside package command, not in it, because it speaks to package bus, which
// builds on command.
package follower

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// Timing of a follower.
const (
	pollEvery   = 2 * time.Second        // the head is asked for, so that a replaced or silent log is noticed
	callTimeout = 5 * time.Second        // of one call to the bus
	minRetry    = 100 * time.Millisecond // after a failure, doubling with jitter
	maxRetry    = 2 * time.Second
	stallPolls  = 3               // polls without any progress towards a higher head after which reading begins anew
	startQuiet  = 3 * time.Second // a log that is away when a node starts may be starting too
	commitRetry = time.Second     // after a Commit that failed, if no command comes before
	maxBatch    = 64              // commands that one Commit makes durable, and that are read ahead
	shortLooks  = 3               // looks in a row at a log that ends below what was applied, until it is believed
)

// Config is what a follower needs.
type Config struct {
	Node, Role string // as in Progress
	Bus        bus.Bus
	Applier    command.Applier
	// Start is the clock that the node's durable state is as of; zero for none. Link is that
	// of its last command (see command.Command), zero if that is not known.
	Start command.Clock
	Link  command.Link
	// Sites, if not nil, is the version of the site documents that this node goes by, and
	// would after a restart; 0 for none.
	Sites   func() uint64
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Follower follows the command log. Its methods other than Run may be called from any
// goroutine.
type Follower struct {
	cfg       Config
	metrics   *metrics
	at        atomic.Pointer[position]
	heard     atomic.Pointer[heard]
	ready     atomic.Bool   // has caught up once
	changed   chan struct{} // there is progress to publish
	nodes     atomic.Int64  // see Among
	short     int           // looks in a row at a log that is too short; Run's
	failing   bool          // the last session has failed, and that was logged; Run's
	done      command.Clock // carried out in this session, if not yet committed; Run's
	undurable bool          // the last Commit has failed; Run's
	link      command.Link  // of the record at done, zero if not known; Run's
	kept      command.Link  // of the record at Clock, likewise; Run's
	first     command.Seq   // that this session begins to read at; Run's

	mu struct {
		sync.Mutex
		began    time.Time // when Run did
		away     error     // why the last look at the head failed
		head     bus.Head  // the last one seen
		goal     time.Time // when goalSeq was first seen
		goalSeq  command.Seq
		asked    time.Time // before the head was asked for that is askedFor; zero: nothing waits
		askedFor command.Seq
		forked   command.LogID // see Progress
		alarm    string
		alarmAt  time.Time
	}
}

// position is how far the log is applied, and the link of the last command; zero if that
// is not known.
type position struct {
	clock command.Clock
	link  command.Link
}

// Why sessions of reading end.
var (
	// errLook: the log is not what it was, look at its head.
	errLook = errors.New("the command log has changed")
	// errForked: the log is not the one that was applied, though it bears its id: it was put
	// back to an older copy. Some of what it has was perhaps never applied, and will not be
	// acknowledged. The node counts as cut off until the leader has begun a new epoch.
	errForked = errors.New("the command log contradicts what was applied")
)

// New makes a follower. It fails if its metrics are registered already.
func New(cfg Config) (*Follower, error) {
	f := &Follower{cfg: cfg, changed: make(chan struct{}, 1), kept: cfg.Link}
	f.at.Store(&position{cfg.Start, cfg.Link})
	f.mu.away = errors.New("the command log has not been looked at yet")
	var err error
	if f.metrics, err = newMetrics(cfg.Metrics, f); err != nil {
		return nil, fmt.Errorf("follow command log: %w", err)
	}
	return f, nil
}

// Clock is how far the log is applied: the Applier has returned from all up to it.
// Zero before the first Restart of a node without state. It costs one atomic load.
func (f *Follower) Clock() command.Clock { return f.at.Load().clock }

// Run follows until ctx ends, and returns nil. Trouble with the bus and errors of the
// Applier are retried, the latter from the command that failed.
func (f *Follower) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { f.publish(ctx) })

	began := time.Now()
	f.mu.Lock()
	f.mu.began = began
	f.mu.Unlock()
	for wait := minRetry; ; {
		before := f.Clock()
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if f.Clock() != before {
			wait = minRetry
			f.recovered()
		}
		starting := !f.ready.Load() && time.Since(began) < startQuiet
		if !errors.Is(err, errLook) && !f.failing && !starting {
			f.cfg.Log.Warn("command log interrupted", "clock", f.Clock(), "err", err)
			f.failing = true
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return nil
		}
		wait = min(2*wait, maxRetry)
	}
}

// follow is one session: a look at the head, then reading until something is wrong.
func (f *Follower) follow(ctx context.Context) error {
	asked := time.Now()
	head, err := f.look(ctx)
	if err != nil {
		return err
	}
	if err := f.adopt(head); err != nil {
		return err
	}
	clock := f.Clock()
	if clock.Seq+1 == command.FirstOf(clock.Seq.Epoch()) {
		f.kept = command.LinkOf(clock.Log)
	}
	from := clock.Seq + 1
	if clock.Seq >= head.First {
		from = clock.Seq // what was applied last, for its link
	}
	reader, err := f.read(ctx, clock.Log, from)
	if err != nil {
		return err
	}
	defer reader.Close()

	ctx, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(nil)
	wg.Go(func() { f.watch(ctx, clock.Log, stop) })
	entries := make(chan bus.Entry, maxBatch)
	wg.Go(func() {
		defer close(entries)
		stop(ahead(ctx, reader, entries))
	})

	f.done, f.link, f.first = clock, f.kept, from
	f.hear(asked, head.Last)
	for {
		if f.Clock().Seq >= head.Last {
			f.recovered()
			if !f.ready.Swap(true) {
				f.cfg.Log.Info("command log applied up to its head", "clock", f.Clock())
			}
		}
		if err := f.batch(ctx, entries); err != nil {
			return err
		}
	}
}

// ahead reads into entries until it fails.
func ahead(ctx context.Context, reader bus.Reader, entries chan<- bus.Entry) error {
	for {
		e, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case entries <- e:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// batch waits for a command and carries out those that are there, then commits them.
// It returns why the session has ended, if so.
func (f *Follower) batch(ctx context.Context, entries <-chan bus.Entry) error {
	var again <-chan time.Time
	if f.undurable {
		timer := time.NewTimer(commitRetry)
		defer timer.Stop()
		again = timer.C
	}
	select {
	case e, ok := <-entries:
		if !ok {
			return context.Cause(ctx)
		}
		for n := 1; ; n++ {
			if err := f.deliver(e); err != nil {
				return errors.Join(err, f.commit())
			}
			if n == maxBatch || len(entries) == 0 {
				break
			}
			if e, ok = <-entries; !ok {
				break
			}
		}
	case <-again:
	}
	_ = f.commit() // it says so itself, and is tried again
	return nil
}

// commit makes durable what was carried out, and only then says so. While that fails
// commands go on being carried out: what they make untrue must not be served.
func (f *Follower) commit() error {
	if f.done == f.Clock() {
		return nil
	}
	if c, ok := f.cfg.Applier.(command.Committer); ok {
		if err := c.Commit(); err != nil {
			if !f.undurable {
				f.cfg.Log.Error("commands cannot be made durable and are not acknowledged", "clock", f.done, "err", err)
			}
			f.undurable = true
			return fmt.Errorf("make commands up to %s durable: %w", f.done, err)
		}
	}
	if f.undurable {
		f.undurable = false
		f.cfg.Log.Info("commands are durable again", "clock", f.done)
	}
	f.advance(f.done)
	f.recovered()
	return nil
}

func (f *Follower) read(ctx context.Context, log command.LogID, from command.Seq) (bus.Reader, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f.cfg.Bus.Read(ctx, log, from)
}

// look asks for the head and remembers the answer.
func (f *Follower) look(ctx context.Context) (bus.Head, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	head, err := f.cfg.Bus.Head(ctx)
	f.saw(head, err)
	return head, err
}

// advance makes the clock visible, after the Applier has returned.
func (f *Follower) advance(clock command.Clock) {
	f.kept = f.link
	f.at.Store(&position{clock, f.link})
	f.caughtUp(clock.Seq)
	f.tell()
}

// tell has progress published soon.
func (f *Follower) tell() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// watch polls the head while a session reads, and ends the session when the log has
// changed in a way that a reader may not notice.
func (f *Follower) watch(ctx context.Context, log command.LogID, stop context.CancelCauseFunc) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var lastHead, lastApplied command.Seq
	for still := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		before := f.Clock().Seq // an answer must know at least this
		asked := time.Now()
		head, err := f.look(ctx)
		if err != nil {
			continue // away or lost: the node keeps what it has
		}
		applied := f.Clock().Seq
		if applied < lastHead && applied == lastApplied {
			still++
		} else {
			still = 0
		}
		lastHead, lastApplied = head.Last, applied
		if head.Log != log || head.Last < before || head.First > applied+1 || still >= stallPolls {
			stop(errLook)
			return
		}
		f.hear(asked, head.Last)
	}
}
