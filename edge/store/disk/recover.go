package disk

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"freshet/edge/store/disk/record"
)

// recover builds the index from what the directory holds: from the footers of sealed
// segments, and record by record of the others, up to the first that is not whole.
func (s *Store) recover() error {
	found, err := s.openSegments()
	if err != nil {
		return err
	}
	s.segments.Store(&found)
	order := make([]*segment, 0, len(found))
	for _, g := range found {
		order = append(order, g)
	}
	slices.SortFunc(order, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })

	var mu sync.Mutex
	var tombs []uint64
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, g := range order {
		group.Go(func() error {
			l := loader{Store: s, segment: g}
			if err := l.load(); err != nil {
				return fmt.Errorf("load %s: %w", segmentName(g.number), err)
			}
			mu.Lock()
			defer mu.Unlock()
			tombs = append(tombs, l.tombs...)
			s.mu.put = max(s.mu.put, g.maxPut)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, key := range tombs { // they have hidden what they are to hide
		if slot, ok := s.index.Get(key); ok && isTombstone(slot) && s.index.Delete(key, slot) {
			s.forget(slot)
		}
	}
	s.recovered = order
	return nil
}

// prepare makes of what was recovered something to append to. Open doesn't wait for it:
// it syncs, which may take a while on a busy disk. It does it once: a store whose size was
// lowered has had to before it could evict.
func (s *Store) prepare() error {
	order := s.recovered
	s.recovered = nil
	if order == nil {
		return nil
	}
	for _, g := range order {
		if g.end == record.SegmentHeaderSize {
			if err := s.removeSegment(g); err != nil {
				return err
			}
		}
	}
	return s.resume(order)
}

// resume goes on with the last segments of either kind, if they have room, and lets the
// others be sealed: restarts don't eat up the disk with segments that are half full.
func (s *Store) resume(order []*segment) error {
	var cold, hot *segment
	for _, g := range slices.Backward(order) {
		if g.end == record.SegmentHeaderSize {
			continue // it was empty, and is gone
		}
		stream := &cold
		if g.hot && s.separate() {
			stream = &hot
		}
		if *stream == nil && s.segmentSize-g.end >= s.segmentSize/8 {
			err := s.reopen(g)
			if errors.Is(err, record.ErrDamaged) {
				continue // its footer has rotted since it was loaded: it stays sealed
			}
			if err != nil {
				return err
			}
			*stream = g
		} else if !g.sealed {
			s.mu.Lock()
			s.mu.sealing = append(s.mu.sealing, g)
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.cold, s.mu.hot = cold, hot
	s.announce()
	return nil
}

// reopen makes a segment one to append to. Whatever lies behind its last record goes, for
// good, before anything is appended: else a footer would hide what comes, or what was torn
// become readable when later records fill the gap before it.
func (s *Store) reopen(g *segment) error {
	entries, end := g.entries, g.end
	if g.sealed {
		var err error
		if entries, end, err = s.readFooter(g); err != nil {
			return err
		}
	}
	roomy := filterOf(entries, s.usualRecords())
	err := g.file.Truncate(end)
	if err == nil {
		err = g.file.Allocate(s.segmentSize)
	}
	if err == nil {
		err = g.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("reopen %s: %w", g.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.entries, g.end, g.filter, g.sealed = entries, end, roomy, false
	return nil
}

// openSegments opens the segments of the directory. A file without a right header holds
// nothing yet: it was being made when the power went. It is removed.
func (s *Store) openSegments() (map[uint32]*segment, error) {
	names, err := s.fs.ReadDir(s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	found := map[uint32]*segment{}
	closeAll := func() {
		for _, g := range found {
			_ = g.file.Close() // read only so far
		}
	}
	for _, entry := range names {
		number, ok := segmentNumber(entry.Name())
		if !ok {
			continue
		}
		g, err := s.openSegment(number)
		if err != nil {
			closeAll()
			return nil, err
		}
		s.mu.number = max(s.mu.number, number)
		if g != nil {
			found[number] = g
			s.used.Add(s.segmentSize)
		}
	}
	return found, nil
}

// openSegment opens one, nil if it was removed.
func (s *Store) openSegment(number uint32) (*segment, error) {
	file, err := s.fs.OpenFile(s.path(segmentName(number)), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	g := newSegment(s.cfg.Dir, number, file, s.freed)
	var b [record.SegmentHeaderSize]byte
	err = readFull(g, b[:], 0)
	var header record.SegmentHeader
	if err == nil {
		header, err = record.ParseSegmentHeader(b[:])
	}
	switch {
	case err == nil && header.Cache != s.cache:
		err = fmt.Errorf("%w: %s is of another cache; remove the file", record.ErrForeign, segmentName(number))
	case err == nil && (header.Segment != number || header.Size != s.segmentSize):
		// Blocks that were a removed segment's: some file systems show those after a power cut.
		err = fmt.Errorf("%w: it is that of segment %d", record.ErrDamaged, header.Segment)
	}
	switch {
	case errors.Is(err, record.ErrNewer):
		err = fmt.Errorf("%s: %w; remove the file", segmentName(number), err)
	case errors.Is(err, record.ErrDamaged) && s.hasRecords(g):
		s.log.Warn("damaged header of a segment", "file", g.path, "err", err)
		s.counts.damaged.Add(1)
		err = s.writeHeader(g, false)
	case errors.Is(err, record.ErrDamaged):
		s.log.Info("segment that was never used is removed", "file", g.path)
		if err = file.Close(); err == nil {
			err = s.fs.Remove(g.path)
		}
		return nil, err
	default:
		g.hot = header.Hot
	}
	if err == nil {
		err = s.rightSize(g)
	}
	if err != nil {
		_ = file.Close() // err says more
		return nil, err
	}
	return g, nil
}

// hasRecords reports whether a segment without a right header is one all the same: it has
// a right footer, or begins with a right record. Errors of the disk show up later.
func (s *Store) hasRecords(g *segment) bool {
	if _, _, err := s.readFooter(g); err == nil {
		return true
	}
	w := window{segment: g, size: s.segmentSize, buf: make([]byte, headGuess)}
	_, err := s.recordAt(&w, record.SegmentHeaderSize)
	return err == nil
}

// rightSize gives a file that lost its end, or got too much of it, the size that it is
// counted at.
func (s *Store) rightSize(g *segment) error {
	size, err := g.file.Size()
	if err != nil || size == s.segmentSize {
		return err
	}
	s.log.Warn("segment has a wrong size", "file", g.path, "size", size, "want", s.segmentSize)
	if size > s.segmentSize {
		return g.file.Truncate(s.segmentSize)
	}
	return g.file.Allocate(s.segmentSize)
}

// readFooter reads the entries of a sealed segment and where its records end.
// record.ErrDamaged when there is no right footer.
func (s *Store) readFooter(g *segment) (entries []record.Entry, end int64, err error) {
	err = s.eachEntry(g, func(t *record.Trailer) {
		entries, end = make([]record.Entry, 0, t.Count), t.End
	}, func(e record.Entry) { entries = append(entries, e) })
	return entries, end, err
}

// eachEntry walks the footer: begin is called once it is known to be right.
func (s *Store) eachEntry(g *segment, begin func(*record.Trailer), yield func(record.Entry)) error {
	var b [record.TrailerSize]byte
	if err := readFull(g, b[:], s.segmentSize-record.TrailerSize); err != nil {
		return err
	}
	t, err := record.ParseTrailer(b[:], s.place(g), s.segmentSize)
	if err != nil {
		return err
	}
	footer := make([]byte, t.Count*record.EntrySize)
	if err := readFull(g, footer, s.segmentSize-record.FooterSize(t.Count)); err != nil {
		return err
	}
	begun := false
	err = t.Entries(footer, func(e record.Entry) {
		if !begun {
			begin(&t)
			begun = true
		}
		yield(e)
	})
	if err == nil && !begun {
		begin(&t)
	}
	return err
}

// scan finds the records of a segment that has no footer, and where they end.
func (s *Store) scan(g *segment) (entries []record.Entry, end int64, err error) {
	pooled := chunks.Get().(*[]byte)
	defer chunks.Put(pooled)
	w := window{segment: g, size: s.segmentSize, buf: *pooled}
	var last record.Prefix
	end = record.SegmentHeaderSize
	for {
		p, err := s.recordAt(&w, end)
		if errors.Is(err, record.ErrDamaged) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		entries = append(entries, record.Entry{
			Sum: p.Sum, Put: p.Put, Offset: uint32(end), Length: uint32(p.Size()), Type: p.Type, Kind: p.Kind,
		})
		last, end = p, end+p.Size()
	}
	// Writes come one after the other, so a process that was killed has left one torn body
	// at most. (Those that a power cut has torn are found when they are read.)
	if n := len(entries); n > 0 && last.HasBody {
		at := int64(entries[n-1].Offset)
		sum, err := sumOf(g, at+last.BodyOffset(), last.BodyLen)
		if err != nil && !errors.Is(err, record.ErrDamaged) {
			return nil, 0, err
		}
		if err != nil || sum != last.BodySum {
			entries, end = entries[:n-1], at
		}
	}
	return entries, end, nil
}

// recordAt is the record at that place if its prefix and head are right.
func (s *Store) recordAt(w *window, at int64) (record.Prefix, error) {
	b, err := w.bytes(at, record.PrefixSize)
	if err != nil {
		return record.Prefix{}, err
	}
	p, err := record.ParsePrefix(b, s.place(w.segment))
	if err != nil {
		return p, err
	}
	if at+p.Size()+record.FooterSize(1) > s.segmentSize {
		return p, fmt.Errorf("%w: a record that is longer than its segment", record.ErrDamaged)
	}
	head, err := w.bytes(at+record.PrefixSize, p.HeadLen)
	if err != nil {
		return p, err
	}
	return p, p.CheckHead(head)
}

// window reads a segment forwards, in pieces that are as large as what it finds is small.
type window struct {
	segment *segment
	size    int64  // of the segment
	buf     []byte // room
	have    []byte // what was read
	at      int64  // where have begins
	asked   int64  // where the last call began
}

// bytes are n bytes at that place, until the next call.
func (w *window) bytes(at int64, n int) ([]byte, error) {
	skip := at - w.asked
	w.asked = at
	if at >= w.at && at+int64(n) <= w.at+int64(len(w.have)) {
		return w.have[at-w.at:][:n], nil
	}
	if at+int64(n) > w.size {
		return nil, fmt.Errorf("%w: the end of the segment", record.ErrDamaged)
	}
	want := int64(len(w.buf))
	if skip > want/4 { // long bodies: not worth reading on into them
		want = headGuess
	}
	want = min(max(want, int64(n)), w.size-at)
	if want > int64(len(w.buf)) {
		w.buf = make([]byte, want)
	}
	w.have, w.at = w.buf[:want], at
	if err := readFull(w.segment, w.have, at); err != nil {
		w.have = nil
		return nil, err
	}
	return w.have[:n], nil
}
