package router

import (
	"context"

	"freshet/internal/cluster"
	"freshet/internal/load"
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

// watchLoad hears how busy the nodes are until ctx ends.
func (r *Router) watchLoad(ctx context.Context) error {
	if r.env.Bus == nil {
		<-ctx.Done()
		return nil
	}
	return r.loads.Run(ctx, r.env.Bus, r.log)
}

// Load is the last that an edge has said of its load, and whether that is of now: who has
// not been heard of for load.Unknown counts as unknown.
func (r *Router) Load(edge string) (last load.Known, current bool) { return r.loads.Of(edge) }

// busy counts the ready edges whose load is known, and takes the highest utilisation.
func (r *Router) busy() (known int, highest float64) {
	nodes := r.nodes.Load()
	if nodes == nil {
		return 0, 0
	}
	for _, n := range *nodes {
		if last, current := r.loads.Of(n.Name); current && n.Role == cluster.Edge && n.Ready {
			known++
			highest = max(highest, last.Utilisation)
		}
	}
	return known, highest
}

// setNodes takes news of membership. Calls must not overlap.
func (r *Router) setNodes(nodes cluster.Nodes) {
	before := r.edges.Load()
	now := steer.NewSnapshot(before, nodes)
	r.edges.Store(now)
	r.nodes.Store(&nodes.List)
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
