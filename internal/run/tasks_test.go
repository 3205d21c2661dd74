package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/run"
)

// journal notes what happens in which order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) want(t *testing.T, lines ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, lines) {
		t.Errorf("happened:\n  %s\nwant:\n  %s", strings.Join(j.lines, "\n  "), strings.Join(lines, "\n  "))
	}
}

// dutiful is a task that takes a second to finish once its context ends.
func (j *journal) dutiful(name string) run.Task {
	return run.Task{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		j.add("%s asked to stop", name)
		time.Sleep(time.Second)
		j.add("%s stopped", name)
		return nil
	}}
}

// after is a task that does something of its own accord after d.
func after(name string, d time.Duration, do func() error) run.Task {
	return run.Task{Name: name, Run: func(context.Context) error {
		time.Sleep(d)
		return do()
	}}
}

var quiet = slog.New(slog.DiscardHandler)

func TestTasksStopInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		if err := run.Tasks(ctx, quiet, j.dutiful("log"), j.dutiful("store"), j.dutiful("listener")); err != nil {
			t.Errorf("Tasks = %v, want nil", err)
		}
		j.want(t,
			"listener asked to stop", "listener stopped",
			"store asked to stop", "store stopped",
			"log asked to stop", "log stopped")
		if took := time.Since(begin); took != time.Minute+3*time.Second {
			t.Errorf("took %s, want the minute and three seconds of stopping", took)
		}
	})
}

func TestTasksFailure(t *testing.T) {
	broken := errors.New("disk is gone")
	tests := []struct {
		name string
		do   func() error
		is   error
		text string
		logs string
	}{
		{"error", func() error { return broken }, broken, "store: disk is gone", ""},
		{"panic", func() error { panic("index out of luck") }, run.ErrPanicked, "store: panicked: index out of luck", "tasks_test.go"},
		{"nil panic", func() error { panic(nil) }, run.ErrPanicked, "store: panicked: ", "tasks_test.go"},
		{"Goexit", func() error { runtime.Goexit(); return nil }, run.ErrPanicked, "store: panicked: goroutine exited", "stack="},
		{"cancelled context of its own", func() error { return context.Canceled }, context.Canceled, "store: context canceled", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				var logged bytes.Buffer
				log := slog.New(slog.NewTextHandler(&logged, nil))
				err := run.Tasks(t.Context(), log, j.dutiful("log"), after("store", time.Minute, test.do), j.dutiful("listener"))
				if !errors.Is(err, test.is) || !strings.HasPrefix(err.Error(), test.text) {
					t.Errorf("Tasks = %v, want %q wrapping %v", err, test.text, test.is)
				}
				j.want(t,
					"listener asked to stop", "listener stopped",
					"log asked to stop", "log stopped")
				if !strings.Contains(logged.String(), test.logs) {
					t.Errorf("logged %s, want %q in it", &logged, test.logs)
				}
			})
		})
	}
}

func TestTasksFailureWhileStopping(t *testing.T) {
	failing := func(name string) run.Task {
		return run.Task{Name: name, Run: func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("cannot flush")
		}}
	}
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var logged bytes.Buffer
		log := slog.New(slog.NewTextHandler(&logged, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := run.Tasks(ctx, log, j.dutiful("log"), failing("store"), failing("index"))
		if err == nil || err.Error() != "index: cannot flush" {
			t.Errorf("Tasks = %v, want the first failure", err)
		}
		if !strings.Contains(logged.String(), "store: cannot flush") {
			t.Errorf("logged %s, want the second failure in it", &logged)
		}
		j.want(t, "log asked to stop", "log stopped")
	})
}

func TestTasksCleanEnds(t *testing.T) {
	echo := run.Task{Name: "echo", Run: func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("read: %w", ctx.Err())
	}}
	cut := run.Task{Name: "cut", Run: func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("serve: %w", run.ErrDrainTimeout)
	}}
	short := after("short", time.Second, func() error { return nil })
	tests := []struct {
		name  string
		tasks []run.Task
		took  time.Duration
	}{
		{"no tasks", nil, 0},
		{"all are done before the end", []run.Task{short, short}, time.Second},
		{"one is done before the end", []run.Task{short, echo}, time.Minute},
		{"returns the end of its context", []run.Task{echo}, time.Minute},
		{"drain time is over", []run.Task{echo, cut}, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begin := time.Now()
				if err := run.Tasks(ctx, quiet, test.tasks...); err != nil {
					t.Errorf("Tasks = %v, want nil", err)
				}
				if took := time.Since(begin); took != test.took {
					t.Errorf("took %s, want %s", took, test.took)
				}
			})
		})
	}
}

func TestTasksContext(t *testing.T) {
	type key struct{}
	cause := errors.New("received SIGTERM")
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
	var value any
	var got error
	task := run.Task{Name: "inner", Run: func(ctx context.Context) error {
		value = ctx.Value(key{})
		cancel(cause)
		<-ctx.Done()
		got = context.Cause(ctx)
		return nil
	}}
	if err := run.Tasks(ctx, quiet, task); err != nil {
		t.Fatal(err)
	}
	if value != "value" || got != cause {
		t.Errorf("task saw value %v and cause %v", value, got)
	}
	if err := run.Tasks(ctx, quiet, run.Task{Name: "late", Run: func(context.Context) error { return errors.New("started") }}); err != nil {
		t.Errorf("Tasks after the end = %v, want nothing started", err)
	}
}

// Parts of a process are Tasks among Tasks; that it stops is said once.
func TestStoppingIsSaidOnce(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	ctx, cancel := context.WithCancelCause(context.Background())
	inner := func(ctx context.Context) error {
		return run.Tasks(ctx, log, run.Task{Name: "leaf", Run: func(ctx context.Context) error {
			cancel(errors.New("enough"))
			<-ctx.Done()
			return nil
		}})
	}
	if err := run.Tasks(ctx, log, run.Task{Name: "part", Run: inner}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "msg=stopping cause=enough"); n != 1 {
		t.Errorf("said %d times:\n%s", n, text.String())
	}
}
