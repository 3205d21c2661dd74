package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"freshet/edge/response"
	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
	"freshet/internal/files"
)

// Names of the files of a cache beside its segments.
const (
	superblockName = "freshet-cache"
	newSuperblock  = "freshet-cache.new" // before it is durable
	lockName       = "lock"
)

// Bounds of what a store is made of.
const (
	// fixedSize is what is left of the size for the files beside the segments, in bytes.
	fixedSize = 4 << 10
	// minSegments: one that is appended to, one to come, and something to evict.
	minSegments = 4
	// maxBody is the largest response, in bytes, whatever the segments could hold: put
	// copies it in RAM. A content is cut into slices long before.
	maxBody = 64 << 20
)

// Errors of Open, which names the directory or file and what to do.
var (
	ErrForeign  = record.ErrForeign // the directory holds something else
	ErrNewer    = record.ErrNewer   // a newer version has written it
	ErrDamaged  = record.ErrDamaged // the superblock cannot be read
	ErrTooSmall = errors.New("too small for a disk cache")
	ErrLocked   = files.ErrLocked // another process uses it
)

// Open opens the cache in a directory, or makes one in an empty or missing directory.
// Besides the errors above it gives those of the disk. A directory that it refuses is
// left as it is.
func Open(cfg Config) (*Store, error) {
	began := time.Now()
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.openDirectory(); err != nil {
		return nil, fmt.Errorf("open disk cache %s: %w", cfg.Dir, err)
	}
	if err := s.start(); err != nil {
		for _, g := range s.table() {
			_ = g.file.Close() // nothing was written that is worth an error of its own
		}
		_ = s.lock.Close()
		return nil, fmt.Errorf("open disk cache %s: %w", cfg.Dir, err)
	}
	s.openedIn = time.Since(began)
	return s, nil
}

// newStore is a store of cfg, with its defaults, that holds nothing yet.
func newStore(cfg Config) (*Store, error) {
	if cfg.FS == nil {
		cfg.FS = files.OS
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.SyncEvery <= 0 {
		cfg.SyncEvery = time.Second
	}
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = defaultSegmentSize(cfg.Size)
	}
	if n := cfg.SegmentSize; n < record.MinSegmentSize || n > record.MaxSegmentSize || n%record.Align != 0 {
		return nil, fmt.Errorf("open disk cache %s: segments of %d bytes: not between %d and %d, or no multiple of %d",
			cfg.Dir, n, record.MinSegmentSize, int64(record.MaxSegmentSize), record.Align)
	}
	s := &Store{
		cfg: cfg, fs: cfg.FS, log: cfg.Log, index: index.New(), policy: newPolicy(cfg.Size),
		wake: make(chan struct{}, 1), done: make(chan struct{}), down: make(chan struct{}),
	}
	s.segments.Store(&map[uint32]*segment{})
	s.mu.changed = make(chan struct{})
	return s, nil
}

// defaultSegmentSize is about a 64th of the store, so that little is evicted at a time;
// small stores have fewer segments. It is what a number of slices takes, with their heads:
// a little less would hold one slice less.
func defaultSegmentSize(size int64) int64 {
	const least, most, small = 4, 256, 2 // slices
	slice := int64(response.SliceSize + usualHead)
	n := segmentOf(min(max(size/64/slice, least), most), slice)
	if size/n < 16 {
		n = segmentOf(small, slice)
	}
	if size-fixedSize < minSegments*n { // whatever its head
		n = segmentOf(1, response.SliceSize+record.MaxHead)
	}
	return n
}

// usualHead is what the head of a slice takes at most, usually, with its prefix.
const usualHead = 8 << 10

// segmentOf is the size of a segment for so many records of a size, in whole pages.
func segmentOf(records, size int64) int64 {
	n := record.SegmentHeaderSize + records*size + record.FooterSize(int(records))
	return (n + 1<<12 - 1) &^ (1<<12 - 1)
}

// openDirectory finds out what the directory is, locks it, and makes a cache of it if it
// is empty.
func (s *Store) openDirectory() error {
	if err := s.recognise(); err != nil {
		return err
	}
	if err := s.fs.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return err
	}
	lock, err := s.fs.Lock(s.path(lockName))
	if errors.Is(err, files.ErrLocked) {
		return fmt.Errorf("%w: a directory serves one process at a time", err)
	}
	if err != nil {
		return err
	}
	s.lock = lock
	// Who had the lock may have made a cache here meanwhile.
	err = s.recognise()
	if err == nil && s.cache == 0 {
		err = s.format()
	}
	if err == nil {
		err = s.measure()
	}
	if err != nil {
		_ = lock.Close()
	}
	return err
}

func (s *Store) path(name string) string { return filepath.Join(s.cfg.Dir, name) }

// recognise reads the superblock, if there is one. A directory without one must be empty.
func (s *Store) recognise() error {
	names, err := s.fs.ReadDir(s.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	other := ""
	for _, entry := range names {
		switch entry.Name() {
		case superblockName:
			return s.readSuperblock()
		case newSuperblock, lockName, "lost+found":
		default:
			other = entry.Name()
		}
	}
	if _, ok := segmentNumber(other); ok {
		return fmt.Errorf("%w: %s is missing beside its segments; remove them, or the directory, to begin anew",
			record.ErrDamaged, superblockName)
	}
	if other != "" {
		return fmt.Errorf("%w: it holds %s; give the cache a directory of its own", record.ErrForeign, other)
	}
	return nil
}

func (s *Store) readSuperblock() error {
	f, err := s.fs.OpenFile(s.path(superblockName), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 4096)
	n, err := f.ReadAt(b, 0)
	if e := f.Close(); errors.Is(err, io.EOF) {
		err = e
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	super, err := record.ParseSuperblock(b[:n])
	switch {
	case err == nil:
		s.cache, s.segmentSize = super.Cache, super.SegmentSize
		return nil
	case errors.Is(err, record.ErrNewer):
		return fmt.Errorf("%s: %w; run that version, or remove the directory to begin anew", superblockName, err)
	default:
		return fmt.Errorf("%s: %w; remove the directory to begin anew, or give the cache another one", superblockName, err)
	}
}

// format makes a cache of an empty directory. The superblock appears whole or not at all.
func (s *Store) format() error {
	var id [8]byte
	for s.cache == 0 {
		if _, err := rand.Read(id[:]); err != nil {
			return err
		}
		s.cache = binary.LittleEndian.Uint64(id[:])
	}
	s.segmentSize = s.cfg.SegmentSize
	if err := s.measure(); err != nil {
		return err
	}
	super := record.Superblock{Cache: s.cache, SegmentSize: s.segmentSize, Created: s.cfg.Now()}
	f, err := s.fs.OpenFile(s.path(newSuperblock), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(super.Append(nil), 0)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = s.fs.Rename(s.path(newSuperblock), s.path(superblockName))
	}
	if err == nil {
		err = s.fs.SyncDir(s.cfg.Dir)
	}
	if err == nil {
		// The directory itself may be new. Whose parent may not be read has been given one.
		if err = s.fs.SyncDir(filepath.Dir(s.cfg.Dir)); errors.Is(err, fs.ErrPermission) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("make a disk cache: %w", err)
	}
	return nil
}

// measure says what fits.
func (s *Store) measure() error {
	segments := (s.cfg.Size - fixedSize) / s.segmentSize
	if segments < minSegments {
		return fmt.Errorf("%w: %d bytes; with segments of %d it takes %d",
			ErrTooSmall, s.cfg.Size, s.segmentSize, fixedSize+minSegments*s.segmentSize)
	}
	s.limit = segments * s.segmentSize
	s.maxSize = min(s.segmentSize-record.SegmentHeaderSize-record.FooterSize(1)-record.PrefixSize, maxBody)
	return nil
}

// start recovers what is there and starts the goroutines, the first of which makes the
// store ready for puts.
func (s *Store) start() error {
	if err := s.recover(); err != nil {
		return err
	}
	s.up.Store(true)
	if s.used.Load() > s.limit { // the size was lowered
		if err := s.prepare(); err != nil {
			return err
		}
		if err := s.sealFull(); err != nil { // only what is sealed can be evicted
			return err
		}
		for s.used.Load() > s.limit {
			if made, err := s.makeRoom(); err != nil {
				return err
			} else if !made {
				break
			}
		}
	}
	s.full.Store(s.used.Load()+2*s.segmentSize > s.limit)
	s.work.Add(2)
	go s.maintain()
	go s.keepDurable()
	if s.cfg.ScrubRate > 0 {
		s.work.Add(1)
		go s.scrub()
	}
	return nil
}

// settle leaves the directory as the next Open likes it best: every segment has a
// footer, and none is empty.
func (s *Store) settle() error {
	s.mu.Lock()
	for _, t := range s.mu.owed {
		s.bury(t, false)
	}
	s.mu.owed = nil
	for _, g := range []*segment{s.mu.cold, s.mu.hot, s.mu.spare} {
		if g == nil {
			continue
		}
		if len(g.entries) > 0 {
			s.mu.sealing = append(s.mu.sealing, g)
		} else if err := s.fs.Remove(g.path); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	s.mu.cold, s.mu.hot, s.mu.spare = nil, nil, nil
	s.mu.Unlock()
	if err := s.sealFull(); err != nil {
		return err
	}
	return s.syncDir()
}
