package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// ErrPanicked is wrapped by the error of a task that panicked, or that left by
// runtime.Goexit.
var ErrPanicked = errors.New("panicked")

// Tasks runs the tasks of a process, or of a part of it, and returns when all have
// returned. They start in the order given, without waiting for one another.
//
// When ctx ends they are stopped in the reverse order: the last one's context ends,
// Tasks waits for it to return, then comes the one before it. The first task that
// returns an error stops the others in the same way, and its error is returned with
// its name; what the others say while they stop is logged. A task that returns nil
// of its own accord is done and the rest go on.
//
// The tasks' contexts carry the values of ctx, and the cause of its end.
func Tasks(ctx context.Context, log *slog.Logger, tasks ...Task) error {
	if ctx.Err() != nil {
		return nil
	}
	ended := make(chan *running, len(tasks))
	started := make([]*running, len(tasks))
	for i, t := range tasks {
		started[i] = start(ctx, log, t, ended)
	}
	failed := wait(ctx, len(tasks), ended)
	why := context.Cause(ctx)
	if failed != nil {
		why = failed.err
	}
	if why != nil {
		level := slog.LevelInfo
		if ctx.Value(nested{}) != nil {
			level = slog.LevelDebug // the outermost Tasks says it once for all
		}
		log.Log(ctx, level, "stopping", "cause", why)
	}
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		r.cancel(why)
		<-r.done
		if failed == nil && r.err != nil {
			failed = r
		} else if r != failed && r.err != nil {
			log.Error("task failed while stopping", "err", r.err)
		}
		log.Debug("task stopped", "task", r.task.Name)
	}
	if failed != nil {
		return failed.err
	}
	return nil
}

// wait returns when ctx ended or every task did, or with the first task that failed.
func wait(ctx context.Context, n int, ended <-chan *running) (failed *running) {
	for ; n > 0; n-- {
		select {
		case r := <-ended:
			if r.err != nil {
				return r
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// nested marks the contexts of tasks, for Tasks among them.
type nested struct{}

// running is a task that was started; err may be read after done is closed.
type running struct {
	task   Task
	cancel context.CancelCauseFunc
	done   chan struct{}
	err    error
}

// start runs t on a goroutine of its own, which ends by telling ended (whose buffer
// has a place for it) and closing done.
func start(ctx context.Context, log *slog.Logger, t Task, ended chan<- *running) *running {
	// The task outlives ctx until its turn to stop comes.
	ctx, cancel := context.WithCancelCause(context.WithValue(context.WithoutCancel(ctx), nested{}, true))
	r := &running{task: t, cancel: cancel, done: make(chan struct{})}
	log.Debug("task started", "task", t.Name)
	go func() {
		returned := false
		defer func() {
			if !returned {
				v := recover()
				if v == nil {
					v = "goroutine exited"
				}
				log.Error("task panicked", "task", t.Name, "panic", v, "stack", string(debug.Stack()))
				r.err = fmt.Errorf("%s: %w: %v", t.Name, ErrPanicked, v)
			}
			ended <- r
			close(r.done)
		}()
		err := t.Run(ctx)
		returned = true
		switch {
		case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		case errors.Is(err, ErrDrainTimeout):
			log.Warn("requests were cut", "task", t.Name, "err", err)
		default:
			r.err = fmt.Errorf("%s: %w", t.Name, err)
		}
	}()
	return r
}
