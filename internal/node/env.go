package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/authority"
	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/cluster/snapshot"
	"freshet/internal/load"
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
	// Kept remembers what was last known of Cluster; nil where nothing is kept. See Watched.
	Kept *snapshot.Keeper
	// Identity is what identity in the node file says; nil for a node without.
	Identity *authority.Identity
	Bus      bus.Bus
	Version  string // of the binary
	// Sockets are where the role's listening sockets come from, so that a successor of the
	// process can have them; nil for its own.
	Sockets *run.Sockets
	// Release, if not nil, is called by a role that has let go, while it drains, of all that
	// a successor of the process needs for itself. The end of the role does so too.
	Release func()
	// Succeeded, if not nil, waits until a successor of the process, if there is one, has
	// opened its sockets, and reports whether it has.
	Succeeded func(context.Context) bool
}

// Watched is the cluster for those who watch members and sites: it tells what was last
// known while the cluster itself cannot.
func (e Env) Watched() cluster.Cluster {
	if e.Kept != nil {
		return e.Kept
	}
	return e.Cluster
}

// Complete adds to a report of load by what the node goes.
func (e Env) Complete(r *load.Report) {
	s := e.Kept.State()
	if !s.Kept.IsZero() {
		r.Kept = &s.Kept
	}
	r.Lost = len(s.Lost)
}

// ListenOn opens one address for TCP: where connections come by the thousand, with a
// socket for each CPU, or as many as were inherited.
func (e Env) ListenOn(addr string) ([]net.Listener, error) {
	n := 1
	if role := e.File.Role; role == cluster.Edge || role == cluster.Mid {
		n = runtime.GOMAXPROCS(0)
	}
	return e.Sockets.Listen("tcp", addr, n)
}

// Self is this node as the others are to see it, under the addresses of advertise,
// else under those that it has bound.
func (e Env) Self(bound ...netip.AddrPort) (cluster.Node, error) {
	f := e.File
	self := cluster.Node{Name: f.Name, Role: f.Role, PoP: f.PoP, Region: f.Region, Tier: f.Cache.Tier, Admin: f.Admin, Version: e.Version, Addrs: bound}
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

// ListenTier opens every address of tier, or none, and adds to self where other nodes reach
// them.
func (e Env) ListenTier(self *cluster.Node) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, ln := range listeners {
				ln.Close()
			}
			listeners = nil
		}
	}()
	f := e.File
	if len(f.Tier) == 0 {
		return nil, nil
	}
	if e.Identity == nil {
		return nil, errors.New("tier: this node has no identity")
	}
	for _, addr := range f.Tier {
		opened, err := e.ListenOn(addr)
		if err != nil {
			return listeners, fmt.Errorf("tier: %w", err)
		}
		listeners = append(listeners, opened...)
		self.TierAddrs = append(self.TierAddrs, opened[0].Addr().(*net.TCPAddr).AddrPort())
	}
	if len(f.TierAdvertise) > 0 {
		if self.TierAddrs, err = parseAddrs("tier_advertise", f.TierAdvertise); err != nil {
			return listeners, err
		}
	}
	for _, addr := range self.TierAddrs {
		if addr.Addr().IsUnspecified() {
			return listeners, fmt.Errorf("tier %s names no single address: say with tier_advertise where others reach this node", addr)
		}
	}
	return listeners, nil
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
		opened, err := e.ListenOn(addr)
		if err != nil {
			return listeners, self, err
		}
		listeners = append(listeners, opened...)
		bound = append(bound, opened[0].Addr().(*net.TCPAddr).AddrPort())
	}
	if e.File.Alone() {
		return listeners, self, nil // nobody has to reach it by a single address
	}
	self, err = e.Self(bound...)
	return listeners, self, err
}
