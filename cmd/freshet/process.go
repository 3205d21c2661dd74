package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"freshet/distributor"
	"freshet/edge"
	"freshet/edge/store/disk"
	"freshet/edge/store/disk/index"
	"freshet/internal/authority"
	"freshet/internal/bus"
	"freshet/internal/bus/jetstream"
	"freshet/internal/cluster"
	"freshet/internal/cluster/consul"
	"freshet/internal/cluster/local"
	"freshet/internal/cluster/snapshot"
	"freshet/internal/node"
	"freshet/internal/run"
	"freshet/internal/telemetry"
	"freshet/origin"
	"freshet/router"
)

// runNodes runs one node for each node file, all in this process, until ctx ends.
// They start in the order given and stop in the reverse one. s is nil for a process that
// none succeeds.
func runNodes(ctx context.Context, s *succession, files ...*node.File) error {
	shared, err := openLocal(files)
	if err != nil {
		return err
	}
	if shared != nil {
		defer shared.Close()
	}
	tasks := make([]run.Task, len(files))
	for i, f := range files {
		tasks[i] = run.Task{Name: f.Name, Run: func(ctx context.Context) error { return runNode(ctx, s, f, shared) }}
	}
	log, err := telemetry.NewLogger(os.Stderr, files[0].Log.Level, files[0].Log.Format)
	if err != nil {
		return err
	}
	limitMemory(log, files, memlimit.FromCgroup)
	nodesRun, stop := context.WithCancel(ctx)
	var limiting sync.WaitGroup
	limiting.Go(func() { keepHeapOff(nodesRun, index.Mapped) })
	defer limiting.Wait()
	defer stop()
	return run.Tasks(ctx, log, tasks...)
}

// openLocal opens the cluster that the nodes of this process share, if any of them
// asks for one. It keeps its state with the distributor, which owns the sites.
func openLocal(files []*node.File) (*local.Cluster, error) {
	wanted, dir := false, ""
	for _, f := range files {
		if f.Cluster.Kind == "local" && !f.Alone() {
			wanted = true
			if f.Role == cluster.Distributor {
				dir = filepath.Join(f.Data, "cluster")
			}
		}
	}
	if !wanted {
		return nil, nil
	}
	return local.New(local.Config{Dir: dir})
}

// runNode runs one node until ctx ends: it opens what the role stands on, and
// closes it after the role has ended.
func runNode(ctx context.Context, s *succession, f *node.File, shared *local.Cluster) error {
	log, err := telemetry.NewLogger(os.Stderr, f.Log.Level, f.Log.Format)
	if err != nil {
		return err
	}
	log = log.With("node", f.Name)
	registry := telemetry.NewRegistry(string(f.Role), f.Name, version)
	env := node.Env{File: f, Log: log, Metrics: registry, Health: telemetry.NewHealth(), Version: version}
	env.Admin = telemetry.NewAdmin(telemetry.AdminConfig{Registry: registry, Health: env.Health, Log: log})
	if s != nil {
		env.Sockets, env.Release, env.Succeeded = s.sockets, s.release, s.succeeded
	}
	admin, err := env.Sockets.Listen("tcp", f.Admin, 1)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	defer admin[0].Close()
	if env.Identity, err = openIdentity(env); err != nil {
		return err
	}
	if !f.Alone() {
		if env.Cluster, err = openCluster(f, shared, log); err != nil {
			return err
		}
		if env.Cluster != cluster.Cluster(shared) {
			defer env.Cluster.Close()
		}
		if env.Kept, err = openKept(env); err != nil {
			return err
		}
		var closeBus func()
		if env.Bus, closeBus, err = openBus(ctx, env); err != nil {
			return err
		}
		defer closeBus()
	}
	begun := ctx // ends before the tasks' contexts do
	var ready atomic.Bool
	opened := make(chan struct{})
	env.Health.Check("start", func() error {
		if !ready.Load() {
			return fmt.Errorf("%w: opening what was kept", telemetry.ErrNotReady)
		}
		return nil
	})
	return run.Tasks(ctx, log,
		run.Task{Name: "admin", Run: func(ctx context.Context) error {
			ctx, stop := context.WithCancel(ctx)
			defer stop()
			// It outlasts a drain, which may be watched, but a successor has its address.
			defer context.AfterFunc(begun, func() {
				if handedOver(begun) {
					stop()
				}
			})()
			return env.Admin.Serve(ctx, admin[0])
		}},
		run.Task{Name: string(f.Role), Run: func(ctx context.Context) error {
			role, err := newRole(env) // a large cache takes some seconds, in which the node is alive
			if err != nil {
				return wrong(err)
			}
			ready.Store(true)
			close(opened)
			return role.Run(ctx)
		}},
		run.Task{Name: "identity", Run: func(ctx context.Context) error {
			if env.Identity == nil {
				<-ctx.Done()
				return nil
			}
			return env.Identity.Run(ctx)
		}},
		run.Task{Name: "last known", Run: func(ctx context.Context) error {
			select {
			case <-opened: // a disk's directory is the cache's first
			case <-ctx.Done():
				return nil
			}
			if env.Kept == nil {
				<-ctx.Done()
				return nil
			}
			return env.Kept.Run(ctx)
		}},
	)
}

// openKept opens what the node has last known of its cluster; nil where it keeps nothing.
func openKept(env node.Env) (*snapshot.Keeper, error) {
	c := &env.File.Cluster
	if c.Kind == "local" {
		return nil, nil // the cluster is this process, and keeps its own
	}
	dir, bytes := env.File.Kept()
	kept, err := snapshot.Open(snapshot.Config{
		Node: env.File.Name, Dir: dir, Bytes: bytes, Cluster: c.Kind + " " + c.Prefix, Secret: c.Secret.Value(),
		Log: env.Log, Metrics: env.Metrics,
	}, env.Cluster)
	if err != nil {
		return nil, err
	}
	env.Health.Warn("last known", kept.Warning)
	return kept, nil
}

// wrong gives an error of a role that cannot start its exit code.
func wrong(err error) error {
	for _, invalid := range []error{disk.ErrForeign, disk.ErrNewer, disk.ErrTooSmall} {
		if errors.Is(err, invalid) {
			return fail(exitInvalid, "%w", err) // another directory or size has to be named
		}
	}
	return err
}

// role is what every program offers to the one who runs it.
type role interface {
	Run(ctx context.Context) error
}

func newRole(env node.Env) (role, error) {
	switch env.File.Role {
	case cluster.Edge, cluster.Mid:
		return edge.New(env)
	case cluster.Origin:
		return origin.New(env)
	case cluster.Router:
		return router.New(env)
	case cluster.Distributor:
		return distributor.New(env)
	}
	return nil, fmt.Errorf("unknown role %q", env.File.Role)
}

func openCluster(f *node.File, shared *local.Cluster, log *slog.Logger) (cluster.Cluster, error) {
	if f.Cluster.Kind == "local" {
		return shared, nil
	}
	c := f.Cluster
	return consul.New(consul.Config{
		Address: c.Address, Prefix: c.Prefix, Token: c.Token.Value(),
		TLS: consul.TLS{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key, ServerName: c.TLS.ServerName},
	}, log)
}

// openBus connects to the bus; a distributor without an address runs it as well.
func openBus(ctx context.Context, env node.Env) (b bus.Bus, closeBus func(), err error) {
	f, log := env.File, env.Log
	cfg := jetstream.Config{
		Address: f.Bus.Address, User: f.Bus.User, Password: f.Bus.Password.Value(),
		TLS:    jetstream.TLS{CA: f.Bus.TLS.CA, Cert: f.Bus.TLS.Cert, Key: f.Bus.TLS.Key, ServerName: f.Bus.TLS.ServerName},
		MaxAge: time.Duration(f.Bus.Keep),
	}
	if env.Identity != nil {
		cfg.Identity, cfg.Node = env.Identity.ClientConfigRole(string(cluster.Distributor)), env.Identity.Name().String()
	}
	if f.Bus.Address != "" {
		conn, err := jetstream.Connect(ctx, cfg, log)
		if err != nil {
			return nil, nil, err
		}
		return conn, conn.Close, nil
	}
	if f.Role != cluster.Distributor {
		return nil, nil, errors.New("bus.address is not set; only a distributor embeds the bus")
	}
	serves := jetstream.ServerConfig{
		Listen: f.Bus.Listen, Dir: filepath.Join(f.Data, "bus"), Keep: cfg.MaxAge, User: cfg.User, Password: cfg.Password,
	}
	if env.Identity != nil {
		serves.TLS, serves.PeerOf = env.Identity.ServerConfig(authority.Roles...), busPeer
		serves.PasswordToo = f.Identity.SecretToo
	}
	server, err := jetstream.Start(serves, log)
	if err != nil {
		return nil, nil, err
	}
	conn, err := server.Connect(ctx, cfg, log)
	if err != nil {
		server.Shutdown()
		return nil, nil, err
	}
	return conn, func() { conn.Close(); server.Shutdown() }, nil
}
