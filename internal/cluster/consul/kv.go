package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
)

// kvRoot is what the keys of KV begin with in Consul.
func (c *Cluster) kvRoot() string { return c.prefix + "/kv/" }

// Get implements cluster.KV.
func (c *Cluster) Get(ctx context.Context, key string) (cluster.Pair, error) {
	if err := cluster.CheckKey(key); err != nil {
		return cluster.Pair{}, err
	}
	call, cancel := c.within(ctx, callTimeout)
	defer cancel()
	q := &api.QueryOptions{RequireConsistent: true}
	pair, _, err := c.client.KV().Get(c.kvRoot()+key, q.WithContext(call))
	if err == nil && pair == nil {
		err = cluster.ErrNotFound
	}
	if err != nil {
		return cluster.Pair{}, fmt.Errorf("get %s: %w", key, c.why(ctx, err))
	}
	return c.pair(pair), nil
}

// List implements cluster.KV.
func (c *Cluster) List(ctx context.Context, prefix string, after uint64) (cluster.Pairs, error) {
	begin, err := cluster.Under(prefix)
	if err != nil {
		return cluster.Pairs{}, err
	}
	var pairs cluster.Pairs
	err = c.watch(ctx, "kv/"+begin, after, func(q *api.QueryOptions) (uint64, *api.QueryMeta, error) {
		found, meta, err := c.client.KV().List(c.kvRoot()+begin, q)
		list := make([]cluster.Pair, len(found))
		for i := range found {
			list[i] = c.pair(found[i])
		}
		pairs = cluster.NewPairs(list)
		return pairs.Version, meta, err
	})
	if err != nil {
		return cluster.Pairs{}, fmt.Errorf("list %s: %w", prefix, err)
	}
	return pairs, nil
}

func (c *Cluster) pair(p *api.KVPair) cluster.Pair {
	return cluster.Pair{Key: strings.TrimPrefix(p.Key, c.kvRoot()), Value: p.Value, Version: p.ModifyIndex}
}

// Put implements cluster.KV. A transaction, because only that returns the version.
func (c *Cluster) Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	if err := cluster.CheckKey(key); err != nil {
		return 0, err
	}
	if len(value) > cluster.MaxValue {
		return 0, fmt.Errorf("put %s: %d bytes: %w", key, len(value), cluster.ErrTooLarge)
	}
	write := &api.KVTxnOp{Verb: api.KVCAS, Key: c.kvRoot() + key, Value: value, Index: expect}
	if expect == cluster.Any {
		write.Verb, write.Index = api.KVSet, 0
	}
	written, err := c.transact(ctx, write)
	if err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	return written.ModifyIndex, nil
}

// Delete implements cluster.KV. Consul's own compare-and-delete succeeds where there
// is nothing, so the version is compared by an operation of its own.
func (c *Cluster) Delete(ctx context.Context, key string, expect uint64) error {
	if err := cluster.CheckKey(key); err != nil {
		return err
	}
	full := c.kvRoot() + key
	ops := []*api.KVTxnOp{{Verb: api.KVDelete, Key: full}}
	switch expect {
	case cluster.Any:
	case cluster.Absent:
		ops = []*api.KVTxnOp{{Verb: api.KVCheckNotExists, Key: full}}
	default:
		ops = []*api.KVTxnOp{{Verb: api.KVCheckIndex, Key: full, Index: expect}, ops[0]}
	}
	if _, err := c.transact(ctx, ops...); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// transact carries out operations together and returns what the first of them left
// (nil for a delete). ErrConflict if what one of them expects is not so.
func (c *Cluster) transact(ctx context.Context, ops ...*api.KVTxnOp) (*api.KVPair, error) {
	call, cancel := c.within(ctx, callTimeout)
	defer cancel()
	txn := make(api.TxnOps, len(ops))
	for i, op := range ops {
		txn[i] = &api.TxnOp{KV: op}
	}
	done, answer, _, err := c.client.Txn().Txn(txn, (&api.QueryOptions{RequireConsistent: true}).WithContext(call))
	switch {
	case err != nil:
		return nil, c.why(ctx, err)
	case !done:
		return nil, refusal(answer.Errors)
	case len(answer.Results) == 0 || answer.Results[0].KV == nil:
		return nil, nil
	}
	return answer.Results[0].KV, nil
}

// refusal turns the errors of a transaction into one.
func refusal(errs api.TxnErrors) error {
	all := make([]error, len(errs))
	for i, e := range errs {
		if unexpected(e.What) {
			return cluster.ErrConflict
		}
		all[i] = errors.New(e.What)
	}
	return fmt.Errorf("transaction refused: %w", errors.Join(all...))
}

// unexpected tells whether Consul says that an expectation was not met. Its words
// are all it has for that; the key in the middle of them is not looked at.
func unexpected(what string) bool {
	return strings.HasPrefix(what, "failed index check for key ") || // check-index
		strings.HasSuffix(what, ", index is stale") || // cas
		strings.HasSuffix(what, "\" doesn't exist") || // check-index of no key
		strings.HasSuffix(what, "\" exists") || // check-not-exists
		strings.HasSuffix(what, ", lock is already held") || // lock
		strings.HasSuffix(what, " due to lock delay") // lock
}
