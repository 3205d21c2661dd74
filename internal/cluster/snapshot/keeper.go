// Package snapshot keeps what a node has last known of its cluster: the members and the
// site documents with the secrets that they name, in RAM and on disk. With it a node stays what it was while the
// cluster's store is away, also over its own restart, and when the store comes back
// without its data.
//
// A Keeper is a cluster.Cluster for those who watch. It differs from the one below it in
// its watches, Nodes and List of cluster.SitesCurrent and of cluster.SiteSecretsPrefix:
//
//   - The first answer of a process comes from disk if the cluster gives none soon.
//   - News is taken over as a whole, but for what a store says that has lost its data.
//     Site documents and secrets are never removed from it: one that was deleted leaves a
//     record. So one that is missing is lost, and kept; see Lost. Membership
//     without the node itself, which keeps itself in there, is of such a store as well:
//     who is missing with it is kept for as long as it takes them to come back.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/cluster"
	"freshet/internal/files"
)

// Times of a Keeper.
const (
	firstWait  = 1500 * time.Millisecond // for the cluster's first answer, before the disk's is taken
	writeEvery = time.Second             // at most
	retryWrite = 10 * time.Second        // after a write that failed
	comeBack   = 10 * time.Second        // members have that long to come back after this node has,
	forgetLost = time.Minute             // and that long where this node itself does not
)

// DefaultMaxBytes is what the files take at most, a sixth of it each. 10,000 site documents of
// 2 KiB take about 30 MB.
const DefaultMaxBytes = 256 << 20

// Config says what is kept and where.
type Config struct {
	Node    string   // this node's name
	Dir     string   // a directory for the files alone, made if needed; "" keeps nothing on disk
	Cluster string   // tells clusters apart: kind and prefix
	Secret  string   // which the nodes of the cluster share; may be ""
	Bytes   int64    // at most, of all files; 0: DefaultMaxBytes
	FS      files.FS // nil: files.OS
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: none
}

// Keeper is a cluster.Cluster that remembers. It may be used from any goroutine.
type Keeper struct {
	cluster.Cluster
	log     *slog.Logger
	disk    *disk // nil where nothing is kept on disk
	members shelf[cluster.Nodes]
	sites   shelf[cluster.Pairs]
	secrets shelf[cluster.Pairs]
	crowd   crowd
	lost    int // site documents, at the last news; guarded by sites.mu
}

// Open reads what was kept; what cannot be used of it is logged and left alone until it
// is written anew. It asks the cluster nothing. It fails if the metrics are registered
// already. Run writes.
func Open(c Config, of cluster.Cluster) (*Keeper, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{Cluster: of, log: c.Log, crowd: crowd{self: c.Node}}
	if c.Dir != "" {
		k.disk = newDisk(c)
	}
	k.members = shelf[cluster.Nodes]{
		what: "members", log: c.Log, read: of.Nodes, version: func(n cluster.Nodes) uint64 { return n.Version },
		merge: k.crowd.merge, keep: saver(k.disk, fileMembers, func(n cluster.Nodes) ([]byte, error) { return encodeNodes(n.List) }),
	}
	k.fill(&k.sites, "site documents", cluster.SitesCurrent, fileSites, k.mergeSites)
	k.fill(&k.secrets, "secrets of sites", cluster.SiteSecretsPrefix, fileSecrets, k.mergeSecrets)
	if k.disk != nil {
		if list, at, ok := load(k.disk, fileMembers, decodeNodes); ok {
			k.members.restore(cluster.NewNodes(list), at)
		}
		for file, shelf := range map[kind]*shelf[cluster.Pairs]{fileSites: &k.sites, fileSecrets: &k.secrets} {
			if list, at, ok := load(k.disk, file, decodePairs); ok {
				shelf.restore(cluster.NewPairs(list), at)
			}
		}
	}
	if err := k.register(c.Metrics); err != nil {
		return nil, fmt.Errorf("metrics of what is known of the cluster: %w", err)
	}
	return k, nil
}

// fill makes s the shelf of what stands under a prefix.
func (k *Keeper) fill(s *shelf[cluster.Pairs], what, prefix string, file kind, merge func(old, news cluster.Pairs, now time.Time) (cluster.Pairs, time.Time)) {
	s.what, s.log, s.merge = what, k.log, merge
	s.version = func(p cluster.Pairs) uint64 { return p.Version }
	s.read = func(ctx context.Context, after uint64) (cluster.Pairs, error) {
		return k.Cluster.List(ctx, prefix, after)
	}
	s.keep = saver(k.disk, file, func(p cluster.Pairs) ([]byte, error) { return encodePairs(p.List), nil })
}

// Run writes what is new to disk until ctx ends, and once more then; it returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	if k.disk == nil {
		<-ctx.Done()
		return nil
	}
	return k.disk.run(ctx)
}

// Nodes implements cluster.Members; see the package.
func (k *Keeper) Nodes(ctx context.Context, after uint64) (cluster.Nodes, error) {
	return k.members.next(ctx, after)
}

// List implements cluster.KV; see the package.
func (k *Keeper) List(ctx context.Context, prefix string, after uint64) (cluster.Pairs, error) {
	switch strings.TrimSuffix(prefix, "/") {
	case cluster.SitesCurrent:
		return k.sites.next(ctx, after)
	case cluster.SiteSecretsPrefix:
		return k.secrets.next(ctx, after)
	}
	return k.Cluster.List(ctx, prefix, after)
}

// State is what the node goes by.
type State struct {
	// Kept is when what the node goes by was known last, if it cannot read the cluster just
	// now; else zero.
	Kept time.Time
	// Disk says that it was read from disk: this process has not heard of the cluster yet.
	Disk bool
	// Err is why the cluster cannot be read.
	Err error
	// Lost names the site documents that the cluster's store has lost, sorted.
	Lost []string
	// Missing counts the members that are missing from a store that has lost its data.
	Missing int
}

// State may be asked of a nil Keeper, which goes by the cluster alone.
func (k *Keeper) State() State {
	if k == nil {
		return State{}
	}
	s := k.sites.state()
	for _, other := range []State{k.members.state(), k.secrets.state()} {
		if !other.Kept.IsZero() && (s.Kept.IsZero() || other.Kept.Before(s.Kept)) {
			s = other
		}
	}
	for _, p := range k.Lost() {
		if doc, deleted, err := cluster.DocumentOf(p); err == nil && !deleted {
			s.Lost = append(s.Lost, doc.Name)
		}
	}
	s.Missing = k.crowd.count()
	return s
}

// Warning is a telemetry.Probe of what the operator should know. It may be asked of a nil
// Keeper.
func (k *Keeper) Warning() error {
	if k == nil {
		return nil
	}
	s := k.State()
	var errs []error
	switch {
	case s.Disk:
		errs = append(errs, fmt.Errorf("going by the last snapshot of %s: the cluster cannot be read: %w", s.Kept.UTC().Format(time.RFC3339), s.Err))
	case !s.Kept.IsZero():
		errs = append(errs, fmt.Errorf("going by what was known at %s: the cluster cannot be read: %w", s.Kept.UTC().Format(time.RFC3339), s.Err))
	}
	if n := len(s.Lost); n > 0 {
		errs = append(errs, fmt.Errorf("the cluster's store has lost %d site documents, which are kept (%s): 'freshet site restore' puts them back", n, some(s.Lost)))
	}
	if s.Missing > 0 {
		errs = append(errs, fmt.Errorf("the cluster's store has lost %d members, which are kept for now", s.Missing))
	}
	if k.disk != nil {
		if err := k.disk.trouble(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Written reports whether all that was told of site documents is on disk, if they are kept
// there: a process that starts without the cluster has them then, or none. It may be asked of
// a nil Keeper.
func (k *Keeper) Written() bool { return k == nil || k.disk == nil || k.disk.written(fileSites) }

// some names the first few.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:few], ", ") + ", …"
}

// shelf is the last news of one kind.
type shelf[T any] struct {
	what    string
	log     *slog.Logger
	read    func(ctx context.Context, after uint64) (T, error)
	version func(T) uint64
	// merge makes of news what is gone by now, given what it takes the place of (the zero
	// value at first). If it has to be asked again at some time it says when.
	merge func(old, news T, now time.Time) (T, time.Time)
	keep  func(T, time.Time)

	mu struct {
		sync.Mutex
		have    bool      // value is there
		fresh   bool      // from the cluster, rather than from disk
		value   T         // what is gone by
		news    T         // what it was made from
		again   time.Time // when to make it anew; zero: with the next news
		at      time.Time // when it was read, or written to disk
		err     error     // why the cluster cannot be read
		started bool      // from disk, and that was said
	}
}

// restore takes over what was on disk.
func (s *shelf[T]) restore(value T, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.have, s.mu.value, s.mu.at = true, value, at
}

// next is the watch: it blocks until there is something other than after to go by.
func (s *shelf[T]) next(ctx context.Context, after uint64) (T, error) {
	for {
		seen, limit := s.from(after)
		news, err := s.readWithin(ctx, seen, limit)
		value, done, err := s.take(ctx, after, news, err)
		if done {
			return value, err
		}
	}
}

// from is the version of the cluster's news to wait from, and for how long; 0: as long as
// it takes.
func (s *shelf[T]) from(after uint64) (seen uint64, limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.have && !s.mu.fresh && after == 0:
		return 0, firstWait
	case !s.mu.fresh || after != s.version(s.mu.value), s.mu.err != nil: // at once, to know that it answers
		return 0, 0
	case !s.mu.again.IsZero():
		return s.version(s.mu.news), max(time.Until(s.mu.again), time.Millisecond)
	}
	return s.version(s.mu.news), 0
}

var errSlow = errors.New("no answer yet")

func (s *shelf[T]) readWithin(ctx context.Context, seen uint64, limit time.Duration) (T, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errSlow)
		defer cancel()
	}
	news, err := s.read(ctx, seen)
	if err != nil && errors.Is(context.Cause(ctx), errSlow) {
		err = errSlow
	}
	return news, err
}

// take makes of what was read what is gone by, and whether it is what next waits for.
func (s *shelf[T]) take(ctx context.Context, after uint64, news T, err error) (value T, done bool, _ error) {
	if err != nil && ctx.Err() != nil {
		return value, true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		if !s.mu.fresh && s.mu.started {
			s.log.Info("cluster can be read, the last snapshot is no longer gone by", "subject", s.what)
		}
		s.mu.news, s.mu.fresh, s.mu.err, s.mu.at = news, true, nil, now
	case errors.Is(err, errSlow) && s.mu.fresh: // it was waited for until merge had to be asked again
	case after == 0 && s.mu.have && !s.mu.fresh:
		if s.mu.err = err; !s.mu.started {
			s.mu.started = true
			s.log.Warn("cluster cannot be read, starting from its last snapshot", "subject", s.what, "of", s.mu.at.UTC().Format(time.RFC3339), "err", err)
		}
		return s.mu.value, true, nil
	default:
		s.mu.err = err
		return value, true, err
	}
	before := s.mu.value
	s.mu.value, s.mu.again = s.merge(before, s.mu.news, now)
	if !s.mu.have || s.version(before) != s.version(s.mu.value) {
		s.keep(s.mu.value, now)
	}
	s.mu.have = true
	return s.mu.value, s.version(s.mu.value) != after, nil
}

// state is State as far as the shelf knows.
func (s *shelf[T]) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.err == nil || !s.mu.have {
		return State{}
	}
	return State{Kept: s.mu.at, Disk: !s.mu.fresh, Err: s.mu.err}
}
