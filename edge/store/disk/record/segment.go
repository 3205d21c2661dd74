package record

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
)

// Sizes of the parts of a segment, in bytes.
const (
	SegmentHeaderSize = 64
	EntrySize         = 40
	TrailerSize       = 64
	MinSegmentSize    = 4 << 10
	MaxSegmentSize    = 1<<32 - Align
)

const (
	segmentMagic = "FRSHseg\n"
	trailerMagic = "FRSHend\n"
	segmentSum   = 56 // where the checksum stands, in header and trailer
)

// SegmentHeader is what a segment begins with.
//
//	 0                8        12       16               24               32
//	 +----------------+--------+--------+----------------+----------------+
//	 | "FRSHseg\n"    | versn. | segmt. | cache          | segment size   |
//	 +----------------+--------+--------+----------------+----------------+
//	32               40 41                              56               64
//	 +----------------+--+-------------------------------+----------------+
//	 | created (ns)   |ht| 0                             | sum of 0..56   |
//	 +----------------+--+-------------------------------+----------------+
type SegmentHeader struct {
	Place
	Size    int64 // of the whole file
	Created time.Time
	Hot     bool // it takes what eviction keeps
}

// Append appends the header to dst.
func (h SegmentHeader) Append(dst []byte) []byte {
	var b [SegmentHeaderSize]byte
	putPlace(b[:], segmentMagic, h.Place)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.Size))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.Created.UnixNano()))
	if h.Hot {
		b[40] = 1
	}
	seal(b[:], segmentSum)
	return append(dst, b[:]...)
}

// ParseSegmentHeader reads the header that b begins with. ErrDamaged or ErrNewer.
func ParseSegmentHeader(b []byte) (SegmentHeader, error) {
	if len(b) < SegmentHeaderSize {
		return SegmentHeader{}, fmt.Errorf("%w: a segment without a header", ErrDamaged)
	}
	b = b[:SegmentHeaderSize]
	at, err := parsePlace(b, segmentMagic)
	if err != nil {
		return SegmentHeader{}, fmt.Errorf("header of a segment: %w", err)
	}
	size := int64(binary.LittleEndian.Uint64(b[24:]))
	if size < MinSegmentSize || size > MaxSegmentSize || b[40] > 1 {
		return SegmentHeader{}, fmt.Errorf("header of a segment: %w: impossible values", ErrDamaged)
	}
	return SegmentHeader{Place: at, Size: size, Created: nanoseconds(b[32:]), Hot: b[40] == 1}, nil
}

// putPlace writes what headers and trailers begin with.
func putPlace(b []byte, magic string, at Place) {
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], Version)
	binary.LittleEndian.PutUint32(b[12:], at.Segment)
	binary.LittleEndian.PutUint64(b[16:], at.Cache)
}

func parsePlace(b []byte, magic string) (Place, error) {
	if string(b[:len(magic)]) != magic || !sealed(b, segmentSum) {
		return Place{}, ErrDamaged
	}
	switch v := binary.LittleEndian.Uint32(b[8:]); {
	case v > Version:
		return Place{}, fmt.Errorf("%w: format version %d, this one knows up to %d", ErrNewer, v, Version)
	case v == 0:
		return Place{}, ErrDamaged
	}
	return Place{Segment: binary.LittleEndian.Uint32(b[12:]), Cache: binary.LittleEndian.Uint64(b[16:])}, nil
}

// Entry is one record in the footer of a segment.
//
//	0                                16               24       28       32 33 34     36       40
//	+--------------------------------+----------------+--------+--------+--+--+------+--------+
//	| sum of the key: high, low half | put            | offset | length |ty|kd| flags| 0      |
//	+--------------------------------+----------------+--------+--------+--+--+------+--------+
type Entry struct {
	Sum    xxh3.Uint128
	Put    uint64
	Offset uint32 // of the record in the segment
	Length uint32 // Prefix.Size
	Type   Type
	Kind   response.Kind
	Flags  uint16 // the store's own
}

func (e *Entry) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, e.Sum.Hi)
	dst = le.AppendUint64(dst, e.Sum.Lo)
	dst = le.AppendUint64(dst, e.Put)
	dst = le.AppendUint32(dst, e.Offset)
	dst = le.AppendUint32(dst, e.Length)
	dst = append(dst, byte(e.Type), byte(e.Kind))
	dst = le.AppendUint16(dst, e.Flags)
	return le.AppendUint32(dst, 0)
}

func parseEntry(b []byte) Entry {
	le := binary.LittleEndian
	return Entry{
		Sum: xxh3.Uint128{Hi: le.Uint64(b), Lo: le.Uint64(b[8:])}, Put: le.Uint64(b[16:]),
		Offset: le.Uint32(b[24:]), Length: le.Uint32(b[28:]),
		Type: Type(b[32]), Kind: response.Kind(b[33]), Flags: le.Uint16(b[34:]),
	}
}

// Trailer is what a sealed segment ends with; the footer of Count entries stands just
// before it.
//
//	 0                8        12       16               24       28       32
//	 +----------------+--------+--------+----------------+--------+--------+
//	 | "FRSHend\n"    | versn. | segmt. | cache          | count  | 0      |
//	 +----------------+--------+--------+----------------+--------+--------+
//	32               40               48               56               64
//	 +----------------+----------------+----------------+----------------+
//	 | sealed (ns)    | end of records | sum of footer  | sum of 0..56   |
//	 +----------------+----------------+----------------+----------------+
type Trailer struct {
	Place
	Count  int
	End    int64 // where the last record ends
	Sealed time.Time

	footerSum uint64
}

// FooterSize is what the footer and trailer of a segment with count records take.
func FooterSize(count int) int64 { return int64(count)*EntrySize + TrailerSize }

// AppendFooter appends footer and trailer to dst: the last FooterSize(len(entries))
// bytes of the segment. The entries are in the order of their offsets, the last one
// ending at end.
func AppendFooter(dst []byte, at Place, end int64, sealed time.Time, entries []Entry) []byte {
	start := len(dst)
	for i := range entries {
		dst = entries[i].append(dst)
	}
	var b [TrailerSize]byte
	le := binary.LittleEndian
	putPlace(b[:], trailerMagic, at)
	le.PutUint32(b[24:], uint32(len(entries)))
	le.PutUint64(b[32:], uint64(sealed.UnixNano()))
	le.PutUint64(b[40:], uint64(end))
	le.PutUint64(b[48:], Sum(dst[start:]))
	seal(b[:], segmentSum)
	return append(dst, b[:]...)
}

// ParseTrailer reads the trailer, b being the last TrailerSize bytes of a segment of
// that size. ErrDamaged when there is none, or one of another place, or one whose footer
// would not fit; ErrNewer.
func ParseTrailer(b []byte, at Place, segmentSize int64) (Trailer, error) {
	if len(b) != TrailerSize {
		return Trailer{}, fmt.Errorf("trailer of a segment: %w", ErrDamaged)
	}
	found, err := parsePlace(b, trailerMagic)
	if err != nil {
		return Trailer{}, fmt.Errorf("trailer of a segment: %w", err)
	}
	le := binary.LittleEndian
	t := Trailer{
		Place: found, Count: int(le.Uint32(b[24:])), End: int64(le.Uint64(b[40:])),
		Sealed: nanoseconds(b[32:]), footerSum: le.Uint64(b[48:]),
	}
	if found != at {
		return Trailer{}, fmt.Errorf("%w: the trailer of segment %d of cache %016x", ErrDamaged, found.Segment, found.Cache)
	}
	if t.End < SegmentHeaderSize || t.End > segmentSize || FooterSize(t.Count) > segmentSize-t.End {
		return Trailer{}, fmt.Errorf("trailer of a segment: %w: impossible values", ErrDamaged)
	}
	return t, nil
}

// Entries checks the footer, the t.Count*EntrySize bytes before the trailer, and walks
// its entries in order of their offsets. Each lies within the records of the segment and
// overlaps no other. ErrDamaged when it is not what was written; nothing was yielded
// then.
func (t *Trailer) Entries(footer []byte, yield func(Entry)) error {
	if len(footer) != t.Count*EntrySize || Sum(footer) != t.footerSum {
		return fmt.Errorf("footer of a segment: %w", ErrDamaged)
	}
	end := int64(SegmentHeaderSize)
	for at := 0; at < len(footer); at += EntrySize {
		e := parseEntry(footer[at:])
		known := (e.Type == Stored || e.Type == Tombstone) && e.Kind <= lastKind
		if !known || e.Offset%Align != 0 || e.Length%Align != 0 || e.Length < PrefixSize || int64(e.Offset) < end {
			return fmt.Errorf("footer of a segment: %w: impossible values", ErrDamaged)
		}
		end = int64(e.Offset) + int64(e.Length)
	}
	if end > t.End {
		return fmt.Errorf("footer of a segment: %w: records past its end", ErrDamaged)
	}
	for at := 0; at < len(footer); at += EntrySize {
		yield(parseEntry(footer[at:]))
	}
	return nil
}
