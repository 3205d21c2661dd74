package certs

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/cluster"
)

const (
	ticketLife = 6 * time.Hour     // that tickets are sealed under one key
	ticketOld  = 4                 // keys before it that still open tickets
	ticketPoll = 30 * time.Second  // between two looks at the shared keys
	ticketLead = 3 * ticketPoll    // from a key's making to its use, so that all who may be shown its tickets have it
	maxTickets = ticketOld + 2 + 8 // keys that are read: a later version may keep more
)

// ticketKey seals session tickets from a time on, until the next one does.
type ticketKey struct {
	From time.Time `json:"from"`
	Key  [32]byte  `json:"key"`
}

// ticketKeys are in the order of their times.
type ticketKeys []ticketKey

// due reports whether the next key has to be made.
func (k ticketKeys) due(now time.Time) bool {
	return len(k) == 0 || !now.Before(k[len(k)-1].From.Add(ticketLife-ticketLead))
}

// next is k with a key that was made now, and without those that are too old. The first
// of all is used at once.
func (k ticketKeys) next(now time.Time, key [32]byte) ticketKeys {
	from := now.Add(ticketLead)
	if len(k) == 0 {
		from = now
	}
	next := append(k[:len(k):len(k)], ticketKey{From: from, Key: key})
	return next[max(0, len(next)-ticketOld-2):]
}

// order is what crypto/tls wants: first the key that seals, then all that open.
func (k ticketKeys) order(now time.Time) [][32]byte {
	seals := 0
	for i, key := range k {
		if !key.From.After(now) {
			seals = i
		}
	}
	keys := [][32]byte{k[seals].Key}
	for i := len(k) - 1; i >= 0; i-- {
		if i != seals && i >= seals-ticketOld {
			keys = append(keys, k[i].Key)
		}
	}
	return keys
}

// tickets seal sessions for clients to keep (RFC 8446 §4.6.1, RFC 5077), under keys that
// the nodes of a PoP share.
type tickets struct {
	now     func() time.Time
	log     *slog.Logger
	secrets *cluster.Secrets // nil: alone
	name    string           // of the secret
	rotated prometheus.Counter

	sealer *tls.Config // holds the keys that are in use; nothing else of it is used

	mu struct {
		sync.Mutex
		keys   ticketKeys
		seals  [32]byte
		failed bool // the cluster could not be read when it was asked last
	}
}

func newTickets(cfg Config, secrets *cluster.Secrets) (*tickets, error) {
	t := &tickets{now: cfg.Now, log: cfg.Log, secrets: secrets, rotated: newRotated(), sealer: new(tls.Config)}
	if secrets != nil {
		// Nodes whose cluster secret differs, as it does while it is being changed, would
		// overwrite one another's.
		id, err := hkdf.Key(sha256.New, cfg.Secret, nil, "freshet ticket keys 1: name", 8)
		if err != nil {
			return nil, fmt.Errorf("name of ticket keys: %w", err)
		}
		pop := cfg.PoP
		if pop == "" {
			pop = "-"
		}
		t.name = "tickets/" + url.PathEscape(pop) + "/" + hex.EncodeToString(id)
	}
	t.use(ticketKeys(nil).next(t.now(), newTicketKey())) // until the shared ones are known
	return t, nil
}

func newTicketKey() (key [32]byte) {
	_, _ = rand.Read(key[:]) // never fails
	return key
}

// run keeps the keys current until ctx ends.
func (t *tickets) run(ctx context.Context) {
	for {
		if err := t.step(ctx); err != nil && ctx.Err() == nil {
			t.mu.Lock()
			first := !t.mu.failed
			t.mu.failed = true
			t.mu.Unlock()
			if first {
				t.log.Warn("shared ticket keys cannot be read, the present ones stay in use", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(ticketPoll - mathrand.N(ticketPoll/4)):
		}
	}
}

// step takes over the shared keys, and makes the next one if that is due.
func (t *tickets) step(ctx context.Context) error {
	if t.secrets == nil {
		t.mu.Lock()
		keys := t.mu.keys
		t.mu.Unlock()
		if now := t.now(); keys.due(now) {
			keys = keys.next(now, newTicketKey())
		}
		t.use(keys)
		return nil
	}
	for {
		keys, version, err := t.read(ctx)
		if err != nil {
			return err
		}
		now := t.now()
		if keys.due(now) {
			keys = keys.next(now, newTicketKey())
			text, err := json.Marshal(keys)
			if err != nil {
				return fmt.Errorf("write ticket keys: %w", err)
			}
			if _, err = t.secrets.Put(ctx, t.name, text, version); errors.Is(err, cluster.ErrConflict) {
				continue // another was first
			} else if err != nil {
				return err
			}
		}
		t.use(keys)
		return nil
	}
}

func (t *tickets) read(ctx context.Context) (keys ticketKeys, version uint64, err error) {
	pair, err := t.secrets.Get(ctx, t.name)
	if errors.Is(err, cluster.ErrNotFound) {
		return nil, cluster.Absent, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(pair.Value, &keys); err != nil || len(keys) == 0 || len(keys) > maxTickets {
		return nil, 0, fmt.Errorf("ticket keys in %s cannot be read: %d keys, %w", t.name, len(keys), err)
	}
	return keys, pair.Version, nil
}

// use puts keys into use.
func (t *tickets) use(keys ticketKeys) {
	order := keys.order(t.now())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.keys, t.mu.failed = keys, false
	if order[0] != t.mu.seals {
		t.mu.seals = order[0]
		t.rotated.Inc()
	}
	t.sealer.SetSessionTicketKeys(order)
}

func (t *tickets) wrap(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	return t.sealer.EncryptTicket(cs, ss)
}

func (t *tickets) unwrap(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	return t.sealer.DecryptTicket(identity, cs)
}
