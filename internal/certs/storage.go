package certs

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"freshet/internal/cluster"
)

const (
	storagePrefix = "acme/"          // among the secrets
	secretsPrefix = "secrets/"       // of the secrets in the KV
	locksPrefix   = "acme-locks/"    // in the KV
	lockLease     = 30 * time.Second // that a lock outlives its holder
	lockRefresh   = lockLease / 5    // between two signs of life
	lockPoll      = time.Second      // between two looks at a lock that another has
	lockTimeout   = lockRefresh      // for one write
	stampSize     = 8                // bytes before a value: when it was stored
)

// storage keeps what ACME needs, keys of accounts and certificates above all, encrypted
// in the KV that the cluster shares:
//
//	secrets/acme/<key>    8 bytes: Unix time in seconds, big endian; then the value
//	acme-locks/<name>     16 random bytes of the holder, 8 bytes that count its signs of life
//
// A lock is whose value stands there. Whoever waits takes it over when it has not changed
// for lockLease by the waiter's own clock, so that clocks need not agree.
type storage struct {
	kv      cluster.KV
	secrets *cluster.Secrets
	log     *slog.Logger

	mu struct {
		sync.Mutex
		held map[string]*lock
	}
}

// lock is one that this node holds.
type lock struct {
	stop  context.CancelFunc
	ended chan struct{} // closed when nothing refreshes it any more
	value [24]byte
	// version is what stands in the KV; read it after ended.
	version uint64
}

var _ certmagic.Storage = (*storage)(nil)

func newStorage(kv cluster.KV, secrets *cluster.Secrets, log *slog.Logger) *storage {
	s := &storage{kv: kv, secrets: secrets, log: log}
	s.mu.held = make(map[string]*lock)
	return s
}

// escape makes a key of the KV from one of certmagic, segment by segment.
func escape(key string) string {
	parts := strings.Split(strings.Trim(key, "/"), "/")
	for i, p := range parts {
		if p = url.PathEscape(p); strings.Trim(p, ".") == "" {
			p = strings.ReplaceAll(p, ".", "%2E")
		}
		parts[i] = p
	}
	return strings.Join(parts, "/")
}

func unescape(key string) (string, error) {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil {
			return "", err
		}
		parts[i] = plain
	}
	return strings.Join(parts, "/"), nil
}

// notExist is what certmagic knows a missing key by.
func notExist(err error) error {
	if errors.Is(err, cluster.ErrNotFound) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	stamped := binary.BigEndian.AppendUint64(make([]byte, 0, stampSize+len(value)), uint64(time.Now().Unix()))
	_, err := s.secrets.Put(ctx, storagePrefix+escape(key), append(stamped, value...), cluster.Any)
	return err
}

func (s *storage) get(ctx context.Context, key string) (stored time.Time, value []byte, err error) {
	pair, err := s.secrets.Get(ctx, storagePrefix+escape(key))
	if err != nil {
		return stored, nil, notExist(err)
	}
	if len(pair.Value) < stampSize {
		return stored, nil, fmt.Errorf("read %s: %w", key, cluster.ErrDamaged)
	}
	return time.Unix(int64(binary.BigEndian.Uint64(pair.Value)), 0), pair.Value[stampSize:], nil
}

func (s *storage) Load(ctx context.Context, key string) ([]byte, error) {
	_, value, err := s.get(ctx, key)
	return value, err
}

// Delete removes a key and what stands under it.
func (s *storage) Delete(ctx context.Context, key string) error {
	if err := s.kv.Delete(ctx, secretsPrefix+storagePrefix+escape(key), cluster.Any); err != nil {
		return err
	}
	under, err := s.kv.List(ctx, secretsPrefix+storagePrefix+escape(key), 0)
	if err != nil {
		return err
	}
	for _, pair := range under.List {
		if err := s.kv.Delete(ctx, pair.Key, cluster.Any); err != nil {
			return err
		}
	}
	return nil
}

func (s *storage) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

func (s *storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	prefix := secretsPrefix + strings.TrimSuffix(storagePrefix+escape(path), "/")
	pairs, err := s.kv.List(ctx, prefix, 0)
	if err != nil {
		return nil, err
	}
	var keys []string
	seen := make(map[string]bool)
	for _, pair := range pairs.List {
		rest := strings.TrimPrefix(pair.Key, prefix+"/")
		if !recursive {
			rest, _, _ = strings.Cut(rest, "/")
		}
		if seen[rest] {
			continue
		}
		seen[rest] = true
		name, err := unescape(rest)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", path, err)
		}
		if base := strings.Trim(path, "/"); base != "" {
			name = base + "/" + name
		}
		keys = append(keys, name)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("list %s: %w", path, fs.ErrNotExist)
	}
	return keys, nil
}

func (s *storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	stored, value, err := s.get(ctx, key)
	if err == nil {
		return certmagic.KeyInfo{Key: key, Modified: stored, Size: int64(len(value)), IsTerminal: true}, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if under, listErr := s.kv.List(ctx, secretsPrefix+storagePrefix+escape(key), 0); listErr == nil && len(under.List) > 0 {
			return certmagic.KeyInfo{Key: key}, nil
		}
	}
	return certmagic.KeyInfo{}, err
}

// Lock waits until it has the lock, or ctx ends.
func (s *storage) Lock(ctx context.Context, name string) error {
	l := &lock{ended: make(chan struct{})}
	_, _ = rand.Read(l.value[:16]) // never fails
	key := locksPrefix + escape(name)
	var seen uint64
	var since time.Time
	for {
		expect, free := cluster.Absent, true
		pair, err := s.kv.Get(ctx, key)
		switch {
		case errors.Is(err, cluster.ErrNotFound):
		case err != nil:
			return fmt.Errorf("lock %s: %w", name, err)
		case string(pair.Value) == string(l.value[:]): // ours: the answer to the write was lost
			s.hold(key, name, l, pair.Version)
			return nil
		case pair.Version != seen:
			seen, since, free = pair.Version, time.Now(), false
		case time.Since(since) < lockLease:
			free = false
		default:
			s.log.Warn("lock is taken over, its holder gives no sign of life", "lock", name)
			expect = pair.Version
		}
		if free {
			version, err := s.kv.Put(ctx, key, l.value[:], expect)
			if err == nil {
				s.hold(key, name, l, version)
				return nil
			}
			if !errors.Is(err, cluster.ErrConflict) {
				s.log.Warn("lock could not be taken", "lock", name, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll/2 + mathrand.N(lockPoll)):
		}
	}
}

// hold keeps a lock that was taken until Unlock.
func (s *storage) hold(key, name string, l *lock, version uint64) {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.version = stop, version
	s.mu.Lock()
	s.mu.held[name] = l
	s.mu.Unlock()
	go func() {
		defer close(l.ended)
		s.refresh(ctx, key, name, l)
	}()
}

// refresh gives signs of life until ctx ends or the lock is lost.
func (s *storage) refresh(ctx context.Context, key, name string, l *lock) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lockRefresh):
		}
		next := l.value
		binary.BigEndian.PutUint64(next[16:], binary.BigEndian.Uint64(next[16:])+1)
		write, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
		version, err := s.kv.Put(write, key, next[:], l.version)
		cancel()
		switch {
		case err == nil:
			l.value, l.version = next, version
		case errors.Is(err, cluster.ErrConflict):
			// Lost, or an earlier write has happened after all.
			read, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
			pair, err := s.kv.Get(read, key)
			cancel()
			if err == nil && len(pair.Value) == len(l.value) && string(pair.Value[:16]) == string(l.value[:16]) {
				copy(l.value[:], pair.Value)
				l.version = pair.Version
				continue
			}
			s.log.Warn("lock was lost to another node", "lock", name)
			return
		}
	}
}

// Unlock gives a lock back; one that was lost meanwhile is left alone.
func (s *storage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	l := s.mu.held[name]
	delete(s.mu.held, name)
	s.mu.Unlock()
	if l == nil {
		return fmt.Errorf("unlock %s: it is not locked", name)
	}
	l.stop()
	<-l.ended
	err := s.kv.Delete(ctx, locksPrefix+escape(name), l.version)
	if errors.Is(err, cluster.ErrConflict) || errors.Is(err, cluster.ErrNotFound) {
		return nil
	}
	return err
}
