// Package local is the cluster of one process: all roles in it share one Cluster.
// It starts no goroutines, so it behaves under testing/synctest. What it holds is
// gone with the process, or with a directory, the key-value store and the election
// tokens stay in a file there.
package local

import (
	"context"
	"fmt"
	"sync"

	"freshet/internal/cluster"
)

// Config says where a Cluster keeps what it holds.
type Config struct {
	// Dir is the directory of its file, made if it is missing; "" keeps nothing.
	Dir string
}

// Cluster is a cluster.Cluster within one process.
type Cluster struct {
	disk *disk         // nil: nothing is kept
	done chan struct{} // closed by Close

	mu struct {
		sync.Mutex
		closed bool

		members        map[string]*cluster.Node
		membersChanged signal

		pairs        map[string]cluster.Pair
		last         uint64 // version that was given out last
		pairsChanged signal

		elections        map[string]election
		electionsChanged signal
	}
}

var _ cluster.Cluster = (*Cluster)(nil)

// New makes a cluster, with what the file in cfg.Dir holds. One process at a time
// can have that file open.
func New(cfg Config) (*Cluster, error) {
	c := &Cluster{done: make(chan struct{})}
	c.mu.members = make(map[string]*cluster.Node)
	c.mu.pairs = make(map[string]cluster.Pair)
	c.mu.elections = make(map[string]election)
	if cfg.Dir == "" {
		return c, nil
	}
	disk, held, err := openDisk(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open cluster state in %s: %w", cfg.Dir, err)
	}
	c.disk = disk
	c.mu.pairs, c.mu.last = held.pairs, held.last
	for name, token := range held.tokens {
		c.mu.elections[name] = election{token: token}
	}
	return c, nil
}

// Close ends blocked calls with cluster.ErrClosed and closes the file.
func (c *Cluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return nil
	}
	c.mu.closed = true
	close(c.done)
	if c.disk == nil {
		return nil
	}
	return c.disk.close()
}

// wait blocks until changed is closed. It returns why it need not wait any longer
// otherwise.
func (c *Cluster) wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return cluster.ErrClosed
	}
}

// signal wakes all who wait for the next change. Its owner guards it.
type signal struct{ next chan struct{} }

// wait is closed at the next raise.
func (s *signal) wait() <-chan struct{} {
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

func (s *signal) raise() {
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}
