package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"freshet/internal/access"
	"freshet/internal/cluster"
	"freshet/internal/node"
	"freshet/internal/run"
	"freshet/internal/site"
	"freshet/internal/telemetry"
	"freshet/origin/blob/dir"
	"freshet/origin/catalog"
	"freshet/origin/depot"
)

// Limits of the listeners. A transfer may take as long as it likes, as long as it
// moves: large objects come and go over slow lines.
const (
	headTimeout = 10 * time.Second // until a request's head is there
	keepTimeout = 2 * time.Minute  // between the requests of a connection
	headBytes   = 64 << 10
)

// Life of blobs that no object refers to.
const (
	sweepEvery = 10 * time.Minute
	sweepGrace = time.Hour // so that a reader that has seen a reference still finds the blob
)

// limits are the bounds that a test may want closer.
type limits struct {
	idle    time.Duration // without a byte moved, after which a transfer is ended
	object  int64         // bytes of one object
	uploads int           // at the same time
}

var defaultLimits = limits{idle: time.Minute, object: 1 << 40, uploads: 256}

// Origin is one origin node.
type Origin struct {
	env      node.Env
	verifier *access.Verifier
	metrics  *metrics
	limits   limits
	sites    atomic.Pointer[site.Snapshot] // nil until they are known
	depot    atomic.Pointer[depot.Depot]   // nil until Run has opened it
	draining atomic.Bool
}

// New checks what the node file says, and registers metrics and readiness probes.
// It opens nothing yet.
func New(env node.Env) (*Origin, error) {
	if env.File.Data == "" {
		return nil, fmt.Errorf("origin %s: data is not set: it names the directory that keeps the objects", env.File.Name)
	}
	verifier, err := access.NewVerifier(env.File.Token.Value())
	if err != nil {
		return nil, fmt.Errorf("origin %s: token: %w", env.File.Name, err)
	}
	o := &Origin{env: env, verifier: verifier, limits: defaultLimits}
	if o.metrics, err = newMetrics(env.Metrics, o.totals); err != nil {
		return nil, fmt.Errorf("origin %s: %w", env.File.Name, err)
	}
	env.Health.Check("store", func() error {
		if o.depot.Load() == nil {
			return fmt.Errorf("%w: the store is not open yet", telemetry.ErrNotReady)
		}
		return nil
	})
	env.Health.Check("sites", func() error {
		if o.sites.Load() == nil {
			return fmt.Errorf("%w: the sites are not known yet", telemetry.ErrNotReady)
		}
		return nil
	})
	env.Health.Check("drain", func() error {
		if o.draining.Load() {
			return fmt.Errorf("%w: draining", telemetry.ErrNotReady)
		}
		return nil
	})
	return o, nil
}

// Run opens the store, listens and serves until ctx ends; then it withdraws from
// the cluster, finishes what is under way within the drain time, and closes the
// store.
func (o *Origin) Run(ctx context.Context) (err error) {
	data := o.env.File.Data
	if err := os.MkdirAll(data, 0o750); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	// The catalog's lock is what keeps a second process out of the whole directory.
	cat, err := catalog.Open(filepath.Join(data, "catalog.db"))
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	defer func() { err = errors.Join(err, cat.Close()) }()
	blobs, err := dir.Open(filepath.Join(data, "blobs"))
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	store := depot.New(blobs, cat, time.Now)

	listeners, self, err := o.env.Listen()
	if err != nil {
		return err
	}
	tier, err := o.env.ListenTier(&self)
	if err != nil {
		for _, ln := range listeners {
			ln.Close()
		}
		return err
	}
	o.env.Sockets.Settled()
	o.depot.Store(store)
	defer o.depot.Store(nil) // before the catalog closes: totals reads it

	tasks := []run.Task{
		{Name: "sites", Run: o.watch},
		{Name: "sweep", Run: func(ctx context.Context) error { return o.sweep(ctx, store) }},
	}
	h := newHandler(o, store, self.Addrs)
	for _, ln := range listeners {
		tasks = append(tasks, run.HTTP("http "+ln.Addr().String(), o.server(h), ln, time.Duration(o.env.File.Drain)))
	}
	for _, ln := range tier {
		srv := o.server(h)
		srv.TLSConfig = o.env.Identity.ServerConfig("edge", "mid", "origin")
		tasks = append(tasks, run.HTTP("tier "+ln.Addr().String(), srv, ln, time.Duration(o.env.File.Drain)))
	}
	tasks = append(tasks, run.Task{Name: "announce", Run: func(ctx context.Context) error { return o.announce(ctx, self) }})
	o.env.Log.Info("origin is up", "listen", self.Addrs, "data", data)
	return run.Tasks(ctx, o.env.Log, tasks...)
}

func (o *Origin) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       keepTimeout,
		MaxHeaderBytes:    headBytes,
		ErrorLog:          slog.NewLogLogger(o.env.Log.Handler(), slog.LevelDebug),
	}
}

// watch keeps the snapshot of the sites up to date.
func (o *Origin) watch(ctx context.Context) error {
	docs := cluster.NewDocuments(o.env.Watched(), cluster.SitesPrefix)
	return site.Watch(ctx, docs, o.env.Log, func(s *site.Snapshot) { o.sites.Store(s) })
}

// sweep removes blobs that nothing refers to, from the start on. What fails is
// tried again the next time: nothing is lost by it but space.
func (o *Origin) sweep(ctx context.Context, store *depot.Depot) error {
	if found, err := store.Reclaim(ctx); err != nil && ctx.Err() == nil {
		o.env.Log.Error("blobs of unfinished pushes were not looked for", "err", err)
	} else if found > 0 {
		o.env.Log.Info("found blobs of unfinished pushes", "blobs", found)
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		removed, err := store.Sweep(ctx, sweepGrace)
		if removed > 0 {
			o.env.Log.Info("removed unreferenced blobs", "blobs", removed)
		}
		if err != nil && ctx.Err() == nil {
			o.env.Log.Error("unreferenced blobs were not removed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// totals is what the gauges show.
func (o *Origin) totals() (objects, size int64) {
	store := o.depot.Load()
	if store == nil {
		return 0, 0
	}
	objects, size, err := store.Totals()
	if err != nil { // it is closing
		return 0, 0
	}
	return objects, size
}
