package record

import (
	"errors"
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

// SegmentHeader is what a segment begins with.
//
//	  0                8        12       16               24               32
//	  +----------------+--------+--------+----------------+----------------+
//	  | "FRSHseg\n"    | versn. | segmt. | cache          | segment size   |
//	  +----------------+--------+--------+----------------+----------------+
//	 32               40   41                             56               64
//	  +----------------+----+------------------------------+----------------+
//	  | created (ns)   | hot| 0                            | sum of 0..56   |
//	  +----------------+----+------------------------------+----------------+
type SegmentHeader struct {
	Place
	Size    int64 // of the whole file
	Created time.Time
	Hot     bool // it takes what eviction keeps
}

// Append appends the header to dst.
func (h SegmentHeader) Append(dst []byte) []byte { return dst }

// ParseSegmentHeader reads the header that b begins with. ErrDamaged or ErrNewer.
func ParseSegmentHeader(b []byte) (SegmentHeader, error) {
	return SegmentHeader{}, errors.ErrUnsupported
}

// Entry is one record in the footer of a segment.
//
//	  0                                16               24       28       32 33 34    36       40
//	  +--------------------------------+----------------+--------+--------+--+--+------+--------+
//	  | sum of the key: high, low half | put            | offset | length |ty|kd| flags| 0      |
//	  +--------------------------------+----------------+--------+--------+--+--+------+--------+
type Entry struct {
	Sum    xxh3.Uint128
	Put    uint64
	Offset uint32 // of the record in the segment
	Length uint32 // Prefix.Size
	Type   Type
	Kind   response.Kind
	Flags  uint16 // the store's own
}

// Append appends the entry to dst.
func (e Entry) Append(dst []byte) []byte { return dst }

// Trailer is what a sealed segment ends with; the footer of Count entries stands just
// before it.
//
//	  0                8        12       16               24       28       32
//	  +----------------+--------+--------+----------------+--------+--------+
//	  | "FRSHend\n"    | versn. | segmt. | cache          | count  | 0      |
//	  +----------------+--------+--------+----------------+--------+--------+
//	 32               40               48               56               64
//	  +----------------+----------------+----------------+----------------+
//	  | sealed (ns)    | end of records | sum of footer  | sum of 0..56   |
//	  +----------------+----------------+----------------+----------------+
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
// bytes of the segment.
func AppendFooter(dst []byte, at Place, end int64, sealed time.Time, entries []Entry) []byte {
	return dst
}

// ParseTrailer reads the trailer, b being the last TrailerSize bytes of a segment of
// that size. ErrDamaged when there is none, or one of another place, or one whose footer
// would not fit.
func ParseTrailer(b []byte, at Place, segmentSize int64) (Trailer, error) {
	return Trailer{}, errors.ErrUnsupported
}

// Entries checks the footer, the t.Count*EntrySize bytes before the trailer, and walks
// its entries in order of their offsets. Each lies within the records of the segment and
// overlaps no other. ErrDamaged when it is not what was written; nothing was yielded
// then.
func (t *Trailer) Entries(footer []byte, yield func(Entry)) error { return errors.ErrUnsupported }
