package distributor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/site"
)

// Times of watching.
const (
	viewEvery = time.Second
	settle    = 3 * time.Second // a node may be that far behind the log without being called late
	alarmFor  = 24 * time.Hour  // a replaced log is an alarm for so long: the next working day sees it
)

// view is what is known of the log and its leader; reads are answered from it, so
// that they are quick while the bus or the cluster is away.
type view struct {
	mu struct {
		sync.Mutex
		viewState
		samples []sample // heads of the last settle, oldest first
	}
}

type sample struct {
	head bus.Head
	at   time.Time
}

// viewState is a view at one moment.
type viewState struct {
	Head     bus.Head     // zero before one was seen
	Settled  bus.Head     // the head of settle ago, zero if that is not known: who has not applied that is late
	LogErr   error        // why the head cannot be read
	WriteErr error        // why the leader (this one) cannot write
	Leader   string       // "" when nobody leads
	LeadErr  error        // why that is not known
	Replaced *replacement // the last time that the log was another
}

func (v *view) state() viewState {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.viewState
}

// noteHead takes a head that was just read or written.
func (v *view) noteHead(h bus.Head) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.Head, v.mu.LogErr = h, nil
	s := v.mu.samples
	if len(s) == 0 || now.Sub(s[len(s)-1].at) >= viewEvery/2 { // a burst of appends is one sample
		s = append(s, sample{h, now})
	}
	for len(s) > 1 && now.Sub(s[1].at) >= settle {
		s = s[1:]
	}
	v.mu.samples, v.mu.Settled = s, bus.Head{}
	if now.Sub(s[0].at) >= settle {
		v.mu.Settled = s[0].head
	}
}

// noteTrouble takes what keeps the leader from writing; nil when nothing does.
func (v *view) noteTrouble(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.WriteErr = err
}

// watchLog keeps the view up to date until ctx ends.
func (d *Distributor) watchLog(ctx context.Context) error {
	for {
		d.lookAround(ctx)
		if sleep(ctx, viewEvery) != nil {
			return nil
		}
	}
}

// lookAround reads the head, who leads, and what became of earlier logs.
func (d *Distributor) lookAround(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	head, headErr := d.env.Bus.Head(ctx)
	leader, leadErr := d.env.Cluster.Leader(ctx, election)
	var rec epochRecord
	pair, recErr := d.env.Cluster.Get(ctx, epochKey)
	if recErr == nil {
		recErr = json.Unmarshal(pair.Value, &rec)
	}
	if headErr == nil {
		d.view.noteHead(head)
	}
	v := &d.view
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.LogErr = headErr
	v.mu.LeadErr = leadErr
	if leadErr == nil {
		v.mu.Leader = leader
	}
	if recErr == nil {
		v.mu.Replaced = rec.Replaced
	}
}

// leaderProbe is nil when it is known who leads.
func (d *Distributor) leaderProbe() error {
	if d.writer.Load() != nil {
		return nil
	}
	switch s := d.view.state(); {
	case s.LeadErr != nil:
		return fmt.Errorf("who leads is not known: %w", s.LeadErr)
	case s.Leader == "":
		return errors.New("no distributor leads yet")
	}
	return nil
}

// watchMembers keeps membership up to date until ctx ends.
func (d *Distributor) watchMembers(ctx context.Context) error {
	return cluster.WatchNodes(ctx, d.env.Watched(), d.log, func(n cluster.Nodes) { d.members.Store(&n) })
}

// nodes is membership as of now.
func (d *Distributor) nodes(ctx context.Context) ([]cluster.Node, error) {
	if m := d.members.Load(); m != nil {
		return m.List, nil
	}
	m, err := d.env.Watched().Nodes(ctx, 0)
	return m.List, err
}

// watchProgress listens to the nodes until ctx ends.
func (d *Distributor) watchProgress(ctx context.Context) error {
	cancel, err := d.env.Bus.Subscribe(bus.SubjectProgress+".>", func(subject string, data []byte) {
		if err := d.progress.receive(subject, data); err != nil {
			d.metrics.refused.Inc()
			d.log.Debug("report of progress refused", "err", err)
		}
	})
	if err != nil {
		return fmt.Errorf("listen to progress: %w", err)
	}
	<-ctx.Done()
	cancel()
	return nil
}

// sites is the newest snapshot of the site documents, for those who read it and those
// who wait for a change.
type sites struct {
	snapshot atomic.Pointer[site.Snapshot]
	mu       sync.Mutex
	last     []*site.Snapshot // see version
	changed  chan struct{}    // closed, and replaced, with each new snapshot
}

func (s *sites) publish(snap *site.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.Store(snap)
	s.remember(snap)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sites) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// await waits until the snapshot has doc under name (nil: has none), or ctx ends: who
// has applied a site can purge its URLs right away.
func (s *sites) await(ctx context.Context, name string, doc *site.Document) {
	for {
		next := s.next()
		if snap := s.snapshot.Load(); snap != nil && reflect.DeepEqual(snap.ByName(name), doc) {
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
	}
}

// behind reports whether a node has not applied what it should have by now.
func (s viewState) behind(c command.Clock) bool {
	return s.Settled.Log == s.Head.Log && c.Before(s.Settled.Clock())
}
