package origin

import (
	"context"
	"fmt"
	"net"

	"freshet/internal/cluster"
)

// announce makes the node known until ctx ends; from then on it is not ready.
func (o *Origin) announce(ctx context.Context, self cluster.Node) error {
	stop := context.AfterFunc(ctx, func() { o.draining.Store(true) })
	defer stop()
	return o.env.Cluster.Announce(ctx, self, o.env.Health.Err)
}

// self is this node as the others are to see it.
func (o *Origin) self(listeners []net.Listener) (cluster.Node, error) {
	bound := make([]net.Addr, len(listeners))
	for i, ln := range listeners {
		bound[i] = ln.Addr()
	}
	self, err := o.env.Self(bound...)
	if err != nil {
		return cluster.Node{}, fmt.Errorf("origin %s: %w", o.env.File.Name, err)
	}
	return self, nil
}
