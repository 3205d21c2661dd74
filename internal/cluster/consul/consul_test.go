package consul_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet/internal/cluster"
	"freshet/internal/cluster/clustertest"
	"freshet/internal/cluster/consul"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open makes a handle that the test closes.
func open(t *testing.T, cfg consul.Config) *consul.Cluster {
	t.Helper()
	c, err := consul.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestSuite(t *testing.T) {
	t.Parallel()
	address := clustertest.StartConsul(t)
	var mu sync.Mutex
	lines := make(map[cluster.Cluster]*line)
	clustertest.Run(t, clustertest.Harness{
		Open: func(t *testing.T, prefix string) cluster.Cluster {
			l := newLine(t, address)
			c := open(t, consul.Config{Address: l.address(), Prefix: prefix})
			mu.Lock()
			defer mu.Unlock()
			lines[c] = l
			return c
		},
		Cut: func(_ *testing.T, c cluster.Cluster) {
			mu.Lock()
			defer mu.Unlock()
			lines[c].cut()
		},
	})
}

// task is something that runs until its context ends.
type task struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

// start runs fn, and waits for it at the end of the test.
func start(t *testing.T, fn func(ctx context.Context) error) *task {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	k := &task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(k.done)
		k.err = fn(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-k.done
	})
	return k
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
	case <-k.done:
		return k.err
	case <-time.After(patience):
		t.Fatal("it does not return")
		return nil
	}
}
