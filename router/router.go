package router

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/load"
	"freshet/internal/node"
	"freshet/internal/run"
	"freshet/internal/site"
	"freshet/internal/telemetry"
	"freshet/router/nameserver"
	"freshet/router/steer"
)

// Router is one router.
type Router struct {
	env     node.Env
	log     *slog.Logger
	metrics *metrics
	server  *nameserver.Server
	docs    *cluster.Documents
	loads   *load.Table

	edges    atomic.Pointer[steer.Snapshot]   // nil before the first news of membership
	nodes    atomic.Pointer[[]cluster.Node]   // likewise
	sites    atomic.Pointer[site.Snapshot]    // nil before the first news of the sites
	addrs    atomic.Pointer[[]netip.AddrPort] // nil before Run listens
	draining atomic.Bool
}

// New makes a router that Run starts.
func New(env node.Env) (*Router, error) {
	advertised, err := env.File.Advertised()
	if err != nil {
		return nil, fmt.Errorf("addresses of the router: %w", err)
	}
	r := &Router{
		env:   env,
		log:   env.Log,
		loads: load.NewTable(time.Now),
		docs:  cluster.NewDocuments(env.Watched(), cluster.SitesPrefix),
	}
	r.metrics = newMetrics(env.Metrics, r.busy)
	cfg := nameserver.Config{
		Listen:  env.File.Listen,
		Zones:   env.File.Router.Zones,
		TTL:     time.Duration(env.File.Router.TTL),
		Steer:   r.steer,
		Log:     env.Log,
		Metrics: env.Metrics,
	}
	if len(env.File.Advertise) > 0 {
		for _, ap := range advertised {
			cfg.Advertise = append(cfg.Advertise, ap.Addr())
		}
	}
	if r.server, err = nameserver.New(cfg); err != nil {
		return nil, fmt.Errorf("name server: %w", err)
	}
	env.Health.Check("router", r.ready)
	return r, nil
}

// Run serves until ctx ends. It then becomes not ready, withdraws, and answers what
// it has read.
func (r *Router) Run(ctx context.Context) error {
	if err := r.server.Listen(); err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	addrs := r.server.Addrs()
	r.addrs.Store(&addrs)
	return run.Tasks(ctx, r.log,
		run.Task{Name: "members", Run: r.watchMembers},
		run.Task{Name: "load", Run: r.watchLoad},
		run.Task{Name: "sites", Run: func(ctx context.Context) error {
			return site.Watch(ctx, r.docs, r.log, r.setSites)
		}},
		run.Task{Name: "name server", Run: r.server.Run},
		run.Task{Name: "announce", Run: r.announce},
	)
}

// Addrs are the addresses that the name server listens on, over both UDP and TCP;
// none before Run listens.
func (r *Router) Addrs() []netip.AddrPort {
	if addrs := r.addrs.Load(); addrs != nil {
		return *addrs
	}
	return nil
}

// ready is the router's probe: it has to know edges and sites.
func (r *Router) ready() error {
	switch {
	case r.draining.Load():
		return fmt.Errorf("%w: draining", telemetry.ErrNotReady)
	case r.addrs.Load() == nil:
		return fmt.Errorf("%w: the name server does not listen yet", telemetry.ErrNotReady)
	case r.edges.Load() == nil:
		return fmt.Errorf("%w: membership is not known yet", telemetry.ErrNotReady)
	case r.sites.Load() == nil:
		return fmt.Errorf("%w: sites are not known yet", telemetry.ErrNotReady)
	}
	return nil
}

// announce makes the router known until ctx ends.
func (r *Router) announce(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { r.draining.Store(true) })()
	self, err := r.env.Self(r.Addrs()...)
	if err != nil {
		return err
	}
	if err := r.env.Cluster.Announce(ctx, self, r.env.Health.Err); err != nil {
		return fmt.Errorf("announce %s: %w", self.Name, err)
	}
	return nil
}

// steer implements nameserver.Steer.
func (r *Router) steer(client netip.Addr, doc *site.Document, ipv6 bool) []netip.Addr {
	snapshot := r.edges.Load()
	if snapshot == nil {
		return nil
	}
	family := steer.IPv4
	if ipv6 {
		family = steer.IPv6
	}
	edges := snapshot.Steer(steer.Query{
		Client:  client,
		Site:    doc,
		Family:  family,
		Answers: r.env.File.Router.Answers,
		// By chance, not by counting: a client asks for A and AAAA in turn, so that of
		// two edges the count would give the same one first to everyone.
		Turn: rand.Uint64(),
	})
	addrs := make([]netip.Addr, len(edges))
	for i, edge := range edges {
		addrs[i] = edge.Addr(family)
	}
	return addrs
}
