package consul

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
)

// reasonInterval is how often a node that stays unready may change its reason:
// every change is a write to Consul.
const reasonInterval = 10 * time.Second

// Announce implements cluster.Members. A changed reason of a node that stays
// unready may take 10 s to be seen.
func (c *Cluster) Announce(ctx context.Context, node cluster.Node, health func() error) error {
	if err := node.Check(); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	a := &announcement{cluster: c, node: node, id: c.serviceID(node.Name)}
	defer a.withdraw(ctx)
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	for {
		err := a.beat(ctx, health())
		a.note(ctx, err)
		if err == nil {
			a.confirm(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.life.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// announcement is one node that is kept known.
type announcement struct {
	cluster *Cluster
	node    cluster.Node
	id      string

	registered bool // as far as is known: the agent may have forgotten
	troubled   bool // the last beat went wrong
	status     string
	reason     string
	reasonAt   time.Time

	machine string    // Consul's name of the agent's machine, "" until it is known
	looked  time.Time // when the catalog was last held against what the agent was told
}

// beat gives one sign of life, and registers the node where the agent does not know
// it: at first, and after the agent has lost its state.
func (a *announcement) beat(ctx context.Context, sick error) error {
	ctx, cancel := a.cluster.within(ctx, beatTimeout)
	defer cancel()
	if a.registered {
		err := a.report(ctx, sick)
		var answer api.StatusError
		if !errors.As(err, &answer) {
			return err
		}
		a.registered = false
	}
	opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}
	if err := a.cluster.client.Agent().ServiceRegisterOpts(a.cluster.registration(a.node), opts.WithContext(ctx)); err != nil {
		return err
	}
	a.registered, a.status = true, ""
	return a.report(ctx, sick)
}

// report tells the agent how the node is.
func (a *announcement) report(ctx context.Context, sick error) error {
	status, reason := api.HealthPassing, ""
	if sick != nil {
		status, reason = api.HealthCritical, cluster.Reason(sick)
	}
	if status == a.status && reason != a.reason {
		// Consul passes a new text on without delay only together with a new status.
		if time.Since(a.reasonAt) < reasonInterval {
			reason = a.reason
		} else if err := a.update(ctx, api.HealthWarning, reason); err != nil {
			return err
		}
	}
	if err := a.update(ctx, status, reason); err != nil {
		return err
	}
	if status != a.status || reason != a.reason {
		a.status, a.reason, a.reasonAt = status, reason, time.Now()
	}
	return nil
}

func (a *announcement) update(ctx context.Context, status, output string) error {
	return a.cluster.client.Agent().UpdateTTLOpts(a.id, output, status, (&api.QueryOptions{}).WithContext(ctx))
}

// note logs when beats begin to go wrong, and when they go well again.
func (a *announcement) note(ctx context.Context, err error) {
	switch log := a.cluster.log; {
	case ctx.Err() != nil || a.cluster.life.Err() != nil:
	case err != nil && !a.troubled:
		a.troubled = true
		log.WarnContext(ctx, "consul does not take the node's health", "err", err)
	case err == nil && a.troubled:
		a.troubled = false
		log.InfoContext(ctx, "consul takes the node's health again")
	}
}

// withdraw makes the others forget the node. If that does not succeed in time, its
// check turns critical and then Consul forgets it.
func (a *announcement) withdraw(ctx context.Context) {
	call, cancel := a.cluster.afterwards(ctx)
	defer cancel()
	if err := a.cluster.deregister(call, a.id); err != nil {
		a.cluster.log.WarnContext(ctx, "node could not be withdrawn from consul", "err", err)
	}
}

// deregister takes a service from the agent; one that it does not know is none.
func (c *Cluster) deregister(ctx context.Context, id string) error {
	err := c.client.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(ctx))
	var answer api.StatusError
	if errors.As(err, &answer) && answer.Code == 404 {
		return nil
	}
	return err
}

// Nodes implements cluster.Members.
func (c *Cluster) Nodes(ctx context.Context, after uint64) (cluster.Nodes, error) {
	var nodes cluster.Nodes
	err := c.watch(ctx, "nodes", after, func(q *api.QueryOptions) (uint64, *api.QueryMeta, error) {
		entries, meta, err := c.client.Health().Service(c.prefix, "", false, q)
		nodes = cluster.NewNodes(c.nodes(entries))
		return nodes.Version, meta, err
	})
	if err != nil {
		return cluster.Nodes{}, fmt.Errorf("list nodes: %w", err)
	}
	return nodes, nil
}
