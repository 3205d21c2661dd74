package disk

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"freshet/edge/store/disk/record"
	"freshet/internal/files"
)

// maintain is the goroutine that seals full segments, and evicts and makes segments so
// that one stands ready before it is needed: a put has to wait only when it comes faster
// than the disk evicts.
func (s *Store) maintain() {
	defer s.work.Done()
	err := s.prepare()
	for {
		if err == nil {
			err = s.makeReady()
		}
		if err != nil {
			s.fail("make room", err)
		}
		select {
		case <-s.done:
			return
		case <-s.down:
			return
		case <-s.wake:
		}
	}
}

// closing reports whether Close waits or the store is out of service.
func (s *Store) closing() bool {
	select {
	case <-s.done:
		return true
	case <-s.down:
		return true
	default:
		return false
	}
}

// makeReady seals what is full and sees to it that a spare segment is there. Errors are
// those of the disk.
func (s *Store) makeReady() error {
	for !s.closing() {
		if err := s.sealFull(); err != nil {
			return err
		}
		s.mu.Lock()
		needHot := s.mu.wantHot && s.mu.hot == nil
		ready := s.mu.spare != nil && !needHot
		s.mu.Unlock()
		if ready {
			s.payOwed()
			return nil
		}
		if s.used.Load()+s.segmentSize <= s.limit {
			if err := s.makeSegment(needHot); err != nil {
				return err
			}
			continue
		}
		s.full.Store(true)
		if made, err := s.makeRoom(); err != nil || !made {
			return err
		}
	}
	return nil
}

// makeSegment makes an empty segment: the hot one if that is wanted, else the spare.
func (s *Store) makeSegment(wantHot bool) error {
	s.mu.Lock()
	s.mu.number++
	number := s.mu.number
	s.mu.Unlock()
	g, err := s.createSegment(number)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wantHot && s.mu.spare != nil && s.mu.hot == nil {
		if err := s.writeHeader(g, true); err != nil {
			return err
		}
		s.mu.hot, s.mu.wantHot = g, false
	} else if s.mu.spare == nil {
		s.mu.spare = g
	} else {
		return errors.New("two spare segments")
	}
	s.setTable(func(t map[uint32]*segment) { t[number] = g })
	s.mu.noRoom = false
	s.announce()
	return nil
}

// createSegment makes the file of a segment, durable and of its full size.
func (s *Store) createSegment(number uint32) (*segment, error) {
	path := filepath.Join(s.cfg.Dir, segmentName(number))
	var file files.File
	err := s.patiently(func() (err error) {
		file, err = s.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a segment: %w", err)
	}
	g := newSegment(s.cfg.Dir, number, file, s.freed)
	g.filter = newFilter(s.usualRecords())
	s.used.Add(s.segmentSize)
	err = file.Allocate(s.segmentSize)
	if err == nil {
		err = s.writeHeader(g, false)
	}
	if err == nil {
		err = s.syncDir()
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("make a segment: %w", err)
	}
	return g, nil
}

// usualRecords is how many records a segment has if they are of 16 KiB: what the filter of
// an open one is made for. Sealing makes one of the right size.
func (s *Store) usualRecords() int { return int(s.segmentSize>>14) + 64 }

func (s *Store) writeHeader(g *segment, hot bool) error {
	g.hot = hot
	header := record.SegmentHeader{Place: s.place(g), Size: s.segmentSize, Created: s.cfg.Now(), Hot: hot}.Append(nil)
	_, err := g.file.WriteAt(header, 0)
	g.dirty.Store(true)
	s.counts.written.Add(int64(len(header)))
	return err
}

// sealFull writes the footers of the segments that are full.
func (s *Store) sealFull() error {
	for {
		s.mu.Lock()
		if len(s.mu.sealing) == 0 {
			s.mu.Unlock()
			return nil
		}
		g := s.mu.sealing[0]
		s.mu.Unlock()
		if err := s.seal(g); err != nil {
			return err
		}
		s.mu.Lock()
		s.mu.sealing = s.mu.sealing[1:]
		s.mu.Unlock()
	}
}

// seal writes the footer of a segment that nothing is appended to any more, and makes all
// of it durable.
func (s *Store) seal(g *segment) error {
	entries := g.entries
	footer := record.AppendFooter(nil, s.place(g), g.end, s.cfg.Now(), entries)
	if _, err := g.file.WriteAt(footer, s.segmentSize-int64(len(footer))); err != nil {
		return fmt.Errorf("seal a segment: %w", err)
	}
	g.dirty.Store(false)
	if err := g.file.Sync(); err != nil {
		return fmt.Errorf("seal a segment: %w", err)
	}
	s.counts.written.Add(int64(len(footer)))
	right := filterOf(entries, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	g.filter, g.entries, g.sealed = right, nil, true
	return nil
}

// makeRoom evicts a segment. made is false when there is nothing to evict, or what was
// evicted is read still: those who wait are told, and the last reader's end starts anew.
func (s *Store) makeRoom() (made bool, err error) {
	var victim *segment
	if s.pinned.Load() <= s.limit/4 {
		victim = s.pickVictim(s.sortedSegments(func(g *segment) bool { return g.sealed }))
	}
	if victim == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.noRoom = true
		s.announce()
		return false, nil
	}
	return true, s.evict(victim)
}

// sortedSegments are those that want chooses, in the order of their numbers.
func (s *Store) sortedSegments(want func(*segment) bool) []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var chosen []*segment
	for _, g := range s.table() {
		if want(g) {
			chosen = append(chosen, g)
		}
	}
	slices.SortFunc(chosen, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return chosen
}

// payOwed writes the tombstones that there was no room for.
func (s *Store) payOwed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	owed := s.mu.owed
	s.mu.owed = nil
	for _, t := range owed {
		s.bury(t, false)
	}
}

// patiently does what needs one more open file. That the process has too many of them for
// the moment is no fault of the disk.
func (s *Store) patiently(do func() error) error {
	for {
		err := do()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			return err
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-s.done:
			timer.Stop()
			return err
		case <-s.down:
			timer.Stop()
			return err
		}
	}
}

func (s *Store) syncDir() error {
	return s.patiently(func() error { return s.fs.SyncDir(s.cfg.Dir) })
}
