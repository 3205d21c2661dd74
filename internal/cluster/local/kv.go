package local

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"freshet/internal/cluster"
)

// Get implements cluster.KV.
func (c *Cluster) Get(ctx context.Context, key string) (cluster.Pair, error) {
	if err := c.may(ctx, key); err != nil {
		return cluster.Pair{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	pair, ok := c.mu.pairs[key]
	if !ok {
		return cluster.Pair{}, fmt.Errorf("get %s: %w", key, cluster.ErrNotFound)
	}
	pair.Value = bytes.Clone(pair.Value)
	return pair, nil
}

// List implements cluster.KV.
func (c *Cluster) List(ctx context.Context, prefix string, after uint64) (cluster.Pairs, error) {
	begin, err := cluster.Under(prefix)
	if err != nil {
		return cluster.Pairs{}, err
	}
	for {
		pairs, changed := c.under(begin)
		if pairs.Version != after {
			return pairs, ctx.Err()
		}
		if err := c.wait(ctx, changed); err != nil {
			return cluster.Pairs{}, err
		}
	}
}

func (c *Cluster) under(begin string) (cluster.Pairs, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []cluster.Pair
	for key, pair := range c.mu.pairs {
		if strings.HasPrefix(key, begin) {
			pair.Value = bytes.Clone(pair.Value)
			list = append(list, pair)
		}
	}
	return cluster.NewPairs(list), c.mu.pairsChanged.wait()
}

// Put implements cluster.KV.
func (c *Cluster) Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	if err := c.may(ctx, key); err != nil {
		return 0, err
	}
	if len(value) > cluster.MaxValue {
		return 0, fmt.Errorf("put %s: %d bytes: %w", key, len(value), cluster.ErrTooLarge)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, there := c.mu.pairs[key]
	if expect != cluster.Any && expect != old.Version {
		return 0, fmt.Errorf("put %s: %w", key, cluster.ErrConflict)
	}
	if there && bytes.Equal(old.Value, value) {
		return old.Version, nil
	}
	// A value is never nil, so that it reads the same after a restart.
	pair := cluster.Pair{Key: key, Value: append([]byte{}, value...), Version: c.mu.last + 1}
	if err := c.disk.put(pair); err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	c.mu.last = pair.Version
	c.mu.pairs[key] = pair
	c.mu.pairsChanged.raise()
	return pair.Version, nil
}

// Delete implements cluster.KV.
func (c *Cluster) Delete(ctx context.Context, key string, expect uint64) error {
	if err := c.may(ctx, key); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, there := c.mu.pairs[key]
	if expect != cluster.Any && expect != old.Version {
		return fmt.Errorf("delete %s: %w", key, cluster.ErrConflict)
	}
	if !there {
		return nil
	}
	if err := c.disk.remove(key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	delete(c.mu.pairs, key)
	c.mu.pairsChanged.raise()
	return nil
}

// may says why a call on a key cannot go on.
func (c *Cluster) may(ctx context.Context, key string) error {
	if err := cluster.CheckKey(key); err != nil {
		return err
	}
	select {
	case <-c.done:
		return cluster.ErrClosed
	default:
		return ctx.Err()
	}
}
