package origin

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"freshet/internal/cluster"
)

// announce makes the node known until ctx ends; from then on it is not ready.
func (o *Origin) announce(ctx context.Context, self cluster.Node) error {
	stop := context.AfterFunc(ctx, func() { o.draining.Store(true) })
	defer stop()
	return o.env.Cluster.Announce(ctx, self, o.env.Health.Err)
}

// node is this node as the others are to see it: under the addresses of advertise,
// else those that it listens on.
func (o *Origin) node(listeners []net.Listener) (cluster.Node, error) {
	f := o.env.File
	self := cluster.Node{
		Name: f.Name, Role: cluster.Origin, PoP: f.PoP, Region: f.Region,
		Admin: f.Admin, Version: o.env.Version,
	}
	for _, text := range f.Advertise {
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			return cluster.Node{}, fmt.Errorf("origin %s: advertise: %q should be ip:port", f.Name, text)
		}
		self.Addrs = append(self.Addrs, addr)
	}
	if len(self.Addrs) > 0 {
		return self, nil
	}
	for _, ln := range listeners {
		addr, err := netip.ParseAddrPort(ln.Addr().String())
		if err != nil || addr.Addr().IsUnspecified() {
			return cluster.Node{}, fmt.Errorf("origin %s: listen %s names no single address: say with advertise where others reach this node", f.Name, ln.Addr())
		}
		self.Addrs = append(self.Addrs, addr)
	}
	return self, nil
}
