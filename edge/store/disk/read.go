package disk

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"freshet/edge/response"
	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
)

// Errors of reading.
var (
	errGone     = errors.New("the segment was evicted")
	errOtherKey = errors.New("another key of the same sum")
)

// headGuess is how much of a long record is read to have its head, most likely.
const headGuess = 4 << 10

// readAtOnce is the longest record that is read with its body.
const readAtOnce = headGuess + SmallBody

// scratch are buffers of readAtOnce bytes.
var scratch = sync.Pool{New: func() any { b := make([]byte, readAtOnce); return &b }}

// readFull reads len(b) bytes of a segment. A file that is too short is damaged; another
// error is one of the disk.
func readFull(g *segment, b []byte, off int64) error {
	n, err := g.file.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s ends at %d", record.ErrDamaged, g.path, off+int64(n))
	}
	return fmt.Errorf("read %s at %d: %w", g.path, off, err)
}

// read makes the response that a slot points to. Errors: errGone, errOtherKey,
// record.ErrDamaged; any other is one of the disk.
func (s *Store) read(key response.Key, slot index.Slot) (*response.Response, error) {
	g := s.pin(slot.Segment)
	if g == nil {
		s.index.Delete(key.Sum.Lo, slot)
		return nil, errGone
	}
	defer g.release()
	pooled := scratch.Get().(*[]byte)
	defer scratch.Put(pooled)
	b := *pooled
	if int64(slot.Length) <= readAtOnce {
		b = b[:slot.Length]
	} else {
		b = b[:headGuess]
	}
	if err := readFull(g, b, int64(slot.Offset)); err != nil {
		return nil, err
	}
	p, err := record.ParsePrefix(b, s.place(g))
	if err != nil {
		return nil, err
	}
	if p.Sum.Lo != key.Sum.Lo || p.Type != record.Stored || p.Size() != int64(slot.Length) {
		return nil, fmt.Errorf("%w: not the record that the index says", record.ErrDamaged)
	}
	if p.Sum.Hi != key.Sum.Hi {
		return nil, errOtherKey
	}
	if bodyAt := p.BodyOffset(); bodyAt > int64(len(b)) { // a head that is longer than guessed
		b = make([]byte, bodyAt)
		if err := readFull(g, b, int64(slot.Offset)); err != nil {
			return nil, err
		}
	}
	head := b[record.PrefixSize:p.BodyOffset()]
	r, err := p.ParseHead(head)
	if err != nil {
		return nil, err
	}
	if r.Key.Text != key.Text {
		return nil, errOtherKey
	}
	if !p.HasBody {
		return r, nil
	}
	r.Body, err = s.bodyOf(g, key, slot, &p, b)
	return r, err
}

// bodyOf is the body of a record, of which b was read already.
func (s *Store) bodyOf(g *segment, key response.Key, slot index.Slot, p *record.Prefix, b []byte) (response.Body, error) {
	at := p.BodyOffset()
	if p.BodyLen > SmallBody {
		return &body{
			store: s, sum: key.Sum, slot: slot,
			off: int64(slot.Offset) + at, length: p.BodyLen, bodySum: p.BodySum,
		}, nil
	}
	small := make([]byte, p.BodyLen)
	if at+p.BodyLen <= int64(len(b)) {
		copy(small, b[at:])
	} else if err := readFull(g, small, int64(slot.Offset)+at); err != nil {
		return nil, err
	}
	if err := p.CheckBody(small); err != nil {
		return nil, err
	}
	return response.Memory(small), nil
}

// readRecord reads a whole record and checks all of it: its prefix, head and body, with
// what fills it up.
func (s *Store) readRecord(g *segment, e record.Entry, b []byte) ([]byte, record.Prefix, error) {
	if cap(b) < int(e.Length) {
		b = make([]byte, e.Length)
	}
	b = b[:e.Length]
	if err := readFull(g, b, int64(e.Offset)); err != nil {
		return b, record.Prefix{}, err
	}
	p, err := record.ParsePrefix(b, s.place(g))
	if err != nil {
		return b, p, err
	}
	if p.Sum != e.Sum || p.Put != e.Put || p.Type != e.Type || p.Size() != int64(e.Length) {
		return b, p, fmt.Errorf("%w: not the record that the footer says", record.ErrDamaged)
	}
	if p.Type == record.Tombstone {
		return b, p, nil
	}
	at := p.BodyOffset()
	if err := p.CheckHead(b[record.PrefixSize:at]); err != nil {
		return b, p, err
	}
	return b, p, p.CheckBody(b[at : at+p.BodyLen])
}
