package disk

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"freshet/edge/store/disk/record"
	"freshet/internal/files"
)

// segmentSuffix is how the name of a segment's file ends, after its number.
const segmentSuffix = ".segment"

func segmentName(number uint32) string { return fmt.Sprintf("%08d%s", number, segmentSuffix) }

// segmentNumber is the number of a segment by the name of its file.
func segmentNumber(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || segmentName(uint32(n)) != name {
		return 0, false
	}
	return uint32(n), true
}

// segment is one file of records. Its number is never given to another file, so what is
// said of a place in it stays true or becomes a miss.
//
// A segment is open (records are appended to it), then waits to be sealed, then is
// sealed. Only sealed ones are evicted.
type segment struct {
	number uint32
	hot    bool // it takes what eviction keeps
	path   string
	file   files.File

	// refs counts who holds the file open: the store itself, and each read.
	refs    atomic.Int64
	onFree  func(*segment) // the last one let go
	removed atomic.Bool    // the file has no name any more

	// handles are open once more, each for one reader at a time that lets the kernel copy.
	handles struct {
		sync.Mutex
		idle []*os.File
	}

	live  atomic.Int64 // bytes of the records that the index points to
	dirty atomic.Bool  // written to since the last sync

	// Guarded by Store.mu until sealed, then constant, but for filter, which sealing
	// replaces under the lock.
	end     int64          // where the next record goes
	entries []record.Entry // of the footer to come; nil once it is written
	filter  *filter        // of the keys of its stored records
	minPut  uint64         // the lowest put number of its stored records
	maxPut  uint64         // the highest of all its records
	sealed  bool
}

func newSegment(dir string, number uint32, file files.File, onFree func(*segment)) *segment {
	g := &segment{
		number: number, path: filepath.Join(dir, segmentName(number)), file: file, onFree: onFree,
		end: record.SegmentHeaderSize, minPut: math.MaxUint64,
	}
	g.refs.Store(1)
	return g
}

// acquire pins the file; false when it is closed already.
func (g *segment) acquire() bool {
	for {
		n := g.refs.Load()
		if n <= 0 {
			return false
		}
		if g.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *segment) release() {
	if g.refs.Add(-1) == 0 {
		g.onFree(g)
	}
}

// fits reports whether a record of n bytes and its entry in the footer have room.
func (g *segment) fits(n, segmentSize int64) bool {
	return g.end+n+record.FooterSize(len(g.entries)+1) <= segmentSize
}

// note takes an appended record into the books.
func (g *segment) note(e record.Entry) {
	g.entries = append(g.entries, e)
	g.count(e)
}

// count is note for a record that the footer lists already.
func (g *segment) count(e record.Entry) {
	g.maxPut = max(g.maxPut, e.Put)
	if e.Type == record.Stored {
		g.minPut = min(g.minPut, e.Put)
		g.filter.add(e.Sum.Hi, e.Sum.Lo)
	}
}

// mayHold reports whether a stored record of the key that is older than put may lie in
// the segment, dead or alive.
func (g *segment) mayHold(hi, lo, put uint64) bool {
	return g.minPut < put && g.filter.has(hi, lo)
}

// takeHandle is a description of the file with an offset of its own, nil if there is none
// to be had.
func (s *Store) takeHandle(g *segment) *os.File {
	g.handles.Lock()
	if n := len(g.handles.idle); n > 0 {
		file := g.handles.idle[n-1]
		g.handles.idle = g.handles.idle[:n-1]
		g.handles.Unlock()
		s.idle.Add(-1)
		return file
	}
	g.handles.Unlock()
	file, err := g.file.Reopen()
	if err != nil {
		return nil
	}
	return file
}

// maxIdleHandles bounds the files that stand open for the next reader.
const maxIdleHandles = 128

// keepHandle takes back what takeHandle gave.
func (s *Store) keepHandle(g *segment, file *os.File) {
	if s.idle.Add(1) > maxIdleHandles {
		s.idle.Add(-1)
		_ = file.Close() // it was only read from
		return
	}
	g.handles.Lock()
	g.handles.idle = append(g.handles.idle, file)
	g.handles.Unlock()
}
