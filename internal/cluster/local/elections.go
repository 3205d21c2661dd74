package local

import (
	"context"
	"fmt"

	"freshet/internal/cluster"
)

// election is one name that can be led.
type election struct {
	holder string // "" while nobody leads
	token  uint64 // of the last term
}

// Lead implements cluster.Elections. Within one process leadership is never
// lost.
func (c *Cluster) Lead(ctx context.Context, name, holder string, lead func(context.Context, cluster.Term) error) error {
	if err := cluster.CheckElection(name, holder); err != nil {
		return err
	}
	token, err := c.campaign(ctx, name, holder)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil
	case err != nil:
		return fmt.Errorf("lead %s: %w", name, err)
	}
	defer c.resign(name)
	err = lead(ctx, cluster.Term{Token: token})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// campaign waits until nobody leads, then leads.
func (c *Cluster) campaign(ctx context.Context, name, holder string) (token uint64, err error) {
	for {
		token, changed, err := c.tryLead(ctx, name, holder)
		if changed == nil {
			return token, err
		}
		if err := c.wait(ctx, changed); err != nil {
			return 0, err
		}
	}
}

// tryLead returns a channel to wait for if another leads.
func (c *Cluster) tryLead(ctx context.Context, name, holder string) (token uint64, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return 0, nil, cluster.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	e := c.mu.elections[name]
	if e.holder != "" {
		return 0, c.mu.electionsChanged.wait(), nil
	}
	next := election{holder: holder, token: e.token + 1}
	if err := c.disk.putToken(name, next.token); err != nil {
		return 0, nil, err
	}
	c.mu.elections[name] = next
	return next.token, nil, nil
}

func (c *Cluster) resign(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.mu.elections[name]
	e.holder = ""
	c.mu.elections[name] = e
	c.mu.electionsChanged.raise()
}

// Leader implements cluster.Elections.
func (c *Cluster) Leader(ctx context.Context, name string) (string, error) {
	if err := cluster.CheckName(name); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.elections[name].holder, ctx.Err()
}
