package local_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
)

// TestVirtualTime: everything that waits is durably blocked, so that tests of the
// roles can run on virtual time.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := local.New(local.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begun := time.Now()
		e1 := cluster.Node{Name: "e1", Role: cluster.Edge}
		healthy := func() error {
			if since := time.Since(begun); since > 10*time.Minute && since < 20*time.Minute {
				return errors.New("too hot")
			}
			return nil
		}
		go func() { _ = c.Announce(ctx, e1, healthy) }()
		go func() {
			_ = c.Lead(ctx, "e", "c1", func(ctx context.Context, _ cluster.Term) error {
				<-ctx.Done()
				return nil
			})
		}()
		synctest.Wait()
		go func() {
			_ = c.Lead(ctx, "e", "c2", func(context.Context, cluster.Term) error {
				t.Error("both lead")
				return nil
			})
		}()
		go func() { _, _ = c.List(ctx, "s", cluster.NewPairs(nil).Version) }()
		synctest.Wait()

		nodes, err := c.Nodes(ctx, 0)
		for _, want := range []struct {
			ready bool
			at    time.Duration
		}{{true, 0}, {false, 10 * time.Minute}, {true, 20 * time.Minute}} {
			if err != nil || len(nodes.List) != 1 || nodes.List[0].Ready != want.ready {
				t.Fatalf("nodes %+v, %v, want ready %v", nodes, err, want.ready)
			}
			if late := time.Since(begun) - want.at; late < 0 || late > time.Second {
				t.Errorf("ready %v was seen %v late", want.ready, late)
			}
			if want.at < 20*time.Minute {
				nodes, err = c.Nodes(ctx, nodes.Version)
			}
		}
		cancel()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
