package consul

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
)

// answer is what Consul says to one read of a watch.
type answer struct {
	version, index uint64
	lag            time.Duration
	err            error
	wantIndex      uint64 // at which the watch must ask; 0: of the leader, at once
}

func TestWatch(t *testing.T) {
	away := errors.New("agent is away")
	tests := []struct {
		name    string
		after   uint64
		answers []answer
		want    error
	}{
		{"at once without a version", 0, []answer{{version: 7, index: 10}}, nil},
		{"at once when the version is another", 6, []answer{{version: 7, index: 10}}, nil},
		{"waits for another version", 7, []answer{
			{version: 7, index: 10},
			{version: 8, index: 11, wantIndex: 10},
		}, nil},
		{"woken without a change", 7, []answer{
			{version: 7, index: 10},
			{version: 7, index: 15, wantIndex: 10},
			{version: 8, index: 16, wantIndex: 15},
		}, nil},
		{"a wait that ran out", 7, []answer{
			{version: 7, index: 10},
			{version: 7, index: 10, wantIndex: 10},
			{version: 8, index: 12, wantIndex: 10},
		}, nil},
		{"what a lagging server says is not believed", 7, []answer{
			{version: 7, index: 10},
			{version: 6, index: 9, wantIndex: 10},
			{version: 7, index: 10},
			{version: 8, index: 11, wantIndex: 10},
		}, nil},
		{"the index begins anew", 7, []answer{
			{version: 7, index: 1000},
			{version: 3, index: 5, wantIndex: 1000},
			{version: 3, index: 5},
		}, nil},
		{"the index begins anew, with the same content", 7, []answer{
			{version: 7, index: 1000},
			{version: 7, index: 5, wantIndex: 1000},
			{version: 7, index: 5},
			{version: 8, index: 6, wantIndex: 5},
		}, nil},
		{"a server that is cut off from its leader", 7, []answer{
			{version: 7, index: 10},
			{version: 7, index: 10, wantIndex: 10, lag: time.Minute},
			{err: away},
		}, away},
		{"an error is the caller's", 7, []answer{{err: away}}, away},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				asked := 0
				err := c.watch(t.Context(), "w", test.after, func(q *api.QueryOptions) (uint64, *api.QueryMeta, error) {
					a := test.answers[asked]
					asked++
					if q.WaitIndex != a.wantIndex || q.RequireConsistent != (a.wantIndex == 0) || q.AllowStale == q.RequireConsistent {
						t.Errorf("question %d: %+v, want index %d", asked, q, a.wantIndex)
					}
					if q.WaitTime > maxWait {
						t.Errorf("question %d waits for %v", asked, q.WaitTime)
					}
					return a.version, &api.QueryMeta{LastIndex: a.index, LastContact: a.lag}, a.err
				})
				if !errors.Is(err, test.want) || asked != len(test.answers) {
					t.Errorf("error %v after %d questions, want %v after %d", err, asked, test.want, len(test.answers))
				}
			})
		})
	}
}

func newCluster(t *testing.T) *Cluster {
	t.Helper()
	c, err := New(Config{Address: "127.0.0.1:1", Prefix: "freshet"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestWatchGoesOn: the next call waits where the last one came to, without asking
// for what it returned a second time.
func TestWatchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for i := range uint64(5) {
			err := c.watch(t.Context(), "w", i*10, func(q *api.QueryOptions) (uint64, *api.QueryMeta, error) {
				if q.WaitIndex != i*100 {
					t.Errorf("call %d waits at %d, want %d", i, q.WaitIndex, i*100)
				}
				return (i + 1) * 10, &api.QueryMeta{LastIndex: (i + 1) * 100}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range maxSeen * 2 {
			c.remember(string(rune('a'+i)), seen{1, 1})
		}
		if len(c.mu.seen) > maxSeen {
			t.Errorf("%d places are remembered", len(c.mu.seen))
		}
	})
}

// TestWatchIsLimited: a store that wakes a watch all the time is not asked all the
// time.
func TestWatchIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		asked := 0
		err := c.watch(ctx, "w", 7, func(*api.QueryOptions) (uint64, *api.QueryMeta, error) {
			asked++
			return 7, &api.QueryMeta{LastIndex: uint64(asked)}, nil
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if most := watchBurst + 10*watchRate + 1; asked > most {
			t.Errorf("asked %d times in 10 s, at most %d are allowed", asked, most)
		}
	})
}

func TestWatchEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		time.AfterFunc(time.Second, func() { _ = c.Close() })
		err := c.watch(t.Context(), "w", 7, func(q *api.QueryOptions) (uint64, *api.QueryMeta, error) {
			<-q.Context().Done()
			return 0, nil, q.Context().Err()
		})
		if !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("error %v, want %v", err, cluster.ErrClosed)
		}
	})
}
