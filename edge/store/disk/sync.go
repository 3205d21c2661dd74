package disk

import (
	"fmt"
	"time"
)

// keepDurable is the goroutine that syncs what was written, every SyncEvery.
func (s *Store) keepDurable() {
	defer s.work.Done()
	tick := time.NewTicker(s.cfg.SyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-s.down:
			return
		case <-tick.C:
			if err := s.syncOpen(); err != nil {
				s.fail("sync", err)
				return
			}
		}
	}
}

// syncOpen makes durable what the segments hold that are not sealed. Sealing syncs too,
// but may have to wait for an eviction. When it returns all that was written before it was
// called is durable, also what another call has begun to sync.
func (s *Store) syncOpen() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	open := append([]*segment{s.mu.cold, s.mu.hot}, s.mu.sealing...)
	s.mu.Unlock()
	for _, g := range open {
		if g == nil || !g.dirty.Swap(false) || !g.acquire() {
			continue
		}
		err := g.file.Sync()
		g.release()
		if err != nil {
			return fmt.Errorf("sync %s: %w", g.path, err)
		}
	}
	return nil
}
