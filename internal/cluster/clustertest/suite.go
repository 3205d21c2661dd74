package clustertest

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"freshet/internal/cluster"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// quiet is how long a test listens for what must not come.
const quiet = 300 * time.Millisecond

// Harness is how the suite gets at an implementation.
type Harness struct {
	// Open returns a handle on the cluster called prefix; handles of one prefix see
	// each other. The harness closes it when the test ends, and may return the same
	// one again.
	Open func(t *testing.T, prefix string) cluster.Cluster

	// Cut takes a handle off the network until the test ends: nothing comes through,
	// and nobody is told. Nil where there is no network to be cut.
	Cut func(t *testing.T, c cluster.Cluster)
}

// Run runs the suite, its tests in parallel.
func Run(t *testing.T, h Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"Members", members},
		{"KV", kv},
		{"Elections", elections},
		{"Documents", documents},
		{"Secrets", secrets},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, h)
		})
	}
}

// parts runs named tests in parallel, each on a cluster of its own.
func parts(t *testing.T, h Harness, tests map[string]func(*testing.T, fixture)) {
	for name, run := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, fixture{Harness: h, prefix: newPrefix()})
		})
	}
}

// fixture is one test's own cluster.
type fixture struct {
	Harness
	prefix string
}

func (f fixture) open(t *testing.T) cluster.Cluster { return f.Open(t, f.prefix) }

func newPrefix() string { return "t" + strings.ToLower(rand.Text()[:12]) }

// within ends with the test, and after patience.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// task is something that runs until its context ends.
type task struct {
	cancel context.CancelFunc
	err    chan error
}

// start runs fn, and waits for it at the end of the test.
func start(t *testing.T, fn func(ctx context.Context) error) *task {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	task := &task{cancel, make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		task.err <- fn(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return task
}

// stop ends the context and returns what fn returned.
func (k *task) stop(t *testing.T) error {
	t.Helper()
	k.cancel()
	return k.wait(t)
}

// wait returns what fn returned.
func (k *task) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-k.err:
		return err
	case <-time.After(patience):
		t.Fatal("it does not return")
		return nil
	}
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustBe fails the test unless err is want.
func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}
