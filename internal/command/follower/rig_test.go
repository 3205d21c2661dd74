package follower_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"freshet/internal/bus"
	"freshet/internal/bus/memory"
	"freshet/internal/command"
	"freshet/internal/command/follower"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is an Applier that holds the follower to its contract: commands come one
// above the other, and only a Restart jumps.
type recorder struct {
	t  *testing.T
	mu struct {
		sync.Mutex
		clock    command.Clock
		link     command.Link // of the command at clock
		applied  []string     // "restart <reason> <clock>" and "<seq> <id>"
		ids      map[command.Clock]string
		restarts []command.Clock
		fail     error         // what the next calls return
		block    chan struct{} // if set, Apply waits for it
	}
}

func newRecorder(t *testing.T, start command.Clock) *recorder {
	r := &recorder{t: t}
	r.mu.clock = start
	r.mu.ids = make(map[command.Clock]string)
	return r
}

func (r *recorder) Apply(seq command.Seq, c command.Command) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if block := r.mu.block; block != nil {
		r.mu.Unlock()
		<-block
		r.mu.Lock()
	}
	if seq != r.mu.clock.Seq+1 {
		r.t.Errorf("command at %s after %s", seq, r.mu.clock)
	}
	if err := c.Validate(); err != nil {
		r.t.Errorf("command at %s: %v", seq, err)
	}
	if r.mu.fail != nil {
		return r.mu.fail
	}
	r.mu.clock.Seq, r.mu.link = seq, c.Link
	r.mu.ids[r.mu.clock] = c.ID
	r.mu.applied = append(r.mu.applied, fmt.Sprintf("%s %s", seq, c.ID))
	return nil
}

func (r *recorder) Restart(clock command.Clock, why command.RestartReason) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.fail != nil {
		return r.mu.fail
	}
	if why == command.RestartGap && clock.Seq <= r.mu.clock.Seq {
		r.t.Errorf("gap up to %s after %s", clock, r.mu.clock)
	}
	r.mu.clock = clock
	r.mu.restarts = append(r.mu.restarts, clock)
	r.mu.applied = append(r.mu.applied, fmt.Sprintf("restart %s %s", why, clock.Seq))
	return nil
}

// covered reports whether a Restart stands at or above a command that was not applied.
func (r *recorder) covered(at command.Clock) bool {
	return slices.ContainsFunc(r.mu.restarts, func(c command.Clock) bool { return !c.Before(at) })
}

// set changes what the recorder does, under its lock.
func (r *recorder) set(change func(r *recorder)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *recorder) want(applied ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got, want := strings.Join(r.mu.applied, "\n"), strings.Join(applied, "\n"); got != want {
		r.t.Errorf("applied\n%s\nwant\n%s", got, want)
	}
}

// rig is a bus with one follower, under virtual time.
type rig struct {
	t       *testing.T
	bus     *memory.Bus
	deaf    *deafBus // if set, what the follower sees of bus
	rec     *recorder
	f       *follower.Follower
	metrics *prometheus.Registry
	log     logText
	link    command.Link // of start, for run
}

// logText keeps what is logged.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// withRig runs test in a bubble.
func withRig(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, bus: memory.New()}
		defer r.bus.Close()
		test(r)
	})
}

// follow starts a follower as of start, and has it ended with the test or by stop.
func (r *rig) follow(start command.Clock) (stop func()) {
	r.t.Helper()
	r.rec = newRecorder(r.t, start)
	return r.run(r.rec, start)
}

// run starts a follower for an Applier.
func (r *rig) run(applier command.Applier, start command.Clock) (stop func()) {
	r.t.Helper()
	r.metrics = prometheus.NewRegistry()
	var b bus.Bus = r.bus
	if r.deaf != nil {
		b = r.deaf
	}
	f, err := follower.New(follower.Config{
		Node: "e1", Role: "edge", Bus: b, Applier: applier, Start: start, Link: r.link,
		Log: slog.New(slog.NewTextHandler(&r.log, nil)), Metrics: r.metrics,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.f = f
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) create(first command.Seq) bus.Head {
	r.t.Helper()
	head, err := r.bus.Create(context.Background(), first)
	if err != nil {
		r.t.Fatal(err)
	}
	return head
}

// append adds commands with the given ids and returns the last sequence.
func (r *rig) append(ids ...string) command.Seq {
	r.t.Helper()
	head, err := r.bus.Head(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	last := head.Last
	for _, id := range ids {
		data, err := command.Encode(command.Command{
			ID: id, Kind: command.Purge, At: time.Unix(1e9, 0), // one id, one record
			Scopes: []command.Scope{{Kind: command.ScopeSite, Site: "demo"}},
		})
		if err != nil {
			r.t.Fatal(err)
		}
		if last, err = r.bus.Append(context.Background(), data, last); err != nil {
			r.t.Fatal(err)
		}
	}
	return last
}

func (r *rig) wantReady(ready bool) {
	r.t.Helper()
	if err := r.f.Ready(); (err == nil) != ready {
		r.t.Errorf("ready: %v, want ready %t", err, ready)
	}
}

func (r *rig) wantClock(want command.Clock) {
	r.t.Helper()
	if got := r.f.Clock(); got != want {
		r.t.Errorf("clock %s, want %s", got, want)
	}
}

// deafBus has readers that deliver nothing and notice nothing while it is deaf.
type deafBus struct {
	*memory.Bus
	deaf atomic.Bool
}

type deafReader struct {
	bus.Reader
	b *deafBus
}

func (b *deafBus) Read(ctx context.Context, log command.LogID, from command.Seq) (bus.Reader, error) {
	r, err := b.Bus.Read(ctx, log, from)
	return deafReader{r, b}, err
}

func (r deafReader) Next(ctx context.Context) (bus.Entry, error) {
	if r.b.deaf.Load() {
		<-ctx.Done()
		return bus.Entry{}, ctx.Err()
	}
	return r.Reader.Next(ctx)
}
