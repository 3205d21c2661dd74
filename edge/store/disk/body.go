package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/zeebo/xxh3"

	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
)

// keepWhole is the longest body, in bytes, that the reader who verifies it gets from RAM:
// a slice. A longer one is read twice.
const keepWhole = 2 << 20

// copyBelow is the shortest section, in bytes, for which a system call that lets the
// kernel copy pays.
const copyBelow = 16 << 10

// chunk is how much is read at a time where a body is copied.
const chunk = 256 << 10

var chunks = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}

// body is the content of a record that stays on disk. It holds nothing open.
type body struct {
	store   *Store
	sum     xxh3.Uint128 // of the key
	slot    index.Slot
	off     int64 // of the body in the segment
	length  int64
	bodySum uint64
}

// Len is the size in bytes.
func (b *body) Len() int64 { return b.length }

// Bytes is nil: the content is not in RAM.
func (b *body) Bytes() []byte { return nil }

// Open reads n bytes from off on. The first one since the store was opened verifies the
// whole body.
func (b *body) Open(off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < 0 || off > b.length-n {
		return nil, fmt.Errorf("open %d bytes at %d of a body of %d", n, off, b.length)
	}
	s := b.store
	if !s.up.Load() {
		return nil, fmt.Errorf("open a body: %w", errGone)
	}
	g := s.pin(b.slot.Segment)
	if g == nil {
		if b, g = b.moved(); g == nil {
			return nil, fmt.Errorf("open a body: %w", errGone)
		}
	}
	whole, err := b.verify(g)
	if err != nil {
		g.release()
		if errors.Is(err, record.ErrDamaged) {
			s.damaged(b.sum.Hi, b.sum.Lo, b.slot, err)
		} else {
			s.fail("read a body", err)
		}
		return nil, fmt.Errorf("open a body: %w", err)
	}
	r := &section{store: s, segment: g, off: b.off + off, left: n}
	if whole != nil {
		r.memory = whole[off : off+n]
	}
	return r, nil
}

// moved is the same body where eviction has rewritten it to, if it has, with its segment
// pinned.
func (b *body) moved() (*body, *segment) {
	s := b.store
	slot, ok := s.index.Get(b.sum.Lo)
	if !ok {
		return nil, nil
	}
	g := s.pin(slot.Segment)
	if g == nil {
		return nil, nil
	}
	var prefix [record.PrefixSize]byte
	if readFull(g, prefix[:], int64(slot.Offset)) == nil {
		p, err := record.ParsePrefix(prefix[:], s.place(g))
		if err == nil && p.Sum == b.sum && p.BodySum == b.bodySum && p.BodyLen == b.length {
			to := *b
			to.slot, to.off = slot, int64(slot.Offset)+p.BodyOffset()
			return &to, g
		}
	}
	g.release()
	return nil, nil
}

// verify compares the body with its checksum, once for all readers, and gives the bytes
// if it had to read them and they are few.
func (b *body) verify(g *segment) ([]byte, error) {
	s := b.store
	if b.verified() {
		return nil, nil
	}
	one := &s.verifying[(uint64(b.slot.Segment)*31+uint64(b.slot.Offset)/record.Align)%uint64(len(s.verifying))]
	one.Lock()
	defer one.Unlock()
	if b.verified() {
		return nil, nil
	}
	var whole []byte
	var sum uint64
	if b.length <= keepWhole {
		whole = make([]byte, b.length)
		if err := readFull(g, whole, b.off); err != nil {
			return nil, err
		}
		sum = record.Sum(whole)
	} else {
		var err error
		if sum, err = sumOf(g, b.off, b.length); err != nil {
			return nil, err
		}
	}
	if sum != b.bodySum {
		return nil, fmt.Errorf("%w: the body is not what was written", record.ErrDamaged)
	}
	s.index.Mark(b.sum.Lo, b.slot, index.Verified, 0)
	return whole, nil
}

// verified asks the index: what it says of the same place holds for the same bytes.
func (b *body) verified() bool {
	if b.slot.Flags&index.Verified != 0 {
		return true
	}
	now, ok := b.store.index.Get(b.sum.Lo)
	return ok && now.At(b.slot) && now.Flags&index.Verified != 0
}

// sumOf is the checksum of a part of a segment.
func sumOf(g *segment, off, n int64) (uint64, error) {
	pooled := chunks.Get().(*[]byte)
	defer chunks.Put(pooled)
	h := record.NewSum()
	for n > 0 {
		b := (*pooled)[:min(n, chunk)]
		if err := readFull(g, b, off); err != nil {
			return 0, err
		}
		_, _ = h.Write(b) // never fails
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return h.Sum64(), nil
}

// section reads a part of a verified body. It pins the segment: the file stays, with or
// without its name, until the section is closed.
type section struct {
	store   *Store
	segment *segment
	off     int64 // of what comes next
	left    int64
	memory  []byte // what comes next, when it was read already
	closing sync.Once
}

// Close lets the segment go.
func (r *section) Close() error {
	r.closing.Do(r.segment.release)
	return nil
}

// Read reads what comes next.
func (r *section) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.left)]
	if r.memory != nil {
		copy(p, r.memory)
	} else if err := readFull(r.segment, p, r.off); err != nil {
		return 0, r.broken(err)
	}
	r.advance(int64(len(p)))
	return len(p), nil
}

func (r *section) advance(n int64) {
	r.off, r.left = r.off+n, r.left-n
	if r.memory != nil {
		r.memory = r.memory[n:]
	}
}

// broken is the error of a read that failed, for the reader.
func (r *section) broken(err error) error {
	if !errors.Is(err, record.ErrDamaged) {
		r.store.fail("read a body", err)
	}
	return fmt.Errorf("body breaks off: %w", err)
}

// WriteTo writes all that is left. A writer that is an io.ReaderFrom is handed the open
// file, limited, for the kernel to copy.
func (r *section) WriteTo(w io.Writer) (int64, error) {
	if r.memory != nil || r.left == 0 {
		return r.writeMemory(w)
	}
	if to, ok := w.(io.ReaderFrom); ok && r.left >= copyBelow {
		// Where it cannot be opened once more, or there are too many open files, it is
		// copied.
		if file := r.store.takeHandle(r.segment); file != nil {
			n, err := r.handOver(to, file)
			r.store.keepHandle(r.segment, file)
			return n, err
		}
	}
	return r.copyTo(w)
}

func (r *section) writeMemory(w io.Writer) (int64, error) {
	if r.left == 0 {
		return 0, nil
	}
	n, err := w.Write(r.memory)
	r.advance(int64(n))
	return int64(n), err
}

func (r *section) handOver(to io.ReaderFrom, file *os.File) (int64, error) {
	if _, err := file.Seek(r.off, io.SeekStart); err != nil {
		return 0, r.broken(err)
	}
	n, err := to.ReadFrom(&io.LimitedReader{R: file, N: r.left})
	r.advance(min(n, r.left))
	if r.left == 0 {
		return n, err
	}
	if err == nil {
		return n, fmt.Errorf("body breaks off: %w", io.ErrUnexpectedEOF)
	}
	// Who is to blame, the disk or the client? One byte tells.
	var one [1]byte
	if e := readFull(r.segment, one[:], r.off); e != nil {
		return n, r.broken(e)
	}
	return n, err
}

func (r *section) copyTo(w io.Writer) (int64, error) {
	pooled := chunks.Get().(*[]byte)
	defer chunks.Put(pooled)
	var done int64
	for r.left > 0 {
		b := (*pooled)[:min(r.left, chunk)]
		if err := readFull(r.segment, b, r.off); err != nil {
			return done, r.broken(err)
		}
		n, err := w.Write(b)
		done += int64(n)
		r.advance(int64(n))
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
