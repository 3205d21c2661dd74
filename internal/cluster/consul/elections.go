package consul

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
)

// Versions of a lock, for watch.
const (
	lockHeld = 1
	lockFree = 2
)

// Pauses of a candidate that has met trouble, the first and the longest.
const (
	minRetry = 250 * time.Millisecond
	maxRetry = 5 * time.Second
)

func (c *Cluster) lockKey(name string) string { return c.prefix + "/elections/" + name }

// Lead implements cluster.Elections. The token is the lock's ModifyIndex, which
// Consul never gives out twice, not even for a key that was deleted in between.
// Leadership passes on about 4 s after its holder died (its check expires, then the
// lock-delay passes), and at once when it returns.
func (c *Cluster) Lead(ctx context.Context, name, holder string, lead func(context.Context, cluster.Term) error) error {
	if err := cluster.CheckElection(name, holder); err != nil {
		return err
	}
	retry := minRetry
	for ctx.Err() == nil {
		if c.life.Err() != nil {
			return fmt.Errorf("lead %s: %w", name, cluster.ErrClosed)
		}
		err := c.campaign(ctx, name, holder, lead)
		var done *returned
		switch {
		case ctx.Err() != nil:
		case errors.As(err, &done):
			return done.err
		case err == nil:
			retry = minRetry
		default:
			c.log.WarnContext(ctx, "candidacy met trouble", "election", name, "err", err)
			c.pause(ctx, retry)
			retry = min(2*retry, maxRetry)
		}
	}
	return nil
}

// returned is that lead has returned while it led, with err.
type returned struct{ err error }

func (r *returned) Error() string { return "lead has returned" }

// campaign waits until nobody leads, tries to, and leads for one term. It returns
// nil when another was faster or leadership was lost, *returned when lead ended
// it.
func (c *Cluster) campaign(ctx context.Context, name, holder string, lead func(context.Context, cluster.Term) error) error {
	if err := c.awaitFree(ctx, name); err != nil {
		return fmt.Errorf("watch the lock: %w", err)
	}
	s, err := c.openSession(ctx, name, holder)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	token, expires, err := s.acquire(ctx)
	if errors.Is(err, cluster.ErrConflict) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take the lock: %w", err)
	}
	c.log.InfoContext(ctx, "leadership taken", "election", name, "holder", holder, "token", token)
	lost, err := s.term(ctx, cluster.Term{Token: token}, expires, lead)
	switch {
	case ctx.Err() != nil:
		return nil
	case lost:
		log := c.log.With("election", name, "holder", holder, "token", token)
		if err != nil {
			log = log.With("err", err)
		}
		log.WarnContext(ctx, "leadership lost")
		return nil
	}
	return &returned{err}
}

// awaitFree blocks until nobody holds the lock.
func (c *Cluster) awaitFree(ctx context.Context, name string) error {
	return c.watch(ctx, "lock/"+name, lockHeld, func(q *api.QueryOptions) (uint64, *api.QueryMeta, error) {
		pair, meta, err := c.client.KV().Get(c.lockKey(name), q)
		if pair != nil && pair.Session != "" {
			return lockHeld, meta, err
		}
		return lockFree, meta, err
	})
}

// Leader implements cluster.Elections.
func (c *Cluster) Leader(ctx context.Context, name string) (string, error) {
	if err := cluster.CheckName(name); err != nil {
		return "", err
	}
	call, cancel := c.within(ctx, callTimeout)
	defer cancel()
	q := &api.QueryOptions{RequireConsistent: true}
	pair, _, err := c.client.KV().Get(c.lockKey(name), q.WithContext(call))
	if err != nil {
		return "", fmt.Errorf("leader of %s: %w", name, c.why(ctx, err))
	}
	if pair == nil || pair.Session == "" {
		return "", nil
	}
	return string(pair.Value), nil
}
