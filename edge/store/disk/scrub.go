package disk

import (
	"errors"
	"slices"
	"time"

	"freshet/edge/store/disk/record"
)

// scrubPause is how long the scrub waits at least, between two rounds or steps.
const scrubPause = 50 * time.Millisecond

// scrub is the goroutine that reads again what is stored, ScrubRate bytes a second, and
// drops what has rotted before somebody asks for it.
func (s *Store) scrub() {
	defer s.work.Done()
	timer := time.NewTimer(scrubPause)
	defer timer.Stop()
	// pause waits as long as that many bytes take at the rate.
	debt := time.Duration(0)
	pause := func(n int64) bool {
		debt += time.Duration(float64(n) / float64(s.cfg.ScrubRate) * float64(time.Second))
		if debt < scrubPause {
			return !s.closing()
		}
		timer.Reset(debt)
		debt = 0
		select {
		case <-s.done:
			return false
		case <-s.down:
			return false
		case <-timer.C:
			return true
		}
	}
	for {
		for _, g := range s.sortedSegments(func(*segment) bool { return true }) {
			if !g.acquire() {
				continue
			}
			err := s.scrubSegment(g, pause)
			g.release()
			if err != nil {
				if !errors.Is(err, errGone) {
					s.fail("scrub", err)
				}
				return
			}
		}
		debt += time.Second // nothing may be there to be read
		if !pause(0) {
			return
		}
	}
}

// scrubSegment reads what is stored in a segment. errGone when the store closes.
func (s *Store) scrubSegment(g *segment, pause func(int64) bool) error {
	s.mu.Lock()
	entries, sealed := slices.Clone(g.entries), g.sealed
	s.mu.Unlock()
	var err error
	if sealed {
		entries, _, err = s.readFooter(g)
		if errors.Is(err, record.ErrDamaged) { // eviction says so, and the next start
			entries, _, err = s.scan(g)
		}
		if err != nil {
			return err
		}
	}
	var b []byte
	for _, e := range entries {
		slot, ok := s.index.Get(e.Sum.Lo)
		if !ok || slot.Segment != g.number || slot.Offset != e.Offset {
			continue
		}
		b, _, err = s.readRecord(g, e, b)
		if errors.Is(err, record.ErrDamaged) {
			s.damaged(e.Sum.Hi, e.Sum.Lo, slot, err)
		} else if err != nil {
			return err
		}
		s.counts.scrubbedByte.Add(int64(e.Length))
		if !pause(int64(e.Length)) {
			return errGone
		}
	}
	return nil
}
