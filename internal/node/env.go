package node

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/telemetry"
)

// Env is what a role stands on: its node file and the things that cmd has opened
// for it. Every role is made from one (edge.New, origin.New, …); the role closes
// none of them.
type Env struct {
	File    *File
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Health  *telemetry.Health
	Cluster cluster.Cluster
	Bus     bus.Bus
	Version string // of the binary
}

// Self is this node as the others are to see it, under the addresses of advertise,
// else under those that it has bound.
func (e Env) Self(bound ...net.Addr) (cluster.Node, error) {
	f := e.File
	self := cluster.Node{Name: f.Name, Role: f.Role, PoP: f.PoP, Region: f.Region, Admin: f.Admin, Version: e.Version}
	if len(f.Advertise) > 0 {
		var err error
		self.Addrs, err = f.Advertised()
		return self, err
	}
	for _, addr := range bound {
		ap, err := netip.ParseAddrPort(addr.String())
		if err != nil || ap.Addr().IsUnspecified() {
			return self, fmt.Errorf("listen %s names no single address: say with advertise where others reach this node", addr)
		}
		self.Addrs = append(self.Addrs, ap)
	}
	return self, nil
}
