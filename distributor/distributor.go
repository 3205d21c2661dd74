package distributor

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"freshet/distributor/client"
	"freshet/internal/access"
	"freshet/internal/cluster"
	"freshet/internal/load"
	"freshet/internal/node"
	"freshet/internal/run"
	"freshet/internal/site"
	"freshet/internal/telemetry"
)

// Distributor is one node of the control plane.
type Distributor struct {
	env     node.Env
	log     *slog.Logger
	metrics *metrics
	handler http.Handler
	docs    *cluster.Documents

	writer   atomic.Pointer[writer]        // nil while another leads
	members  atomic.Pointer[cluster.Nodes] // nil before the first news
	view     view
	sites    sites
	progress *tracker
	recent   recent
	loads    *load.Table
	draining atomic.Bool
	siteTurn sync.Mutex // one change of the sites at a time: hosts are checked against all others

	mu struct {
		sync.Mutex
		addrs []netip.AddrPort
	}
}

// New makes a distributor that Run starts. The node file must have a token.
func New(env node.Env) (*Distributor, error) {
	verifier, err := access.NewVerifier(env.File.Token.Value())
	if err != nil {
		return nil, fmt.Errorf("token of the management API: %w", err)
	}
	d := &Distributor{
		env:      env,
		log:      env.Log,
		docs:     cluster.NewDocuments(env.Cluster, cluster.SitesPrefix),
		progress: newTracker(time.Now),
		loads:    load.NewTable(time.Now),
	}
	d.progress.fork, d.progress.docs = d.doubt, d.sites.version
	d.sites.changed = make(chan struct{})
	if d.metrics, err = newMetrics(env.Metrics); err != nil {
		return nil, fmt.Errorf("metrics of the distributor: %w", err)
	}
	d.handler = d.newHandler(verifier)
	env.Health.Check("bus", env.Bus.Connected)
	env.Health.Check("leader", d.leaderProbe)
	env.Health.Check("distributor", d.servingProbe)
	return d, nil
}

// Run serves until ctx ends. It then becomes not ready, finishes the requests under
// way and gives leadership up.
func (d *Distributor) Run(ctx context.Context) error {
	listeners, self, err := d.env.Listen()
	if err != nil {
		return fmt.Errorf("management API: %w", err)
	}
	d.env.Sockets.Settled()
	d.setAddrs(self.Addrs)
	tasks := []run.Task{
		{Name: "progress", Run: d.watchProgress},
		{Name: "secrets", Run: d.followSecrets},
		{Name: "load", Run: func(ctx context.Context) error { return d.loads.Run(ctx, d.env.Bus, d.log) }},
		{Name: "members", Run: d.watchMembers},
		{Name: "sites", Run: func(ctx context.Context) error {
			return site.Watch(ctx, cluster.NewDocuments(d.env.Watched(), cluster.SitesPrefix), d.log, d.sites.publish)
		}},
		{Name: "log", Run: d.watchLog},
		{Name: "lead", Run: d.lead},
	}
	for _, ln := range listeners {
		tasks = append(tasks, run.HTTP("api", d.newServer(), ln, time.Duration(d.env.File.Drain)))
	}
	tasks = append(tasks, run.Task{Name: "announce", Run: func(ctx context.Context) error { return d.announce(ctx, self) }})
	return run.Tasks(ctx, d.log, tasks...)
}

// newServer bounds what one connection can hold up. A request's body has its own
// deadline (see bounded), so that a wait for receipts is not cut by it.
func (d *Distributor) newServer() *http.Server {
	return &http.Server{
		Handler:           d.handler,
		ReadHeaderTimeout: headTimeout,
		WriteTimeout:      client.MaxWait + bodyTimeout + appendTimeout + headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
}

// Addrs are the addresses of the API under which it is announced; empty before Run
// has opened them.
func (d *Distributor) Addrs() []netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.addrs
}

func (d *Distributor) setAddrs(addrs []netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.addrs = addrs
}

// announce makes this node known until ctx ends, from when on it is not ready.
func (d *Distributor) announce(ctx context.Context, self cluster.Node) error {
	drain := func() { d.draining.Store(true) }
	stop := context.AfterFunc(ctx, drain)
	defer drain() // stop may come before the other has begun
	defer stop()
	return d.env.Cluster.Announce(ctx, self, d.env.Health.Err)
}

// servingProbe is nil while the distributor takes requests.
func (d *Distributor) servingProbe() error {
	switch {
	case d.draining.Load():
		return fmt.Errorf("%w: draining", telemetry.ErrNotReady)
	case len(d.Addrs()) == 0:
		return fmt.Errorf("%w: the management API does not listen yet", telemetry.ErrNotReady)
	case d.sites.snapshot.Load() == nil:
		return fmt.Errorf("%w: the sites are not known yet", telemetry.ErrNotReady)
	case d.members.Load() == nil:
		return fmt.Errorf("%w: the members of the cluster are not known yet", telemetry.ErrNotReady)
	}
	return nil
}
