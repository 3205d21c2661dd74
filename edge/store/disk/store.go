package disk

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/response"
	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
	"freshet/internal/files"
)

// Config says where a store lies and how it behaves.
type Config struct {
	// Dir is the directory, made if it is missing. It belongs to the store alone.
	Dir string
	// Size is what the files in Dir take at most, in bytes, all of them counted.
	Size int64
	// SegmentSize is the size of one segment in bytes, for a new cache only: one that
	// is there keeps its own. 0: what is about a 64th of Size and holds a whole number of
	// slices, 4 to 256; 2, or one, for a store so small that it would have few segments.
	SegmentSize int64
	FS          files.FS         // nil: files.OS
	Now         func() time.Time // nil: time.Now
	Log         *slog.Logger     // nil: none
	// SyncEvery is how often what was written is made durable. 0: a second.
	SyncEvery time.Duration
	// ScrubRate is how many bytes a second are read again to find rot. 0: none.
	ScrubRate int64
}

// SmallBody is the longest body, in bytes, that Get reads into RAM at once.
const SmallBody = 64 << 10

// Store is a cache in one directory. It is a store.Store.
//
// Locks: whatever changes where a key points, or appends, does it under mu, so the order
// of the log is the order of the index. Get takes no lock of the store; it pins the
// segment that the index names and believes nothing but what the record there says.
// Work that takes long (sealing, evicting, making segments, syncing) is done by
// goroutines that hold mu for one record at a time.
type Store struct {
	cfg         Config
	fs          files.FS
	log         *slog.Logger
	cache       uint64 // the id of this cache
	segmentSize int64
	limit       int64 // what segments may take in all
	maxSize     int64
	openedIn    time.Duration
	recovered   []*segment // that maintain is to look at first

	index    *index.Index
	segments atomic.Pointer[map[uint32]*segment] // copied to be changed, under mu
	used     atomic.Int64                        // bytes of all segments, removed ones that are pinned too
	pinned   atomic.Int64                        // bytes of the latter
	idle     atomic.Int64                        // handles that stand open
	up       atomic.Bool
	full     atomic.Bool // there was no room for another segment once
	policy   *policy

	mu struct {
		sync.Mutex
		closed bool
		put    uint64 // the last put number given out
		number uint32 // the last segment number given out

		cold, hot *segment   // what is appended to: what is put, what eviction keeps
		spare     *segment   // made and empty, the next of either
		sealing   []*segment // full, their footers not written yet
		wantHot   bool       // eviction found no segment for what it keeps

		noRoom  bool          // nothing can be made room by, for now
		changed chan struct{} // closed, and another one made, when spare or noRoom changes
		owed    []tombstone   // not written yet for want of room
		buf     []byte        // of the record that is being appended
	}

	wake    chan struct{} // for maintain: there may be something to do
	done    chan struct{} // closed by Close
	down    chan struct{} // closed by fail
	failing sync.Once
	work    sync.WaitGroup
	lock    io.Closer // of the directory

	syncing   sync.Mutex     // held while the open segments are synced
	verifying [64]sync.Mutex // by record: one reader verifies a body, the others wait

	counts counts
}

// tombstone is one to be written.
type tombstone struct{ hi, lo, put uint64 }

// Get is the response under key, nil if there is none. Its body, when longer than
// SmallBody, stays on disk.
func (s *Store) Get(key response.Key) *response.Response {
	if !s.up.Load() {
		return nil
	}
	slot, ok := s.index.Hit(key.Sum.Lo)
	if !ok {
		s.counts.misses.Add(1)
		return nil
	}
	r, err := s.read(key, slot)
	switch {
	case err == nil:
		s.counts.hits.Add(1)
		s.policy.asked(key.Sum.Lo, int64(slot.Length))
		return r
	case errors.Is(err, record.ErrDamaged):
		s.damaged(key.Sum.Hi, key.Sum.Lo, slot, err)
	case errors.Is(err, errGone), errors.Is(err, errOtherKey):
	default:
		s.fail("read a record", err)
	}
	s.counts.misses.Add(1)
	return nil
}

// Has reports, from the index alone, whether Get is likely to find something.
func (s *Store) Has(key response.Key) bool {
	if !s.up.Load() {
		return false
	}
	_, ok := s.index.Get(key.Sum.Lo)
	return ok
}

// Put is Offer.
func (s *Store) Put(r *response.Response) { s.Offer(r) }

// MaxSize is the largest response that the store takes.
func (s *Store) MaxSize() int64 { return s.maxSize }

// Capacity is the size of the store.
func (s *Store) Capacity() int64 { return s.cfg.Size }

// Close writes what a restart needs to be warm and releases the directory. Bodies that
// were given out can be opened no more; readers that are open go on.
func (s *Store) Close() {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return
	}
	s.mu.closed = true
	s.mu.Unlock()
	close(s.done)
	s.work.Wait()
	if s.up.Load() {
		if err := s.settle(); err != nil {
			s.fail("close", err)
		}
	}
	s.up.Store(false)
	s.index.Clear()
	s.mu.Lock()
	segments := *s.segments.Load()
	s.segments.Store(&map[uint32]*segment{})
	s.mu.Unlock()
	for _, g := range segments {
		g.release()
	}
	if err := s.lock.Close(); err != nil {
		s.log.Warn("disk cache is not unlocked", "dir", s.cfg.Dir, "err", err)
	}
}

// fail takes the store out of service: it holds nothing any more, and tries nothing
// that may fail again. It may be called with mu held.
func (s *Store) fail(what string, err error) {
	if errors.Is(err, os.ErrClosed) {
		return // Close was faster
	}
	s.failing.Do(func() {
		s.up.Store(false)
		close(s.down)
		s.index.Clear()
		s.log.Error("disk cache is out of service", "dir", s.cfg.Dir, "op", what, "err", err)
	})
}

// table is what segments there are. Nobody changes it.
func (s *Store) table() map[uint32]*segment { return *s.segments.Load() }

// setTable puts a changed copy in its place. Callers hold mu.
func (s *Store) setTable(change func(map[uint32]*segment)) {
	next := make(map[uint32]*segment, len(s.table())+1)
	for n, g := range s.table() {
		next[n] = g
	}
	change(next)
	s.segments.Store(&next)
}

// pin acquires the segment with that number, nil if it is gone.
func (s *Store) pin(number uint32) *segment {
	if g := s.table()[number]; g != nil && g.acquire() {
		return g
	}
	return nil
}

// poke makes maintain look for something to do.
func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// announce tells those who wait for room that something has changed. Callers hold mu.
func (s *Store) announce() {
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

// freed is called when nobody uses a segment any more.
func (s *Store) freed(g *segment) {
	for _, file := range g.handles.idle { // nobody else has the segment any more
		_ = file.Close() // it was only read from
	}
	s.idle.Add(-int64(len(g.handles.idle)))
	if err := g.file.Close(); err != nil {
		s.log.Warn("segment is not closed", "file", g.path, "err", err)
	}
	if g.removed.Load() {
		s.pinned.Add(-s.segmentSize)
		s.used.Add(-s.segmentSize)
		s.poke()
	}
}
