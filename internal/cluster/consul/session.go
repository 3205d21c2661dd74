package consul

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
)

const (
	leaseTTL   = 3 * time.Second // of a candidate's check, and of its own lease
	lockDelay  = time.Second     // no one takes a lock so soon after its holder was lost
	openWithin = 5 * time.Second // to open a session, and then to take the lock
	tryPause   = 100 * time.Millisecond

	// forgetCandidate is how long the service of a candidate that has died stays
	// known: the least that Consul takes.
	forgetCandidate = time.Minute
)

// session is one candidate's hold on Consul: a service with a TTL check on the
// agent, and a session that lives as long as that check passes and the agent is
// alive.
type session struct {
	cluster *Cluster
	key     string // of the lock
	holder  string
	check   string // ID of the service and of its check
	id      string // of the session
}

// openSession registers the candidate and waits until the servers know its check.
func (c *Cluster) openSession(ctx context.Context, name, holder string) (*session, error) {
	s := &session{cluster: c, key: c.lockKey(name), holder: holder}
	// A name of its own each time: a candidate that died may still be known.
	s.check = c.prefix + "-candidate:" + name + ":" + rand.Text()[:10]
	call, cancel := c.within(ctx, openWithin)
	defer cancel()
	err := c.client.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
		ID: s.check, Name: c.prefix + "-candidate", Tags: []string{name, holder},
		Check: &api.AgentServiceCheck{
			CheckID: s.check, Name: "freshet candidate " + holder, TTL: leaseTTL.String(), Status: api.HealthPassing,
			DeregisterCriticalServiceAfter: forgetCandidate.String(),
		},
	}, api.ServiceRegisterOpts{}.WithContext(call))
	if err == nil {
		err = s.create(call)
	}
	if err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("open session: %w", c.why(ctx, err))
	}
	return s, nil
}

// create makes the session. The agent tells the servers of the check in its own
// time, until then they refuse.
func (s *session) create(ctx context.Context) error {
	entry := &api.SessionEntry{
		Name: s.check, LockDelay: lockDelay, Behavior: api.SessionBehaviorRelease,
		NodeChecks: []string{"serfHealth"}, ServiceChecks: []api.ServiceCheck{{ID: s.check}},
	}
	for {
		if err := s.pass(ctx); err != nil {
			return err
		}
		id, _, err := s.cluster.client.Session().Create(entry, (&api.WriteOptions{}).WithContext(ctx))
		if err == nil {
			s.id = id
			return nil
		}
		s.cluster.pause(ctx, tryPause)
		if ctx.Err() != nil {
			return err
		}
	}
}

// acquire takes the lock. It returns the term's token and until when it holds
// without renewal. ErrConflict when another has it.
func (s *session) acquire(ctx context.Context) (token uint64, expires time.Time, err error) {
	call, cancel := s.cluster.within(ctx, openWithin)
	defer cancel()
	for {
		asked := time.Now()
		if err := s.pass(call); err != nil {
			return 0, time.Time{}, err
		}
		lock := &api.KVTxnOp{Verb: api.KVLock, Key: s.key, Value: []byte(s.holder), Session: s.id}
		pair, err := s.cluster.transact(call, lock)
		if err == nil {
			return pair.ModifyIndex, asked.Add(leaseTTL), nil
		}
		if !errors.Is(err, cluster.ErrConflict) {
			return 0, time.Time{}, err
		}
		// Held by another, or free and within the lock-delay.
		if session, err := s.holds(call); err != nil {
			return 0, time.Time{}, err
		} else if session != "" {
			return 0, time.Time{}, cluster.ErrConflict
		}
		s.cluster.pause(call, tryPause)
	}
}

// term runs lead for as long as the lease is renewed. It returns when lead has
// returned; lost tells whether lead's context had ended by then.
func (s *session) term(ctx context.Context, term cluster.Term, expires time.Time, lead func(context.Context, cluster.Term) error) (lost bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	lease := time.AfterFunc(time.Until(expires), cancel)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keep(ctx, cancel, lease)
	}()
	defer func() {
		cancel()
		<-kept
		lease.Stop()
	}()
	err = lead(ctx, term)
	return ctx.Err() != nil, err
}

// keep renews the lease until ctx ends, and ends ctx when another has the lock. It
// is the lease itself that ends ctx when Consul is silent.
func (s *session) keep(ctx context.Context, cancel context.CancelFunc, lease *time.Timer) {
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.cluster.life.Done():
			cancel()
			return
		case <-ticker.C:
		}
		asked := time.Now()
		ours, err := s.renew(ctx)
		switch {
		case err != nil:
		case !ours:
			cancel()
			return
		default:
			lease.Reset(leaseTTL - time.Since(asked))
		}
	}
}

// renew passes the check and asks a majority of the servers whether the lock is
// still ours: the agent alone could answer though it is cut off from them.
func (s *session) renew(ctx context.Context) (ours bool, err error) {
	ctx, cancel := s.cluster.within(ctx, beatTimeout)
	defer cancel()
	if err := s.pass(ctx); err != nil {
		return false, err
	}
	holds, err := s.holds(ctx)
	return holds == s.id, err
}

// pass tells the agent that the candidate lives.
func (s *session) pass(ctx context.Context) error {
	return s.cluster.client.Agent().UpdateTTLOpts(s.check, "", api.HealthPassing, (&api.QueryOptions{}).WithContext(ctx))
}

// holds is the session that holds the lock, "" for none.
func (s *session) holds(ctx context.Context) (string, error) {
	q := &api.QueryOptions{RequireConsistent: true}
	pair, _, err := s.cluster.client.KV().Get(s.key, q.WithContext(ctx))
	if err != nil || pair == nil {
		return "", err
	}
	return pair.Session, nil
}

// close gives the lock up, if it is held, and forgets session and service. Letting
// go of the lock first spares the next leader the lock-delay. What fails here falls
// to the check's expiry.
func (s *session) close(ctx context.Context) {
	ctx, cancel := s.cluster.afterwards(ctx)
	defer cancel()
	if s.id != "" {
		unlock := &api.KVTxnOp{Verb: api.KVUnlock, Key: s.key, Value: []byte(s.holder), Session: s.id}
		_, unlocked := s.cluster.transact(ctx, unlock)
		_, destroyed := s.cluster.client.Session().Destroy(s.id, (&api.WriteOptions{}).WithContext(ctx))
		if err := errors.Join(unlocked, destroyed); err != nil {
			s.cluster.log.DebugContext(ctx, "session not closed in order", "lock", s.key, "err", err)
		}
	}
	if err := s.cluster.deregister(ctx, s.check); err != nil {
		s.cluster.log.DebugContext(ctx, "candidate not deregistered", "lock", s.key, "err", err)
	}
}
