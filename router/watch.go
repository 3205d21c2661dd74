package router

import (
	"context"

	"freshet/internal/cluster"
	"freshet/internal/site"
	"freshet/router/steer"
)

// watchMembers follows membership until ctx ends.
func (r *Router) watchMembers(ctx context.Context) error {
	cluster.Follow(ctx, r.log, "members", func(ctx context.Context, after uint64) (uint64, error) {
		nodes, err := r.env.Watched().Nodes(ctx, after)
		if err != nil {
			r.metrics.errors.Inc()
			return 0, err
		}
		r.setNodes(nodes)
		return nodes.Version, nil
	})
	return nil
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
