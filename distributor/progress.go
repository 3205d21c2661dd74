package distributor

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
	"freshet/internal/site"
)

// Bounds of what the tracker keeps.
const (
	maxReports = 10_000          // nodes
	maxWaits   = 10_000          // callers that wait at one time
	maxLinks   = 4096            // records of which the link is remembered
	lostFor    = time.Minute     // after its last report, during which a node may be serving that the cluster does not know
	silence    = 5 * time.Second // without a report, after which a node that should send them is silent
	forget     = time.Hour       // after which a silent node's report may make room for another's
)

// report is a node's newest progress.
type report struct {
	command.Progress
	received time.Time
	docs     *site.Snapshot // that it goes by; nil if that is not known
}

// tracker keeps the newest progress of every node, and tells those who wait for it.
type tracker struct {
	now   func() time.Time
	since time.Time // when it began to listen
	docs  func(version uint64) *site.Snapshot
	fork  func(command.Progress) // told of every report of a log that contradicts what a node applied
	mu    struct {
		sync.Mutex
		reports map[string]report
		waits   map[*wait]struct{}
		log     command.LogID                // the log that links are of
		links   map[command.Seq]command.Link // of the last maxLinks records appended here
		last    command.Seq                  // the highest of them
		ahead   map[string]struct{}          // nodes whose report is above that
	}
}

// wait is one caller's wait for a set of nodes to reach a clock.
type wait struct {
	clock command.Clock
	start time.Time
	done  chan struct{} // closed when every live node has applied it

	// Guarded by the tracker's lock.
	took map[string]time.Duration // from start to the report, of those that have applied it
	open map[string]bool          // those that have not; true for the live ones
	live int                      // live ones in open
}

func newTracker(now func() time.Time) *tracker {
	t := &tracker{now: now, since: now(), fork: func(command.Progress) {}, docs: func(uint64) *site.Snapshot { return nil }}
	t.mu.reports = make(map[string]report)
	t.mu.waits = make(map[*wait]struct{})
	t.mu.ahead = make(map[string]struct{})
	return t
}

// receive takes a message under bus.SubjectProgress.
func (t *tracker) receive(subject string, data []byte) error {
	var p command.Progress
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("report of progress on %s: %w", subject, err)
	}
	if p.Node == "" || subject != bus.SubjectProgress+"."+p.Node {
		return fmt.Errorf("report of progress on %s is of node %.64q", subject, p.Node)
	}
	p.Alarm = strings.ToValidUTF8(p.Alarm[:min(len(p.Alarm), 500)], "")
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.mu.reports[p.Node]; !ok && len(t.mu.reports) >= maxReports && !t.makeRoom() {
		return fmt.Errorf("report of progress on %s: there are %d nodes already", subject, maxReports)
	}
	r := report{Progress: p, received: t.now()}
	if was := t.mu.reports[p.Node]; was.Sites == p.Sites && was.docs != nil {
		r.docs = was.docs
	} else if p.Sites != 0 {
		r.docs = t.docs(p.Sites)
	}
	t.mu.reports[p.Node] = r
	if p.Left {
		delete(t.mu.reports, p.Node)
	}
	t.tell(r)
	return nil
}

// tell lets those know of a report who wait for it, unless the node has applied other
// commands than stand in the log. The caller holds the lock.
func (t *tracker) tell(r report) {
	switch t.agrees(r) {
	case contradicts:
		r.Forked = r.Log
		t.fork(r.Progress)
	case unclear: // the record was appended, and note not yet called; or the log is shorter
		t.mu.ahead[r.Node] = struct{}{}
	case agrees:
		for w := range t.mu.waits {
			w.see(r)
		}
	}
}

// note remembers the link of the last record of the log, zero if it is not known.
func (t *tracker) note(clock command.Clock, link command.Link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.log != clock.Log {
		t.mu.log, t.mu.links, t.mu.last = clock.Log, make(map[command.Seq]command.Link), 0
	}
	t.mu.links[clock.Seq], t.mu.last = link, clock.Seq
	if len(t.mu.links) > maxLinks {
		for seq := range t.mu.links {
			if seq+maxLinks/2 < clock.Seq {
				delete(t.mu.links, seq)
			}
		}
	}
	if len(t.mu.ahead) == 0 {
		return
	}
	ahead := t.mu.ahead
	t.mu.ahead = make(map[string]struct{})
	for name := range ahead {
		if r, ok := t.mu.reports[name]; ok {
			t.tell(r) // it may be ahead again
		}
	}
}

// agreement is whether what a node has applied is what the log has.
type agreement int

const (
	agrees agreement = iota // as far as is known
	contradicts
	unclear
)

func (t *tracker) agrees(r report) agreement {
	unknown := command.Link{}
	link, ok := t.mu.links[r.Applied]
	switch {
	case r.Forked == r.Log && r.Forked != 0:
		return contradicts
	case r.Log != t.mu.log || r.Link == unknown || ok && link == unknown:
		return agrees
	case ok && link != r.Link:
		return contradicts
	case !ok && r.Applied > t.mu.last:
		return unclear
	}
	return agrees
}

// makeRoom forgets a node that has been silent for long. The caller holds the lock.
func (t *tracker) makeRoom() bool {
	for name, r := range t.mu.reports {
		if t.now().Sub(r.received) > forget {
			delete(t.mu.reports, name)
			return true
		}
	}
	return false
}

// see takes note of a report. The caller holds the tracker's lock.
func (w *wait) see(r report) {
	live, open := w.open[r.Node]
	if !open || r.Log != w.clock.Log || r.Applied < w.clock.Seq {
		return
	}
	delete(w.open, r.Node)
	w.took[r.Node] = max(0, r.received.Sub(w.start))
	if live {
		if w.live--; w.live == 0 {
			close(w.done)
		}
	}
}

// wait begins a wait for nodes (true: live ones, which done waits for) to apply what
// stands at clock; took counts from start. end must be called.
func (t *tracker) wait(clock command.Clock, start time.Time, nodes map[string]bool) (*wait, error) {
	w := &wait{clock: clock, start: start, done: make(chan struct{}), took: make(map[string]time.Duration), open: nodes}
	for _, live := range nodes {
		if live {
			w.live++
		}
	}
	if w.live == 0 {
		close(w.done)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.mu.waits) >= maxWaits {
		return nil, fmt.Errorf("%d callers wait for nodes already", maxWaits)
	}
	for name := range nodes {
		if r, ok := t.mu.reports[name]; ok && t.agrees(r) == agrees {
			w.see(r)
		}
	}
	t.mu.waits[w] = struct{}{}
	return w, nil
}

// end ends a wait and returns how long each node took that has applied the command.
func (t *tracker) end(w *wait) map[string]time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.mu.waits, w)
	return w.took
}

// waitsFor reports whether a live node has not applied what a wait is for, other than those
// that have ceased by now to use what it covers.
func (t *tracker) waitsFor(w *wait, ends map[string]time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, live := range w.open {
		if end, ok := ends[name]; live && !(ok && !t.now().Before(end)) {
			return true
		}
	}
	return false
}

// reports returns the newest report of every node, by name.
func (t *tracker) reports() map[string]report {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]report, len(t.mu.reports))
	for name, r := range t.mu.reports {
		all[name] = r
	}
	return all
}

// clockOf is how far a node says that it is.
func clockOf(r report) command.Clock { return command.Clock{Log: r.Log, Seq: r.Applied} }
