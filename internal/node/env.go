package node

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/run"
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
	Admin   *telemetry.Admin // for the role to add pages to, before Run; nil where there is none
	Cluster cluster.Cluster
	Bus     bus.Bus
	Version string // of the binary
}

// Self is this node as the others are to see it, under the addresses of advertise,
// else under those that it has bound.
func (e Env) Self(bound ...netip.AddrPort) (cluster.Node, error) {
	f := e.File
	self := cluster.Node{Name: f.Name, Role: f.Role, PoP: f.PoP, Region: f.Region, Admin: f.Admin, Version: e.Version, Addrs: bound}
	if len(f.Advertise) > 0 {
		var err error
		self.Addrs, err = f.Advertised()
		return self, err
	}
	for _, addr := range bound {
		if addr.Addr().IsUnspecified() {
			return self, fmt.Errorf("listen %s names no single address: say with advertise where others reach this node", addr)
		}
	}
	return self, nil
}

// Listen opens every address of listen for TCP, or none, and tells how the others
// are to see this node.
func (e Env) Listen() (listeners []net.Listener, self cluster.Node, err error) {
	defer func() {
		if err != nil {
			for _, ln := range listeners {
				ln.Close()
			}
			listeners = nil
		}
	}()
	var bound []netip.AddrPort
	for _, addr := range e.File.Listen {
		ln, err := run.Listen("tcp", addr)
		if err != nil {
			return listeners, self, err
		}
		listeners = append(listeners, ln)
		bound = append(bound, ln.Addr().(*net.TCPAddr).AddrPort())
	}
	if e.File.Alone() {
		return listeners, self, nil // nobody has to reach it by a single address
	}
	self, err = e.Self(bound...)
	return listeners, self, err
}
