package load

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"freshet/internal/bus"
)

// Bounds of what a Table keeps.
const (
	maxNodes = 10_000
	forget   = time.Hour // a silent node may make room for another
)

// Known is the last report of a node.
type Known struct {
	Report
	Received time.Time // by the clock of who has the table
}

// Table keeps the last report of every node. It may be used from any goroutine.
type Table struct {
	now func() time.Time
	mu  struct {
		sync.Mutex
		nodes   map[string]Known
		refused uint64
	}
}

// NewTable knows no node yet.
func NewTable(now func() time.Time) *Table {
	t := &Table{now: now}
	t.mu.nodes = make(map[string]Known)
	return t
}

// Receive takes a message under bus.SubjectLoad.
func (t *Table) Receive(subject string, data []byte) error {
	r, err := Decode(subject, data)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.mu.nodes[r.Node]; err == nil && !known && len(t.mu.nodes) >= maxNodes && !t.makeRoom() {
		err = fmt.Errorf("report of load on %s: there are %d nodes already", subject, maxNodes)
	}
	if err != nil {
		t.mu.refused++
		return err
	}
	t.mu.nodes[r.Node] = Known{r, t.now()}
	return nil
}

// makeRoom forgets a node that has been silent for long. The caller holds the lock.
func (t *Table) makeRoom() bool {
	for name, k := range t.mu.nodes {
		if t.now().Sub(k.Received) > forget {
			delete(t.mu.nodes, name)
			return true
		}
	}
	return false
}

// Of is the last report of a node, and whether it says how busy the node is now: it is
// not older than Unknown.
func (t *Table) Of(node string) (last Known, current bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.mu.nodes[node]
	return last, ok && t.now().Sub(last.Received) <= Unknown
}

// All is the last report of every node, however old.
func (t *Table) All() map[string]Known {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]Known, len(t.mu.nodes))
	for name, k := range t.mu.nodes {
		all[name] = k
	}
	return all
}

// Run listens to the nodes until ctx ends. It goes on while the bus is away.
func (t *Table) Run(ctx context.Context, on bus.Telemetry, log *slog.Logger) error {
	cancel, err := on.Subscribe(bus.SubjectLoad+".>", func(subject string, data []byte) {
		if err := t.Receive(subject, data); err != nil {
			log.Debug("report of load refused", "err", err)
		}
	})
	if err != nil {
		return fmt.Errorf("listen to load: %w", err)
	}
	<-ctx.Done()
	cancel()
	return nil
}
