// Package edge is the cache node. It answers clients from what it has stored, and
// asks its parents for the rest: for an edge the mids of its region, for a mid the
// origin. Edge and mid are this one program with different parents.
//
// The walk of a request is here (walk.go), and only here are the sub-packages
// joined; they do not know each other.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/accesslog"
	"freshet/edge/invalidate"
	"freshet/edge/invalidate/journal"
	"freshet/edge/store"
	"freshet/edge/store/disk"
	"freshet/edge/store/tiered"
	"freshet/edge/upstream"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/command/follower"
	"freshet/internal/hop"
	"freshet/internal/node"
	"freshet/internal/ring"
	"freshet/internal/run"
	"freshet/internal/site"
	"freshet/internal/telemetry"
)

// Edge is one cache node. Make it with New, then Run it once.
type Edge struct {
	env       node.Env
	log       *slog.Logger
	pseudonym string // in Via, CDN-Loop, Cache-Status and Proxy-Status: "freshet-" and the node's name
	proof     hop.Key
	now       func() time.Time
	maxBody   int64

	sites     atomic.Pointer[sites]
	sited     <-chan struct{} // closed once the sites are known
	setSited  func()
	leave     func()      // tells that this node has left; nil without a cluster
	accepting atomic.Bool // clients are, or are about to be
	draining  atomic.Bool
	yielded   atomic.Bool // a successor has the disks and the marks
	store     store.Store
	tiers     *tiered.Store // which store is
	table     *invalidate.Table
	journal   *journal.Journal // of table; nil without disks
	parents   *upstream.Parents
	checks    *upstream.Checks
	secrets   *secrets
	client    *upstream.Client
	fills     *upstream.Group
	metrics   *metrics
	traffic   traffic
	troubles  troubles
	slicing   slicing
	recent    recent
	jobs      chan job
	follower  *follower.Follower // of the cluster's log; set before anything is served, nil without a cluster
	own       ownLog             // of a node without a cluster
	access    *accesslog.Log     // nil for none
	secure    secure             // set by Run, before anything is served
	joinsAny  bool               // tests: whatever fill is under way is joined, which the checker of histories has to notice

	stopFills context.CancelFunc
}

// New makes an edge or a mid from its environment. It listens and starts nothing.
func New(env node.Env) (*Edge, error) {
	kept, err := keep(env.File, nil)
	if err != nil {
		return nil, err
	}
	return newKept(env, kept)
}

// newKept is New for what is kept over a restart as kept says.
func newKept(env node.Env, kept kept) (*Edge, error) {
	f := env.File
	store, err := openStore(env, kept.disks)
	if err != nil {
		return nil, err
	}
	table, journal, err := openTable(env, kept.marks) // after the store, whose directories begin empty
	if err != nil {
		store.Close()
		return nil, err
	}
	sited, loads := make(chan struct{}), ring.NewLoads(time.Now)
	e := &Edge{
		env: env, log: env.Log, pseudonym: "freshet-" + f.Name, proof: proofOf(f), now: time.Now,
		store: store, tiers: store,
		table: table, journal: journal, jobs: make(chan job, maxJobs), sited: sited, setSited: sync.OnceFunc(func() { close(sited) }),
		client: upstream.NewClient(time.Now, loads),
	}
	e.client.OnChange(e.breakerChanged)
	e.maxBody = e.slicing.largest(store)
	ctx, cancel := context.WithCancel(context.Background())
	e.fills, e.stopFills = upstream.NewGroup(ctx), cancel
	if e.metrics, err = newMetrics(env.Metrics, e.table); err == nil {
		err = errors.Join(e.slicing.register(env.Metrics), e.own.register(env.Metrics), e.fills.Register(env.Metrics), e.client.Register(env.Metrics))
	}
	if err == nil {
		e.identify()
		err = e.openOrigins(loads)
	}
	if err != nil {
		err = fmt.Errorf("metrics of %s: %w", f.Name, err)
	} else {
		err = e.openAccessLog()
	}
	if err != nil {
		cancel()
		e.closeJournal()
		store.Close()
		return nil, err
	}
	e.sites.Store(&sites{snapshot: site.NewSnapshot(0, nil)})
	e.table.SetHosts(e.hostsOf)
	e.slicing.done = ctx.Done()
	if env.Admin != nil {
		env.Admin.Handle("GET /explain", http.HandlerFunc(e.explainPage))
	}
	return e, nil
}

// openStore opens what the node file's cache section says. A disk that fails later is a
// warning of readiness: the node serves on without it.
func openStore(env node.Env, disks []disk.Config) (*tiered.Store, error) {
	opened, err := tiered.Open(tiered.Config{Memory: int64(env.File.Cache.Memory), Log: env.Log, Disks: disks})
	if err != nil {
		return nil, err
	}
	if err := opened.Register(env.Metrics); err != nil {
		opened.Close()
		return nil, fmt.Errorf("metrics of %s: %w", env.File.Name, err)
	}
	for i, d := range disks {
		env.Health.Warn("disk "+d.Dir, func() error {
			if !opened.Up(i) {
				return errors.New("out of service after an error: see the log")
			}
			return nil
		})
	}
	return opened, nil
}

// Run serves until ctx ends, then drains: it is withdrawn from the cluster, stops
// accepting, and finishes the requests under way within the node file's drain.
func (e *Edge) Run(ctx context.Context) error {
	defer func() { // when nothing is served any more, unless by a successor of this name
		if e.leave != nil && !e.yielded.Load() {
			e.leave()
		}
	}()
	defer e.closeJournal() // last: until the store is closed it holds what is untrue of it
	defer e.store.Close()
	defer e.client.Close()
	defer e.fills.Wait() // after stopFills: nothing may be put into a closed store
	defer e.slicing.settling.Wait()
	defer e.stopFills()
	tasks, err := e.knowledge()
	if err != nil {
		return err
	}
	e.env.Health.Check("listeners", func() error {
		if !e.accepting.Load() {
			return fmt.Errorf("%w: no client is accepted yet", telemetry.ErrNotReady)
		}
		return nil
	})
	serving, self, err := e.listen()
	if err != nil {
		return err
	}
	e.env.Sockets.Settled()
	tasks = append(append(append(e.accessTask(), tasks...), serving...), e.yieldTask(), run.Task{Name: "presence", Run: func(ctx context.Context) error { return e.presence(ctx, self) }})
	return run.Tasks(ctx, e.log, tasks...)
}

// knowledge are the tasks by which the node learns what it has to know before it
// may serve: sites, parents and the command log.
func (e *Edge) knowledge() ([]run.Task, error) {
	f := e.env.File
	tasks := []run.Task{{Name: "refreshes and prefetches", Run: e.work}}
	if e.journal != nil {
		tasks = append(tasks, run.Task{Name: "purge marks", Run: e.table.Run})
	}
	if f.Alone() {
		doc, err := e.alone()
		if err != nil {
			return nil, err
		}
		if e.own.from, err = f.PurgeFrom(); err != nil {
			return nil, err
		}
		e.setSites(site.NewSnapshot(1, []*site.Document{doc}))
		e.continueAlone(doc)
		return append(tasks, e.originTasks()...), nil
	}
	e.continueAs(keyedBy(nil))
	e.env.Health.Check("sites", func() error {
		if e.sites.Load().snapshot.Version() == 0 {
			return fmt.Errorf("%w: the site documents are not known yet", telemetry.ErrNotReady)
		}
		return nil
	})
	e.env.Health.Check("members", func() error {
		select {
		case <-e.parents.Met():
			return nil
		default:
			return fmt.Errorf("%w: who is above this node is not known yet", telemetry.ErrNotReady)
		}
	})
	follower, err := follower.New(follower.Config{
		Node: f.Name, Role: string(f.Role), Bus: e.env.Bus, Applier: e, Start: e.table.Clock(), Link: e.table.Link(), Log: e.log, Metrics: e.env.Metrics,
		Sites: e.sitesKept,
	})
	if err != nil {
		return nil, err
	}
	e.follower, e.leave = follower, follower.Leave
	e.env.Health.Check("command log", follower.Ready)
	docs := cluster.NewDocuments(e.env.Watched(), cluster.SitesPrefix)
	return append(append(tasks, e.originTasks()...), []run.Task{
		e.loadTask(),
		{Name: "sites", Run: func(ctx context.Context) error { return site.Watch(ctx, docs, e.log, e.setSites) }},
		{Name: "members", Run: func(ctx context.Context) error {
			return cluster.WatchNodes(ctx, e.env.Watched(), e.log, func(n cluster.Nodes) {
				e.parents.Update(n.List)
				follower.Among(len(n.List))
			})
		}},
		{Name: "command log", Run: func(ctx context.Context) error {
			select {
			case <-e.sited: // what a command covers depends on them
				return follower.Run(ctx)
			case <-ctx.Done():
				return nil
			}
		}},
	}...), nil
}

// alone is the site of a node without a cluster: that of its node file, else every
// host by RFC 9111.
func (e *Edge) alone() (*site.Document, error) {
	c := e.env.File.Cache
	if c.Site == "" {
		return site.Lone(c.Upstream), nil
	}
	text, err := os.ReadFile(c.Site)
	if err != nil {
		return nil, fmt.Errorf("read site document: %w", err)
	}
	return site.ParseAlone(c.Site, text, c.Upstream)
}

// presence keeps the node known to the cluster; when it ends the node is no longer
// ready, and the tasks before it, the listeners last started, end after it.
func (e *Edge) presence(ctx context.Context, self cluster.Node) error {
	e.env.Health.Check("draining", func() error {
		if e.draining.Load() {
			return fmt.Errorf("%w: draining", telemetry.ErrNotReady)
		}
		return nil
	})
	defer e.draining.Store(true)
	if e.env.File.Alone() {
		<-ctx.Done()
		return nil
	}
	return e.env.Cluster.Announce(ctx, self, e.env.Health.Err)
}

// What the edge can carry out as it stands; of anything else it purges the sites, or all.
var (
	appliedKinds  = []command.Kind{command.Purge, command.Invalidate, command.Ban, command.Refresh, command.Prefetch}
	appliedScopes = []command.ScopeKind{
		command.ScopeURL, command.ScopeKey, command.ScopePrefix, command.ScopeTag, command.ScopeSite, command.ScopeAll,
		command.ScopeMatch,
	}
)

// Apply carries out a command of the log.
func (e *Edge) Apply(seq command.Seq, c command.Command) error {
	e.recent.note(seq, c)
	c = c.Only(appliedKinds, appliedScopes, true)
	effect := invalidate.Effect{Soft: !c.Hard(), At: c.At, Until: c.NoStoreUntil(), Link: c.Link}
	for _, scope := range c.Scopes {
		if c.Kind == command.Prefetch {
			break // it marks nothing
		}
		if scope.Kind == command.ScopeMatch {
			effect.Bans = append(effect.Bans, invalidate.Ban{Site: scope.Site, Match: scope.Match})
			continue
		}
		effect.Scopes = append(effect.Scopes, e.sites.Load().scopeHashes(scope)...)
	}
	e.table.Apply(seq, effect)
	e.enqueue(c)
	return nil
}

// Restart declares everything dead that was stored before clock.
func (e *Edge) Restart(clock command.Clock, why command.RestartReason) error {
	err := e.table.Restart(clock)
	switch why {
	case command.RestartFresh:
		e.log.Info("command log joined", "clock", clock.String())
	case command.RestartGap:
		e.log.Warn("command log has a gap, everything stored is invalidated", "clock", clock.String())
	case command.RestartReplaced:
		e.log.Error("command log was replaced or cut short, everything stored is invalidated", "clock", clock.String())
	}
	return err
}
