package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"freshet/edge/store/disk/record"
)

// Damage is a part of a cache that is not what was written. A store that finds it at work
// drops what it touches: it costs hits, and nothing wrong is served.
type Damage struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"` // of the record or part, in the file
	Length int64  `json:"length"` // 0 where it cannot be told
	Part   string `json:"part"`   // size, header, footer, prefix, head or body
	Key    string `json:"key"`    // text of the record's key, if that is readable
	Live   bool   `json:"live"`   // the record is a stored response, not a superseded one
}

// Verification is what Verify has found.
type Verification struct {
	Records int64 `json:"records"` // all that were looked at, tombstones and superseded ones included
	Good    int64 `json:"good"`    // those of them that are what was written
	Bytes   int64 `json:"bytes"`   // that were read
	Damaged int64 `json:"damaged"` // parts that are not what was written
	// Unfinished counts segments whose last record is not whole: it is being written, or
	// was when the edge was killed. It counts as never stored.
	Unfinished int64 `json:"unfinished"`
	Skipped    int64 `json:"skipped"` // segments that were evicted meanwhile
}

// verifier verifies one segment after the other.
type verifier struct {
	*Inspection
	ctx      context.Context
	found    func(Damage) error
	progress func(done, total int64)
	result   Verification

	g    *segment
	base int64 // bytes of the segments before
	span span
}

// Verify reads every record of the cache, the superseded ones too, and checks every
// checksum. It calls found for each damaged part, and progress with bytes done and to do
// now and then; an error of found ends it and is returned, as are ctx's and those of the
// disk.
func (in *Inspection) Verify(ctx context.Context, found func(Damage) error, progress func(done, total int64)) (Verification, error) {
	v := &verifier{Inspection: in, ctx: ctx, found: found, progress: progress}
	seen := 0
	err := in.eachOpen(func(g *segment) error {
		seen++
		v.g, v.span = g, span{segment: g, buf: v.span.buf}
		err := v.segment()
		v.base += in.store.segmentSize
		return err
	})
	v.result.Skipped = int64(len(in.segments) - seen)
	return v.result, err
}

func (v *verifier) damage(d Damage) error {
	d.File = filepath.Base(v.g.path)
	v.result.Damaged++
	return v.found(d)
}

// step notes how far the work is.
func (v *verifier) step(at int64) error {
	v.progress(v.base+at, int64(len(v.segments))*v.store.segmentSize)
	return v.ctx.Err()
}

func (v *verifier) segment() error {
	_, err := v.header(v.g)
	size, sizeErr := v.g.file.Size() // after the header: that is written to a file of full length
	if sizeErr != nil {
		return sizeErr
	}
	v.span.size = size
	if isNoHeader(err) {
		// A file of zeros is a segment that is being made, or was.
		if zero, err := v.zeros(0, size); zero || err != nil {
			return err
		}
		v.span.have = nil
		_, err = v.header(v.g) // has it been written since it was read?
	}
	if isNoHeader(err) {
		return v.damage(Damage{Part: "header", Length: record.SegmentHeaderSize})
	}
	if err != nil {
		return err
	}
	if size != v.store.segmentSize {
		if err := v.damage(Damage{Part: "size", Offset: size, Length: v.store.segmentSize - size}); err != nil {
			return err
		}
	}
	entries, _, err := v.store.readFooter(v.g)
	if errors.Is(err, record.ErrDamaged) {
		return v.open(size)
	}
	if err != nil {
		return err
	}
	return v.sealed(entries)
}

// isNoHeader reports whether err says that a file does not begin as a segment.
func isNoHeader(err error) bool {
	return errors.Is(err, record.ErrDamaged) || errors.Is(err, record.ErrNewer)
}

// sealed verifies a segment whose footer says where the records are.
func (v *verifier) sealed(entries []record.Entry) error {
	for _, e := range entries {
		if err := v.step(int64(e.Offset)); err != nil {
			return err
		}
		v.result.Records++
		v.result.Bytes += int64(e.Length)
		p, d, err := v.record(int64(e.Offset))
		if err != nil {
			return err
		}
		if d == nil && (p.Sum != e.Sum || p.Put != e.Put || p.Size() != int64(e.Length) || p.Type != e.Type) {
			d = &Damage{Part: "prefix"} // right, but of another record
		}
		if d == nil {
			v.result.Good++
			continue
		}
		d.Offset, d.Length, d.Live = int64(e.Offset), int64(e.Length), v.live(v.g, e)
		if err := v.damage(*d); err != nil {
			return err
		}
	}
	return nil
}

// open verifies a segment without a footer, record by record. What is not a right record
// is damage if another one comes behind it; else it is the unfinished end.
func (v *verifier) open(size int64) error {
	torn, err := v.tornFooter(size)
	if err != nil {
		return err
	}
	if torn {
		if entries, _, err := v.store.readFooter(v.g); err == nil { // it was just being written
			return v.sealed(entries)
		}
		if err := v.damage(Damage{Part: "footer", Offset: v.store.segmentSize - record.TrailerSize, Length: record.TrailerSize}); err != nil {
			return err
		}
	}
	for at := int64(record.SegmentHeaderSize); at < size; {
		if err := v.step(at); err != nil {
			return err
		}
		p, d, err := v.record(at)
		if err != nil {
			return err
		}
		if d == nil {
			v.result.Records++
			v.result.Good++
			v.result.Bytes += p.Size()
			at += p.Size()
			continue
		}
		next, err := v.next(at+record.Align, size)
		if err != nil {
			return err
		}
		if next == 0 && torn {
			return nil // what follows is the footer
		}
		if next == 0 {
			return v.tail(at, size)
		}
		// The record behind it was written later. Was this one written since it was read?
		v.span.have = nil
		if _, again, err := v.record(at); err != nil {
			return err
		} else if again == nil {
			continue
		}
		v.result.Records++
		v.result.Bytes += next - at
		d.Offset, d.Length = at, next-at
		d.Live = p.Type == record.Stored && v.live(v.g, record.Entry{Sum: p.Sum, Type: p.Type, Offset: uint32(at)})
		if err := v.damage(*d); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// tail looks at what follows the last right record: nothing, or one that is not whole.
func (v *verifier) tail(at, size int64) error {
	zero, err := v.zeros(at, min(size, at+record.PrefixSize))
	if err == nil && !zero {
		v.result.Unfinished++
	}
	return err
}

// tornFooter reports whether a segment without a right footer ends with a trailer, or
// what is left of one: then it was sealed.
func (v *verifier) tornFooter(size int64) (bool, error) {
	if size < v.store.segmentSize {
		return false, nil // reported as such
	}
	zero, err := v.zeros(size-record.TrailerSize, size)
	return !zero, err
}

// record reads one record and says what of it is damaged, nil for nothing. The prefix is
// there as far as it can be read.
func (v *verifier) record(at int64) (record.Prefix, *Damage, error) {
	b, err := v.span.bytes(at, record.PrefixSize)
	p := record.Prefix{}
	if err == nil {
		p, err = record.ParsePrefix(b, v.store.place(v.g))
	}
	if d, err := damageOf("prefix", err); d != nil || err != nil {
		return p, d, err
	}
	head, err := v.span.bytes(at+record.PrefixSize, p.HeadLen)
	if err == nil {
		if err = p.CheckHead(head); err == nil && p.Type == record.Stored {
			_, err = p.ParseHead(head)
		}
	}
	if d, err := damageOf("head", err); d != nil || err != nil {
		return p, d, err
	}
	key := string(p.KeyText(head))
	sum := record.NewSum()
	for from, left := at+p.BodyOffset(), p.BodyLen; left > 0; {
		n := min(left, int64(spanSize))
		b, err := v.span.bytes(from, int(n))
		if d, err := damageOf("body", err); d != nil || err != nil {
			if d != nil {
				d.Key = key
			}
			return p, d, err
		}
		_, _ = sum.Write(b) // never fails
		from, left = from+n, left-n
	}
	if p.HasBody && sum.Sum64() != p.BodySum {
		return p, &Damage{Part: "body", Key: key}, nil
	}
	return p, nil, nil
}

// damageOf tells damage from errors of the disk.
func damageOf(part string, err error) (*Damage, error) {
	if errors.Is(err, record.ErrDamaged) {
		return &Damage{Part: part}, nil
	}
	return nil, err
}

// next is where the next right prefix is, from at on; 0 if there is none.
func (v *verifier) next(at, size int64) (int64, error) {
	for ; at+record.PrefixSize <= size; at += record.Align {
		b, err := v.span.bytes(at, record.PrefixSize)
		if err != nil {
			return 0, err
		}
		if binary.LittleEndian.Uint32(b) == 0 {
			continue // quick on what was never written
		}
		if _, err := record.ParsePrefix(b, v.store.place(v.g)); err == nil {
			return at, nil
		}
		if at%spanSize == 0 {
			if err := v.step(at); err != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}

// zeros reports whether the bytes from..to are all zero.
func (v *verifier) zeros(from, to int64) (bool, error) {
	for from < to {
		n := min(to-from, spanSize)
		b, err := v.span.bytes(from, int(n))
		if err != nil {
			return false, err
		}
		if len(bytes.TrimLeft(b, "\x00")) > 0 {
			return false, nil
		}
		from += n
	}
	return true, nil
}

// spanSize is how much of a segment is read at a time; a head is shorter.
const spanSize = 1 << 20

// span reads a segment in long runs.
type span struct {
	segment *segment
	size    int64 // of its file
	buf     []byte
	have    []byte // what was read
	at      int64  // where have begins
}

// bytes are n bytes at that place, spanSize at most, until the next call.
func (s *span) bytes(at int64, n int) ([]byte, error) {
	if at >= s.at && at+int64(n) <= s.at+int64(len(s.have)) {
		return s.have[at-s.at:][:n], nil
	}
	if s.buf == nil {
		s.buf = make([]byte, spanSize)
	}
	want := min(s.size-at, spanSize)
	if want < int64(n) {
		return nil, fmt.Errorf("%w: %s ends at %d", record.ErrDamaged, s.segment.path, s.size)
	}
	s.have = nil
	if err := readFull(s.segment, s.buf[:want], at); err != nil {
		return nil, err
	}
	s.have, s.at = s.buf[:want], at
	return s.have[:n], nil
}
