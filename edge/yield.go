package edge

import (
	"context"
	"errors"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
	"freshet/internal/run"
)

// A node that a new process of the same name takes over from lets go of its disks and
// purge marks before it drains: the new one has to have them. What it still answers comes
// from RAM and from above. It goes on following the log, in memory alone, but no longer
// acknowledges: that is for the new process. As a purge counts as carried out here when
// that one says so, a request is answered only when this one knows what it may know.

// errYielded is why commands are not acknowledged any more.
var errYielded = errors.New("handed over to a new process")

// Bounds of catchUp.
const (
	catchUpTime = time.Second
	catchUpPoll = time.Millisecond
)

// yieldTask lets go when the process has been handed over. It stands between presence,
// which ends before, and the listeners, which drain after it.
func (e *Edge) yieldTask() run.Task {
	return run.Task{Name: "yield", Run: func(ctx context.Context) error {
		<-ctx.Done()
		if errors.Is(context.Cause(ctx), run.ErrHandedOver) {
			e.yielded.Store(true)
			e.tiers.ReleaseDisks()
			e.closeJournal()
			e.env.Release()
		}
		return nil
	}}
}

// catchUp waits until this node has applied what is in the log, as of now, within a time.
// A log that cannot be reached is none that a purge can be acknowledged by.
func (e *Edge) catchUp(ctx context.Context) {
	if e.env.File.Alone() {
		return // the new process answers no purge before this one has ended
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	head, err := e.env.Bus.Head(ctx)
	if err != nil {
		return
	}
	for !e.reached(head) {
		select {
		case <-time.After(catchUpPoll):
		case <-ctx.Done():
			// Everything stored is tested against a log that this node does not know.
			_ = e.table.Restart(command.Clock{Log: head.Log, Seq: head.Last})
			return
		}
	}
}

// reached reports whether all that head speaks of is applied.
func (e *Edge) reached(head bus.Head) bool {
	clock := e.table.Clock()
	return clock.Log == head.Log && clock.Seq >= head.Last
}
