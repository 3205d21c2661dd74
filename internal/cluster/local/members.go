package local

import (
	"context"
	"fmt"
	"slices"
	"time"

	"freshet/internal/cluster"
)

// healthInterval is how often Announce asks for health.
const healthInterval = time.Second

// Announce implements cluster.Members. It asks health before the node is seen for
// the first time.
func (c *Cluster) Announce(ctx context.Context, node cluster.Node, health func() error) error {
	if err := node.Check(); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	// The pointer tells this announcement from a later one of the same name.
	entry := &node
	node.Addrs, node.TierAddrs = slices.Clone(node.Addrs), slices.Clone(node.TierAddrs)
	if err := c.show(entry, health()); err != nil {
		return err
	}
	defer c.withdraw(entry)
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.done:
			return nil
		case <-ticker.C:
			c.update(entry, health())
		}
	}
}

// show makes a node seen; of two with one name the later is.
func (c *Cluster) show(entry *cluster.Node, sick error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return cluster.ErrClosed
	}
	entry.Ready, entry.Reason = sick == nil, cluster.Reason(sick)
	c.mu.members[entry.Name] = entry
	c.mu.membersChanged.raise()
	return nil
}

func (c *Cluster) update(entry *cluster.Node, sick error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ready, reason := sick == nil, cluster.Reason(sick)
	if entry.Ready == ready && entry.Reason == reason {
		return
	}
	entry.Ready, entry.Reason = ready, reason
	c.mu.membersChanged.raise()
}

func (c *Cluster) withdraw(entry *cluster.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.members[entry.Name] != entry {
		return
	}
	delete(c.mu.members, entry.Name)
	c.mu.membersChanged.raise()
}

// Nodes implements cluster.Members.
func (c *Cluster) Nodes(ctx context.Context, after uint64) (cluster.Nodes, error) {
	for {
		nodes, changed := c.nodes()
		if nodes.Version != after {
			return nodes, ctx.Err()
		}
		if err := c.wait(ctx, changed); err != nil {
			return cluster.Nodes{}, err
		}
	}
}

func (c *Cluster) nodes() (cluster.Nodes, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]cluster.Node, 0, len(c.mu.members))
	for _, entry := range c.mu.members {
		node := *entry
		node.Addrs, node.TierAddrs = slices.Clone(node.Addrs), slices.Clone(node.TierAddrs)
		list = append(list, node)
	}
	return cluster.NewNodes(list), c.mu.membersChanged.wait()
}
