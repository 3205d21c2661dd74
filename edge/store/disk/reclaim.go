package disk

import (
	"errors"
	"fmt"
	"slices"

	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
)

// eviction is the eviction of one segment: what is hot is written again, the rest is
// dropped, then the file is removed. It locks the store for one record at a time.
//
// What is dropped must not let an older record of its key come back at the next restart.
// So a tombstone takes its place wherever such a record may still lie; and a tombstone is
// kept for the same time. What stands for the records of the segment is durable before the
// segment is removed, and that it is removed is durable before its room is used: after a
// power cut too either the segment is there, or all that stands for it.
type eviction struct {
	*Store
	victim *segment
	// What may hold older records than the victim's: sealed segments, which only the
	// goroutine that evicts changes, and open ones.
	sealed, open []*segment
	keep         map[uint32]bool // what of it is written again, by offset
	buf          []byte
}

// evict evicts a sealed segment. Errors are those of the disk.
func (s *Store) evict(victim *segment) error {
	ev := &eviction{Store: s, victim: victim}
	s.mu.Lock()
	for _, g := range s.table() {
		// Records older than those of the victim are not written any more but by this
		// eviction, and those it keeps are not older than themselves.
		if g == victim || g.minPut >= victim.maxPut {
			continue
		}
		if g.sealed {
			ev.sealed = append(ev.sealed, g)
		} else {
			ev.open = append(ev.open, g)
		}
	}
	s.mu.Unlock()
	entries, err := s.contents(victim)
	if err != nil {
		return err
	}
	ev.keep = s.judge(victim, entries)
	for _, e := range entries {
		if s.closing() {
			return nil // it is there still, and what is left in it is evicted another time
		}
		if err := ev.decide(e); err != nil {
			return err
		}
	}
	// Not only what this eviction wrote: a put or delete that has made a record of the
	// victim a dead one must not be lost after the victim is, or a still older record of
	// the key would count.
	if err := s.syncOpen(); err != nil {
		return err
	}
	return s.removeSegment(victim)
}

// removeSegment removes the file. Its room is free when nobody reads it any more.
func (s *Store) removeSegment(g *segment) error {
	s.mu.Lock()
	s.setTable(func(t map[uint32]*segment) { delete(t, g.number) })
	s.mu.Unlock()
	if err := s.fs.Remove(g.path); err != nil {
		return fmt.Errorf("remove a segment: %w", err)
	}
	if err := s.syncDir(); err != nil {
		return fmt.Errorf("remove a segment: %w", err)
	}
	s.pinned.Add(s.segmentSize)
	g.removed.Store(true)
	g.release()
	return nil
}

// contents are the entries of a sealed segment, from its footer or, if that is damaged,
// from the records themselves.
func (s *Store) contents(g *segment) ([]record.Entry, error) {
	entries, _, err := s.readFooter(g)
	if errors.Is(err, record.ErrDamaged) {
		s.counts.damaged.Add(1)
		s.log.Warn("damaged footer of a segment", "file", g.path, "err", err)
		entries, _, err = s.scan(g)
	}
	return entries, err
}

// decide does with one record what is to be done.
func (ev *eviction) decide(e record.Entry) error {
	if e.Type == record.Tombstone {
		ev.drop(e)
		return nil
	}
	slot, ok := ev.index.Get(e.Sum.Lo)
	if !ok || slot.Segment != ev.victim.number || slot.Offset != e.Offset {
		return nil // dead already
	}
	if ev.keep[e.Offset] {
		kept, err := ev.rewrite(e, slot)
		if kept || err != nil {
			return err
		}
	}
	// What was the slot may have moved on since; then this does nothing.
	if !ev.index.Delete(e.Sum.Lo, slot) {
		return nil
	}
	ev.victim.live.Add(-int64(slot.Length))
	ev.counts.evicted.Add(1)
	if slot.Flags&index.Supersedes != 0 {
		ev.drop(e)
	}
	return nil
}

// drop leaves a tombstone for what was stored under e's number, or was gone as of it, if
// an older record may be left.
func (ev *eviction) drop(e record.Entry) {
	mayHold := func(g *segment) bool { return g.mayHold(e.Sum.Hi, e.Sum.Lo, e.Put) }
	found := slices.ContainsFunc(ev.sealed, mayHold) // they may be many: not under the lock
	if !found && len(ev.open) == 0 {
		return
	}
	ev.mu.Lock()
	defer ev.mu.Unlock()
	if found || slices.ContainsFunc(ev.open, mayHold) {
		ev.bury(tombstone{e.Sum.Hi, e.Sum.Lo, e.Put}, true)
	}
}

// rewrite writes a record again and moves the index to it. It is not kept when it is
// damaged, there is no room, or it is not what stands under its key any more.
func (ev *eviction) rewrite(e record.Entry, slot index.Slot) (kept bool, err error) {
	b, _, err := ev.readRecord(ev.victim, e, ev.buf)
	ev.buf = b[:0]
	if errors.Is(err, record.ErrDamaged) {
		ev.reportDamage(slot, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ev.mu.Lock()
	defer ev.mu.Unlock()
	now, ok := ev.index.Get(e.Sum.Lo)
	if !ok || !now.At(slot) || ev.mu.closed {
		return true, nil // there is nothing to be dropped either
	}
	g := ev.segmentFor(int64(e.Length), true)
	if g == nil {
		return false, nil
	}
	record.Readdress(b, g.number)
	if err := ev.write(g, b, nil, int64(e.Length)); err != nil {
		return false, err
	}
	to := index.Slot{Segment: g.number, Offset: uint32(g.end), Length: e.Length, Flags: flagsOfKept(now.Flags)}
	e.Offset = to.Offset
	g.note(e)
	g.end += int64(e.Length)
	if ev.index.Move(e.Sum.Lo, slot, to) {
		g.live.Add(int64(e.Length))
		ev.victim.live.Add(-int64(e.Length))
	}
	ev.counts.rewritten.Add(1)
	ev.counts.rewrittenBytes.Add(int64(e.Length))
	return true, nil
}
