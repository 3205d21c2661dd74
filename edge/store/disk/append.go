package disk

import (
	"errors"
	"io"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
)

// putWait is how long a put waits for a segment to be made or evicted. Beyond that the
// disk is so slow that nobody should wait for it.
const putWait = 2 * time.Second

// oneWrite is the longest body that is copied behind its head to be written in one go.
const oneWrite = 128 << 10

// maxOwed bounds the tombstones that wait for room.
const maxOwed = 1 << 16

// errRefused: the store doesn't take the response, for a reason that is no fault.
var errRefused = errors.New("refused")

// Offer writes r if the store can and admission lets it, and reports whether Get finds
// r now. Refused are: Pass, Transient, any with Pieces, what is larger than MaxSize,
// and what is older than what is there.
func (s *Store) Offer(r *response.Response) (kept bool) {
	if !s.up.Load() {
		return false
	}
	if r.Transient || r.Kind == response.Pass || r.Pieces != nil || s.size(r) > s.maxSize {
		s.counts.refused.Add(1)
		return false
	}
	if !s.admits(r) {
		s.counts.rejected.Add(1)
		return false
	}
	body, err := wholeBody(r.Body)
	if err == nil {
		err = s.put(r, body, record.Sum(body))
	}
	if err != nil {
		s.counts.refused.Add(1)
		return false
	}
	return true
}

// size is what r takes, in RAM or on disk, whichever is more.
func (s *Store) size(r *response.Response) int64 {
	if r.Body == nil {
		return r.Size()
	}
	return r.Size() - int64(cap(r.Body.Bytes())) + max(int64(cap(r.Body.Bytes())), r.Body.Len())
}

// wholeBody is the content, nil for no body. It may lie in another store.
func wholeBody(b response.Body) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	if bytes := b.Bytes(); bytes != nil || b.Len() == 0 {
		return bytes, nil
	}
	from, err := b.Open(0, b.Len())
	if err != nil {
		return nil, err
	}
	bytes := make([]byte, b.Len())
	_, err = io.ReadFull(from, bytes)
	if e := from.Close(); err == nil {
		err = e
	}
	return bytes, err
}

// put appends r and points the index at it.
func (s *Store) put(r *response.Response, body []byte, bodySum uint64) error {
	var patience *time.Timer
	defer func() {
		if patience != nil {
			patience.Stop()
		}
	}()
	key := r.Key.Sum.Lo
	for {
		// What is there is looked at without the lock. It is the same record if the index
		// says the same place once the lock is held.
		there, ok := s.index.Get(key)
		if ok && s.outranks(there, r) {
			return errRefused
		}
		s.mu.Lock()
		if now, still := s.index.Get(key); still != ok || ok && !now.At(there) {
			s.mu.Unlock()
			continue
		}
		room, err := s.append(r, body, bodySum, ok)
		wait, noRoom := s.mu.changed, s.mu.noRoom
		s.mu.Unlock()
		if room || err != nil {
			return err
		}
		s.poke()
		if noRoom {
			return errRefused
		}
		if patience == nil {
			patience = time.NewTimer(putWait)
		}
		select {
		case <-wait:
		case <-s.down:
		case <-s.done:
			return errRefused
		case <-patience.C:
			s.mu.Lock()
			s.mu.noRoom = true // until a segment is there: the next ones don't wait
			s.mu.Unlock()
			return errRefused
		}
	}
}

// outranks reports whether what is stored in the slot stays when r comes: it has the
// same log and generation and was born later. What cannot be read gives way.
func (s *Store) outranks(there index.Slot, r *response.Response) bool {
	g := s.pin(there.Segment)
	if g == nil {
		return false
	}
	defer g.release()
	var b [record.PrefixSize]byte
	if err := readFull(g, b[:], int64(there.Offset)); err != nil {
		if !errors.Is(err, record.ErrDamaged) {
			s.fail("read a record", err)
		}
		return false
	}
	p, err := record.ParsePrefix(b[:], s.place(g))
	return err == nil && p.Sum == r.Key.Sum && p.Log == r.Log && p.Generation == r.Generation && p.Born > r.Born
}

func (s *Store) place(g *segment) record.Place {
	return record.Place{Cache: s.cache, Segment: g.number}
}

// append writes the record of r. room is false, and nothing was done, when there is no
// segment for it now. Callers hold mu.
func (s *Store) append(r *response.Response, body []byte, bodySum uint64, supersedes bool) (room bool, err error) {
	if s.mu.closed || !s.up.Load() {
		return false, errRefused
	}
	put := s.mu.put + 1
	b, err := record.Append(s.mu.buf[:0], record.Place{Cache: s.cache}, put, r, int64(len(body)), bodySum)
	if err != nil {
		return false, err
	}
	s.mu.buf = b
	size := record.Size(len(b)-record.PrefixSize, int64(len(body)))
	if !s.fitsEmpty(size) {
		return false, errRefused
	}
	g := s.segmentForPut(size)
	if g == nil {
		return false, nil
	}
	record.Readdress(b, g.number)
	if len(body) <= oneWrite {
		b, body = append(b, body...), nil
		s.mu.buf = b
	}
	if err := s.write(g, b, body, size); err != nil {
		return false, err
	}
	if cap(s.mu.buf) > 4*oneWrite {
		s.mu.buf = nil
	}
	s.mu.put = put
	e := record.Entry{
		Sum: r.Key.Sum, Put: put, Offset: uint32(g.end), Length: uint32(size), Type: record.Stored, Kind: r.Kind,
	}
	slot := index.Slot{Segment: g.number, Offset: e.Offset, Length: e.Length, Flags: orderOf(put) | index.Verified}
	if supersedes {
		slot.Flags |= index.Supersedes
	}
	g.note(e)
	g.end += size
	g.live.Add(size)
	if old, replaced := s.index.Put(r.Key.Sum.Lo, slot); replaced {
		s.forget(old)
	}
	s.counts.admitted.Add(1)
	s.counts.admittedBytes.Add(size)
	s.policy.earn(size, 2*s.segmentSize)
	return true, nil
}

// forget takes what the index points to no more out of its segment's books.
func (s *Store) forget(old index.Slot) {
	if g := s.table()[old.Segment]; g != nil {
		g.live.Add(-int64(old.Length))
	}
}

// fitsEmpty reports whether a segment that has nothing else can hold a record of n bytes.
func (s *Store) fitsEmpty(n int64) bool {
	return record.SegmentHeaderSize+n+record.FooterSize(1) <= s.segmentSize
}

// write writes a record of size bytes at the end of g: head, and body after it. An error
// has taken the store out of service. Until the caller notes it the segment is as it was.
// Callers hold mu.
func (s *Store) write(g *segment, head, body []byte, size int64) (err error) {
	// Not before: a sync between that and the write would make it forgotten.
	defer g.dirty.Store(true)
	if len(body) > 0 {
		// It comes first: where there is a head, a process that was killed had written the
		// body.
		_, err = g.file.WriteAt(body, g.end+int64(len(head)))
	}
	if err == nil {
		_, err = g.file.WriteAt(head, g.end)
	}
	if err != nil {
		s.fail("write a record", err)
		return err
	}
	s.counts.written.Add(size)
	return nil
}

// segmentFor is the segment that takes the next record of n bytes, nil if there is none
// now. What eviction keeps goes where other such records are, so that what is hot is
// rewritten seldom; for want of a hot segment it goes where there is room. Callers hold
// mu.
func (s *Store) segmentFor(n int64, hot bool) *segment {
	if g := s.mu.hot; hot && g != nil && g.fits(n, s.segmentSize) {
		return g
	}
	if hot && s.separate() {
		if s.mu.hot != nil {
			s.mu.sealing = append(s.mu.sealing, s.mu.hot)
			s.mu.hot = nil
		}
		if g := s.takeSpare(); g != nil {
			if err := s.writeHeader(g, true); err != nil {
				s.fail("write the header of a segment", err)
				return nil
			}
			s.mu.hot, s.mu.wantHot = g, false
			return g
		}
		s.mu.wantHot = true
	}
	needs := n
	if hot && n > record.PrefixSize {
		needs += s.tombstoneRoom()
	}
	if g := s.mu.cold; g != nil && g.fits(needs, s.segmentSize) {
		return g
	}
	if hot {
		return nil
	}
	g := s.takeSpare()
	if g == nil {
		if hot := s.mu.hot; n == record.PrefixSize && hot != nil && hot.fits(n, s.segmentSize) {
			return hot // a tombstone must not wait
		}
		return nil
	}
	if s.mu.cold != nil {
		s.mu.sealing = append(s.mu.sealing, s.mu.cold)
	}
	s.mu.cold = g
	return g
}

// separate reports whether there are enough segments to keep hot and cold apart.
func (s *Store) separate() bool { return s.limit/s.segmentSize >= 8 }

// takeSpare takes the spare segment, nil if there is none. Callers hold mu.
func (s *Store) takeSpare() *segment {
	g := s.mu.spare
	s.mu.spare = nil
	s.poke()
	return g
}

// tombstoneRoom is what puts leave of the last segment for what must be said of those
// that are being evicted to make another.
func (s *Store) tombstoneRoom() int64 { return min(s.segmentSize/8, 256<<10) }

// segmentForPut is segmentFor for what is new. Callers hold mu.
func (s *Store) segmentForPut(n int64) *segment {
	if g := s.mu.cold; s.mu.spare == nil && (g == nil || !g.fits(n+s.tombstoneRoom(), s.segmentSize)) {
		return nil
	}
	return s.segmentFor(n, false)
}

// bury writes a tombstone: what was put under the key up to that number is gone, also
// after a restart. When there is no room it is owed. Callers hold mu.
func (s *Store) bury(t tombstone, hot bool) {
	if !s.up.Load() {
		return
	}
	const size = record.PrefixSize
	g := s.segmentFor(size, hot)
	if g == nil {
		if len(s.mu.owed) == maxOwed {
			s.mu.owed = s.mu.owed[1:]
		}
		s.mu.owed = append(s.mu.owed, t)
		return
	}
	s.mu.buf = record.AppendTombstone(s.mu.buf[:0], s.place(g), t.put, xxh3.Uint128{Hi: t.hi, Lo: t.lo})
	if s.write(g, s.mu.buf, nil, size) != nil {
		return
	}
	e := record.Entry{Put: t.put, Offset: uint32(g.end), Length: size, Type: record.Tombstone}
	e.Sum.Hi, e.Sum.Lo = t.hi, t.lo
	g.note(e)
	g.end += size
}

// Delete drops what stands under key, for good: it does not come back by a restart.
func (s *Store) Delete(key response.Key) {
	if !s.up.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, ok := s.index.Get(key.Sum.Lo)
	if s.mu.closed || !ok || !s.index.Delete(key.Sum.Lo, slot) {
		return
	}
	s.forget(slot)
	s.mu.put++
	s.bury(tombstone{key.Sum.Hi, key.Sum.Lo, s.mu.put}, false)
}

// damaged drops what a slot says if it still says so.
func (s *Store) damaged(hi, lo uint64, slot index.Slot, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up.Load() || s.mu.closed || !s.index.Delete(lo, slot) {
		return
	}
	s.forget(slot)
	s.reportDamage(slot, err)
	if slot.Flags&index.Supersedes != 0 {
		s.mu.put++
		s.bury(tombstone{hi, lo, s.mu.put}, false)
	}
}

func (s *Store) reportDamage(slot index.Slot, err error) {
	s.counts.damaged.Add(1)
	s.log.Warn("damaged record is dropped", "dir", s.cfg.Dir, "segment", slot.Segment, "offset", slot.Offset, "err", err)
}
