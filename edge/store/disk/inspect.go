package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"freshet/edge/response"
	"freshet/edge/store/disk/record"
	"freshet/internal/files"
)

// ErrNoCache is the error of Inspect when the directory is missing or empty.
var ErrNoCache = errors.New("holds no disk cache")

// Inspection is a cache as it was found by Inspect: a picture of one moment, taken from
// the outside. It changes nothing, takes no lock and needs none: an edge may be using
// the directory meanwhile. What is evicted after that moment is skipped. It is for one
// goroutine.
type Inspection struct {
	Summary Summary

	store    *Store // never started: its index says what is live
	segments []*segment
}

// Summary is what a cache holds.
type Summary struct {
	Version     int    `json:"version"`      // of the format
	ID          string `json:"id"`           // of the cache
	SegmentSize int64  `json:"segment_size"` // bytes
	Segments    int    `json:"segments"`
	Sealed      int    `json:"sealed"` // segments with a right footer; the others are open, or were when the edge ended
	Hot         int    `json:"hot"`    // segments of what eviction has kept
	FileBytes   int64  `json:"file_bytes"`
	Records     int64  `json:"records"` // superseded ones and tombstones included
	Tombstones  int64  `json:"tombstones"`
	Live        Count  `json:"live"` // stored responses
	// Kinds is Live by kind of stored response.
	Kinds map[string]Count `json:"kinds"`
	// Oldest and Newest are when the oldest and the newest segment were begun; zero if
	// there is none.
	Oldest time.Time `json:"oldest"`
	Newest time.Time `json:"newest"`
}

// Count is a number of records and what they take.
type Count struct {
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"` // heads included
}

func (c *Count) add(length uint32) { c.Records++; c.Bytes += int64(length) }

var kindNames = [...]string{
	response.Content: "content", response.Varies: "varies", response.Pass: "pass", response.Partial: "partial",
	response.Search: "search", response.Sliced: "sliced", response.Slice: "slice",
}

// KindName is a kind in a word.
func KindName(k response.Kind) string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", k)
}

// Inspect reads what a cache holds: superblock, footers and, of segments without one, the
// heads of the records. Errors: ErrNoCache, ErrForeign, ErrNewer, ErrDamaged (of the
// superblock), those of the disk, and ctx's. fsys nil is the system's.
func Inspect(ctx context.Context, fsys files.FS, dir string) (*Inspection, error) {
	s, err := newStore(Config{Dir: dir, FS: fsys, SegmentSize: record.MinSegmentSize})
	if err != nil {
		return nil, err
	}
	if _, err := s.fs.ReadDir(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrNoCache, err)
	}
	err = s.recognise()
	if err == nil && s.cache == 0 {
		err = ErrNoCache
	}
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", dir, err)
	}
	in := &Inspection{store: s}
	in.Summary = Summary{Version: record.Version, ID: fmt.Sprintf("%016x", s.cache), SegmentSize: s.segmentSize, Kinds: map[string]Count{}}
	if err := in.load(ctx); err != nil {
		return nil, fmt.Errorf("inspect %s: %w", dir, err)
	}
	return in, nil
}

// load opens all segments, builds the index of them, and sums up. The files are closed
// again: who holds one open keeps its room from being used after eviction.
func (in *Inspection) load(ctx context.Context) error {
	s := in.store
	names, err := s.fs.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	table := map[uint32]*segment{}
	defer func() {
		for _, g := range table {
			_ = g.file.Close() // read only
		}
	}()
	for _, entry := range names {
		number, ok := segmentNumber(entry.Name())
		if !ok {
			continue
		}
		g, err := in.open(number)
		if errors.Is(err, fs.ErrNotExist) {
			continue // evicted just now
		}
		if err != nil {
			return err
		}
		table[number] = g
		in.segments = append(in.segments, g)
	}
	slices.SortFunc(in.segments, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	s.segments.Store(&table)
	return in.sumUp(ctx)
}

// open opens a segment to be read. Whether it is one is not looked at.
func (in *Inspection) open(number uint32) (*segment, error) {
	s := in.store
	file, err := s.fs.OpenFile(s.path(segmentName(number)), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return newSegment(s.cfg.Dir, number, lengthened{file, s.segmentSize}, func(*segment) {}), nil
}

// lengthened is a file that reads as if it had its full length, with zeros in place of an
// end that is lost: opening a store gives it that length.
type lengthened struct {
	files.File
	size int64
}

func (f lengthened) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	if missing := min(int64(len(b)), f.size-off) - int64(n); errors.Is(err, io.EOF) && missing > 0 {
		clear(b[n : int64(n)+missing])
		n += int(missing)
		if n == len(b) {
			err = nil
		}
	}
	return n, err
}

// header reads the header of a segment of this cache; record.ErrDamaged when it is none.
func (in *Inspection) header(g *segment) (record.SegmentHeader, error) {
	var b [record.SegmentHeaderSize]byte
	if err := readFull(g, b[:], 0); err != nil {
		return record.SegmentHeader{}, err
	}
	h, err := record.ParseSegmentHeader(b[:])
	if err == nil && (h.Place != in.store.place(g) || h.Size != in.store.segmentSize) {
		err = fmt.Errorf("%w: it is that of segment %d of cache %016x", record.ErrDamaged, h.Segment, h.Cache)
	}
	return h, err
}

// sumUp builds the index and the summary. Segments without a header are passed over, as
// a store does when it is opened.
func (in *Inspection) sumUp(ctx context.Context) error {
	s, sum := in.store, &in.Summary
	var tombs []uint64
	for _, g := range in.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		size, err := g.file.Size()
		if err != nil {
			return err
		}
		sum.Segments++
		sum.FileBytes += size
		h, err := in.header(g)
		if isNoHeader(err) {
			continue
		}
		if err != nil {
			return err
		}
		l := loader{Store: s, segment: g}
		if err := l.load(); err != nil {
			return err
		}
		tombs = append(tombs, l.tombs...)
		if h.Hot {
			sum.Hot++
		}
		if g.sealed {
			sum.Sealed++
		}
		if sum.Oldest.IsZero() || h.Created.Before(sum.Oldest) {
			sum.Oldest = h.Created
		}
		if h.Created.After(sum.Newest) {
			sum.Newest = h.Created
		}
	}
	for _, key := range tombs { // they have hidden what they are to hide
		if slot, ok := s.index.Get(key); ok && isTombstone(slot) {
			s.index.Delete(key, slot)
		}
	}
	for _, g := range in.segments {
		err := in.entries(g, func(e record.Entry) error {
			sum.Records++
			if e.Type == record.Tombstone {
				sum.Tombstones++
			} else if in.live(g, e) {
				sum.Live.add(e.Length)
				count := sum.Kinds[KindName(e.Kind)]
				count.add(e.Length)
				sum.Kinds[KindName(e.Kind)] = count
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// live reports whether the index points to the record.
func (in *Inspection) live(g *segment, e record.Entry) bool {
	slot, ok := in.store.index.Get(e.Sum.Lo)
	return ok && e.Type == record.Stored && slot.Segment == g.number && slot.Offset == e.Offset
}

// entries walks the records of a segment that can be found: by the footer, else by the
// records themselves, which were listed when the segment was loaded.
func (in *Inspection) entries(g *segment, yield func(record.Entry) error) error {
	if !g.sealed {
		for _, e := range g.entries {
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	}
	var stopped error
	err := in.store.eachEntry(g, func(*record.Trailer) {}, func(e record.Entry) {
		if stopped == nil {
			stopped = yield(e)
		}
	})
	if stopped != nil {
		return stopped
	}
	return err
}

// eachOpen calls f for each segment that is still there, open.
func (in *Inspection) eachOpen(f func(*segment) error) error {
	for _, g := range in.segments {
		opened, err := in.open(g.number)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		g.file = opened.file
		err = f(g)
		if e := g.file.Close(); err == nil {
			err = e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// List calls f for each live stored response, without its body, and with the size that
// its body has: segment by segment, nothing being kept. It reports how many could not be
// read, because their records are damaged or segments were evicted meanwhile. An error of
// f ends it and is returned, as are ctx's and those of the disk.
func (in *Inspection) List(ctx context.Context, f func(r *response.Response, bodyLen int64) error) (unread int64, err error) {
	buf := make([]byte, headGuess)
	listed := int64(0)
	err = in.eachOpen(func(g *segment) error {
		err := in.entries(g, func(e record.Entry) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !in.live(g, e) {
				return nil
			}
			r, bodyLen, err := in.head(g, e, &buf)
			if errors.Is(err, record.ErrDamaged) {
				return nil
			}
			if err != nil {
				return err
			}
			listed++
			return f(r, bodyLen)
		})
		if errors.Is(err, record.ErrDamaged) { // the footer, since it was read first
			err = nil
		}
		return err
	})
	return in.Summary.Live.Records - listed, err
}

// head reads the head of a record.
func (in *Inspection) head(g *segment, e record.Entry, buf *[]byte) (*response.Response, int64, error) {
	b := (*buf)[:min(int64(len(*buf)), int64(e.Length))]
	if err := readFull(g, b, int64(e.Offset)); err != nil {
		return nil, 0, err
	}
	p, err := record.ParsePrefix(b, in.store.place(g))
	if err != nil {
		return nil, 0, err
	}
	if n := p.BodyOffset(); n > int64(len(b)) {
		*buf = make([]byte, n)
		b = *buf
		if err := readFull(g, b, int64(e.Offset)); err != nil {
			return nil, 0, err
		}
	}
	r, err := p.ParseHead(b[record.PrefixSize:p.BodyOffset()])
	return r, p.BodyLen, err
}
