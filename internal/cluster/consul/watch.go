package consul

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
)

const (
	maxWait = time.Minute      // of one blocking query; it lasts at least three quarters of that
	maxLag  = 10 * time.Second // behind its leader, a server's silence proves nothing
	maxSeen = 256              // watches whose place is remembered
)

// seen is the place that a watch has come to: the version that it returned, and
// Consul's index of it.
type seen struct{ version, index uint64 }

// reader reads once what is watched, and returns its version. It is called again
// and again; what it read last is the outcome.
type reader func(q *api.QueryOptions) (version uint64, meta *api.QueryMeta, err error)

// watch reads until the version is other than after. It asks the leader at first
// and whenever it is in doubt, any server when it only waits for news.
//
// The version is the reader's own, a hash of the content, so Consul's index is only
// a place to wait at. When that goes backwards (a server lags, tombstones were
// reaped, the store was replaced), the leader is asked without an index.
func (c *Cluster) watch(ctx context.Context, name string, after uint64, read reader) error {
	index := c.place(name, after)
	for {
		if after != 0 {
			if err := c.limit(ctx); err != nil {
				return err
			}
		}
		version, meta, err := c.readAt(ctx, index, read)
		switch {
		case err != nil:
			// After trouble the store may be another one, at which to wait for an
			// index of the old one would take long.
			c.forget(name)
			return c.why(ctx, err)
		case meta.LastIndex < index:
			index = 0
		case version != after:
			c.remember(name, seen{version, meta.LastIndex})
			return nil
		case meta.LastContact > maxLag:
			index = 0
		default:
			index = meta.LastIndex
		}
	}
}

// readAt reads at once if index is 0, else when there is something above index or
// the wait is over.
func (c *Cluster) readAt(ctx context.Context, index uint64, read reader) (uint64, *api.QueryMeta, error) {
	timeout := callTimeout
	q := &api.QueryOptions{RequireConsistent: true}
	if index != 0 {
		wait := maxWait*3/4 + rand.N(maxWait/4)
		q = &api.QueryOptions{AllowStale: true, WaitIndex: index, WaitTime: wait}
		timeout += wait + wait/16 // Consul adds up to a sixteenth
	}
	ctx, cancel := c.within(ctx, timeout)
	defer cancel()
	return read(q.WithContext(ctx))
}

// limit waits until a watch may ask again.
func (c *Cluster) limit(ctx context.Context) error {
	timer := time.NewTimer(c.limiter.Reserve().Delay())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.life.Done():
		return cluster.ErrClosed
	}
}

// place is the index at which a watch last saw the version, 0 if it is not known.
func (c *Cluster) place(name string, version uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.mu.seen[name]; version != 0 && at.version == version {
		return at.index
	}
	return 0
}

func (c *Cluster) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.seen, name)
}

// remember keeps the place of a watch. Forgetting one costs a query.
func (c *Cluster) remember(name string, at seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.mu.seen[name]; !known && len(c.mu.seen) >= maxSeen {
		clear(c.mu.seen)
	}
	c.mu.seen[name] = at
}
