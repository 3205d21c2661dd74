package router

import (
	"context"
	"math/rand/v2"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/site"
	"freshet/router/steer"
)

// How long the watch of membership waits before it asks again a cluster that has
// just failed it: the wait doubles from the first to the last, and is drawn from its
// upper half so that routers do not come back in step.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// watchMembers follows membership until ctx ends.
func (r *Router) watchMembers(ctx context.Context) error {
	var after uint64
	retry := firstRetry
	failing := false
	for {
		nodes, err := r.env.Cluster.Nodes(ctx, after)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.metrics.errors.Inc()
			if !failing {
				r.log.Warn("membership cannot be read, keeping what is known", "err", err)
				failing = true
			}
			timer := time.NewTimer(retry/2 + rand.N(retry/2))
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-timer.C:
			}
			retry = min(2*retry, lastRetry)
			continue
		}
		if failing {
			r.log.Info("membership can be read again")
			failing = false
		}
		after, retry = nodes.Version, firstRetry
		r.setNodes(nodes)
	}
}

// setNodes takes news of membership. Calls must not overlap.
func (r *Router) setNodes(nodes cluster.Nodes) {
	before := r.edges.Load()
	now := steer.NewSnapshot(before, nodes)
	r.edges.Store(now)
	r.metrics.setEdges(now)
	was := before != nil && before.Panic()
	switch {
	case now.Panic() && !was:
		r.log.Error("no edge is ready, naming those that last were", "edges", now.Edges())
	case !now.Panic() && was:
		r.log.Info("edges are ready again", "edges", now.Ready())
	}
}

// setSites takes news of the sites. Calls must not overlap.
func (r *Router) setSites(sites *site.Snapshot) {
	r.server.SetSites(sites)
	r.sites.Store(sites)
	r.metrics.setSites(sites)
}
