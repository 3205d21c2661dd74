package disk

import (
	"errors"
	"fmt"
	"time"
)

// errDown: the store is out of service.
var errDown = errors.New("out of service")

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
			if s.syncOpen() != nil {
				return // it has failed the store
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
	if !s.up.Load() {
		return errDown // what an earlier call could not sync looks clean, and is not
	}
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
			err = fmt.Errorf("sync %s: %w", g.path, err)
			s.fail("sync", err)
			return err
		}
	}
	return nil
}
