package origin

import (
	"context"

	"freshet/internal/cluster"
)

// announce makes the node known until ctx ends; from then on it is not ready.
func (o *Origin) announce(ctx context.Context, self cluster.Node) error {
	stop := context.AfterFunc(ctx, func() { o.draining.Store(true) })
	defer stop()
	return o.env.Cluster.Announce(ctx, self, o.env.Health.Err)
}
