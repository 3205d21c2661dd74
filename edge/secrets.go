package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"freshet/edge/upstream"
	"freshet/internal/cluster"
	"freshet/internal/node"
	"freshet/internal/ring"
	"freshet/internal/run"
	"freshet/internal/site"
)

// Errors of secrets that sites name.
var (
	errSecretsUnknown = errors.New("the secrets of the cluster are not known yet")
	errNoSecret       = errors.New("the cluster has none of that name: 'freshet secret set' stores it")
	errNoSecrets      = errors.New("the node file has no cluster.secret of 32 characters, without which no secret can be opened")
)

// openOrigins makes what knows whom this node may ask, for which it needs its client.
func (e *Edge) openOrigins(loads *ring.Loads) error {
	var err error
	if e.secrets, err = newSecrets(e.env); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	e.checks = upstream.NewChecks(e.client.Do, e.log)
	f := e.env.File
	e.parents = upstream.NewParents(upstream.Config{
		Role: f.Role, Name: f.Name, PoP: f.PoP, Region: f.Region, Tier: f.Cache.Tier, Static: f.Cache.Parents, Siblings: f.Cache.Siblings,
		Secure: e.env.Identity != nil, Secret: f.Cluster.Secret.Value(), Loads: loads,
		SecretOf: e.secrets.get, Unhealthy: e.checks.Unhealthy, Changed: e.checks.Changed,
	})
	return e.checks.Register(e.env.Metrics)
}

// originTasks keep what is known of outside origins current.
func (e *Edge) originTasks() []run.Task {
	return []run.Task{
		{Name: "secrets", Run: func(ctx context.Context) error { return e.secrets.follow(ctx, e.originsChanged) }},
		{Name: "origin checks", Run: func(ctx context.Context) error { return e.checks.Run(ctx, e.parents) }},
	}
}

// secretVariable begins the names of the environment variables that hold the secrets of a
// node without a cluster.
const secretVariable = "FRESHET_SECRET_"

// secrets are those that site documents name. What is missing is the matter of the sites
// that need it: their origins are not asked, and the node serves on.
type secrets struct {
	log    *slog.Logger
	store  *cluster.Secrets // nil: there is none
	lookup func(string) (string, bool)
	wanted chan struct{} // closed once some site names one
	want   func()
	known  atomic.Pointer[map[string]cluster.Secret] // nil: not yet
	turn   sync.Mutex                                // of originsChanged
}

// newSecrets reads nothing. Those of a node alone come from the environment.
func newSecrets(env node.Env) (*secrets, error) {
	s := &secrets{log: env.Log, wanted: make(chan struct{})}
	s.want = sync.OnceFunc(func() { close(s.wanted) })
	f := env.File
	if f.Alone() {
		s.lookup = os.LookupEnv
		return s, nil
	}
	key := f.Cluster.Secret.Value()
	if len(key) < node.MinSecret {
		return s, nil
	}
	var err error
	s.store, err = cluster.NewSecrets(env.Watched(), []byte(key))
	return s, err
}

// get is a secret by its name.
func (s *secrets) get(name string) (string, error) {
	if s.lookup != nil {
		variable := secretVariable + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
		value, ok := s.lookup(variable)
		if !ok || value == "" {
			return "", fmt.Errorf("the environment variable %s is not set", variable)
		}
		return value, nil
	}
	if s.store == nil {
		return "", errNoSecrets
	}
	known := s.known.Load()
	if known == nil {
		return "", errSecretsUnknown
	}
	secret, ok := (*known)[name]
	if !ok || secret.Deleted {
		return "", errNoSecret
	}
	return string(secret.Value), secret.Err
}

// sites takes over what sites there are, and says which of their secrets are missing.
func (s *secrets) sites(docs []*site.Document) {
	for _, doc := range docs {
		names := doc.Origin.Secrets()
		if len(names) == 0 {
			continue
		}
		s.want()
		if s.store != nil && s.known.Load() == nil {
			continue // follow will say it
		}
		for _, name := range slices.Compact(names) {
			if _, err := s.get(name); err != nil {
				s.log.Warn("secret of a site is missing, its origin is not asked", "site", doc.Site, "secret", name, "err", err)
			}
		}
	}
}

// follow keeps the secrets current until ctx ends, from when some site names one on.
// changed is called after each change.
func (s *secrets) follow(ctx context.Context, changed func()) error {
	if s.store == nil {
		return nil
	}
	select {
	case <-s.wanted:
	case <-ctx.Done():
		return nil
	}
	cluster.Follow(ctx, s.log, "secrets of sites", func(ctx context.Context, after uint64) (uint64, error) {
		list, version, err := s.store.List(ctx, cluster.SiteSecrets, after)
		if err != nil {
			return 0, err
		}
		known := make(map[string]cluster.Secret, len(list))
		if before := s.known.Load(); before != nil {
			maps.Copy(known, *before) // of what was deleted a record stays: what is missing was lost
		}
		for _, secret := range list {
			known[secret.Name] = secret
		}
		if lost := len(known) - len(list); lost > 0 {
			s.log.Error("cluster's store has lost secrets of sites, which are kept", "lost", lost)
		}
		s.known.Store(&known)
		changed()
		return version, nil
	})
	return nil
}

// originsChanged takes over what has changed about outside origins: the sites, or their
// secrets.
func (e *Edge) originsChanged() {
	e.secrets.turn.Lock()
	defer e.secrets.turn.Unlock()
	docs := e.sites.Load().snapshot.Sites()
	e.secrets.sites(docs)
	e.parents.Refresh()
	e.checks.Sites(docs)
}
