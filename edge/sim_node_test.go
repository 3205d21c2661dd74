package edge

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/invalidate"
	"freshet/edge/invalidate/journal"
	"freshet/edge/store/disk"
	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/command/follower"
	"freshet/internal/document"
	"freshet/internal/files"
	"freshet/internal/files/filestest"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

// simNode is a node over all its processes.
type simNode struct {
	w    *sim
	name string
	role cluster.Role
	addr netip.AddrPort
	fs   *filestest.FS // nil for one that keeps nothing
	view *logView
	ran  int // processes

	mu struct {
		sync.Mutex
		p     *simProcess // nil while the node is down
		acked position    // as others have been told
		some  bool        // anything was
	}
}

// simProcess is a running node.
type simProcess struct {
	*Edge
	n        *simNode
	follower *follower.Follower
	ctx      context.Context
	cancel   context.CancelCauseFunc
	ran      int // the how manieth of the node
	tasks    sync.WaitGroup

	serving struct {
		sync.Mutex
		sync.WaitGroup
		over bool
	}
}

// begins reports whether the process takes another request, whose end is to be told to
// serving.
func (p *simProcess) begins() bool {
	p.serving.Lock()
	defer p.serving.Unlock()
	if !p.serving.over {
		p.serving.Add(1)
	}
	return !p.serving.over
}

func newSimNode(w *sim, name string, i int) *simNode {
	n := &simNode{w: w, name: name, role: cluster.Edge, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80)}
	if name[0] == 'm' {
		n.role = cluster.Mid
	}
	n.view = newLogView(w.bus)
	if w.rnd.IntN(3) > 0 {
		n.fs = filestest.New()
		_ = n.fs.MkdirAll("/data", 0o700)
		_ = n.fs.MkdirAll("/disk", 0o700)
		n.fs.Record(time.Now)
	}
	return n
}

func (n *simNode) process() *simProcess {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.p
}

func (n *simNode) alive() bool { return n.process() != nil }

func (n *simNode) ready() bool {
	p := n.process()
	return p != nil && p.follower.Ready() == nil
}

// acknowledged is up to where the node has said, or would say at this moment, that it has
// durably applied the log.
func (n *simNode) acknowledged() (position, bool) {
	if p := n.process(); p != nil {
		n.acks(p.follower.Clock())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.acked, n.mu.some
}

// acks takes down what the node says.
func (n *simNode) acks(c command.Clock) {
	at, ok := n.w.positionOf(c)
	n.mu.Lock()
	defer n.mu.Unlock()
	if ok && (!n.mu.some || n.mu.acked.before(at)) {
		n.mu.acked, n.mu.some = at, true
	}
}

// start begins a process with what the disk holds.
func (n *simNode) start() {
	w := n.w
	n.ran++
	env := node.Env{
		File: &node.File{
			Role: n.role, Name: n.name, PoP: "p", Region: "r",
			Cluster: node.Cluster{Secret: document.NewSecret("secret")},
			Cache:   node.Cache{Memory: 1 << 20, Siblings: w.params.siblings && n.role == cluster.Edge},
		},
		Log: w.logger(n.name), Metrics: noMetrics{}, Health: telemetry.NewHealth(),
	}
	var k kept
	if n.fs != nil {
		var on files.FS = n.fs
		if w.lie == lieDurable {
			on = unsyncedFS{on}
		}
		k.disks = []disk.Config{{Dir: "/disk", Size: 300 << 10, SegmentSize: 64 << 10, FS: n.fs, SyncEvery: 200 * time.Millisecond}}
		k.marks = journal.Config{Dirs: []string{"/data"}, FS: on, Bound: w.params.bound}
	}
	e, err := newKept(env, k)
	if err != nil {
		w.violate("%s does not start: %v", n.name, err)
		return
	}
	e.joinsAny = w.lie == lieJoin
	p := &simProcess{Edge: e, n: n, ran: n.ran}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	e.client.Over(&simTransport{w: w, from: p})
	e.continueAs(keyedBy(nil))
	e.setSites(w.sites)
	e.parents.Update(w.members())
	var applier command.Applier = e
	if w.lie == lieFloor {
		applier = gaplessApplier{e}
	}
	p.follower, err = follower.New(follower.Config{
		Node: n.name, Role: string(n.role), Bus: simBus{n.view, n}, Applier: applier, Start: e.table.Clock(), Link: e.table.Link(),
		Log: env.Log, Metrics: noMetrics{},
	})
	if err != nil {
		w.violate("%s does not start: %v", n.name, err)
		return
	}
	for _, task := range []func(context.Context) error{e.work, e.table.Run, p.follower.Run} {
		p.tasks.Go(func() { _ = task(p.ctx) })
	}
	w.note("%s starts at %s", n.name, e.table.Clock())
	n.mu.Lock()
	n.mu.p = p
	n.mu.Unlock()
}

var errKilled = errors.New("the process has ended")

// end ends the process as Run does at its end.
func (p *simProcess) end() {
	p.cancel(errKilled)
	p.serving.Lock()
	p.serving.over = true
	p.serving.Unlock()
	p.serving.Wait()
	p.stopFills()
	p.tasks.Wait()
	p.slicing.settling.Wait()
	p.fills.Wait()
	p.client.Close()
	p.store.Close()
	p.closeJournal()
}

// stop ends the process in order.
func (n *simNode) stop() {
	n.acknowledged()
	n.mu.Lock()
	p := n.mu.p
	n.mu.p = nil
	n.mu.Unlock()
	if p != nil {
		p.end()
	}
}

// kill ends the process at this moment. With power the disk has all that was written, else
// no more than what was synced and, of the rest, what chance has left.
func (n *simNode) kill(power bool, seed uint64) {
	n.acknowledged()
	n.mu.Lock()
	p := n.mu.p
	n.mu.p = nil
	n.mu.Unlock()
	if p == nil {
		return
	}
	n.w.note("%s is killed, power %t", n.name, power)
	n.w.count(func(c *simCounts) { c.kills++ })
	if n.fs != nil {
		if power {
			n.fs = n.fs.Copy()
		} else {
			n.fs = n.fs.CrashState(n.fs.Points(), seed)
		}
		n.fs.Record(time.Now)
	}
	n.w.wg.Go(p.end) // what it writes from here on goes nowhere
}

// simBus is the log as a node sees it: late, or not at all, and its receipts are taken
// down.
type simBus struct {
	*logView
	n *simNode
}

func (b simBus) Connected() error {
	if b.isShut() {
		return errShut
	}
	return nil
}

func (b simBus) Publish(subject string, data []byte) error {
	if b.isShut() {
		return errShut
	}
	var p command.Progress
	if strings.HasPrefix(subject, bus.SubjectProgress) && json.Unmarshal(data, &p) == nil {
		b.n.acks(command.Clock{Log: p.Log, Seq: p.Applied})
	}
	return nil
}

func (b simBus) Read(ctx context.Context, log command.LogID, from command.Seq) (bus.Reader, error) {
	r, err := b.logView.Read(ctx, log, from)
	if err != nil {
		return nil, err
	}
	return lateReader{r, b.n}, nil
}

type lateReader struct {
	bus.Reader
	n *simNode
}

func (r lateReader) Next(ctx context.Context) (bus.Entry, error) {
	e, err := r.Reader.Next(ctx)
	if err != nil {
		return e, err
	}
	// Late by as much as follows from the record, and after all that was sent before.
	late := time.Duration(simSum([]string{r.n.name}, r.n.w.seed, uint64(e.Seq)) % uint64(2*r.n.w.params.lag))
	return e, simSleep(ctx, late)
}

// gaplessApplier takes away the floor.
type gaplessApplier struct{ *Edge }

func (a gaplessApplier) Restart(clock command.Clock, why command.RestartReason) error {
	if why == command.RestartGap {
		a.table.Apply(clock.Seq, invalidate.Effect{At: time.Now()})
		return a.table.Commit()
	}
	return a.Edge.Restart(clock, why)
}

// unsyncedFS is a layer on which what is added to a journal is not synced, though it says
// so. The file that a journal begins with is.
type unsyncedFS struct{ files.FS }

func (f unsyncedFS) OpenFile(name string, flag int, perm fs.FileMode) (files.File, error) {
	opened, err := f.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.HasPrefix(filepath.Base(name), "journal") {
		return opened, err
	}
	return &unsyncedFile{File: opened}, nil
}

type unsyncedFile struct {
	files.File
	mu     sync.Mutex
	synced bool
}

func (f *unsyncedFile) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.synced {
		return nil
	}
	f.synced = true
	return f.File.Sync()
}

// logger is a node's, part of the trace where that is sure to be printed.
func (w *sim) logger(name string) *slog.Logger {
	if !w.traced {
		return slog.New(slog.DiscardHandler)
	}
	options := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	return slog.New(slog.NewTextHandler(noteWriter{w, name}, options))
}

type noteWriter struct {
	w    *sim
	name string
}

func (n noteWriter) Write(line []byte) (int, error) {
	n.w.note("%s logs %s", n.name, strings.TrimSpace(string(line)))
	return len(line), nil
}

// noMetrics takes metrics and keeps none.
type noMetrics struct{}

func (noMetrics) Register(prometheus.Collector) error  { return nil }
func (noMetrics) MustRegister(...prometheus.Collector) {}
func (noMetrics) Unregister(prometheus.Collector) bool { return true }
