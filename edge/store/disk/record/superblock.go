package record

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// Version is the version of the format. Whatever changes a layout raises it.
const Version = 1

// SuperblockSize is the size of the superblock's file, in bytes.
const SuperblockSize = 64

// SuperblockBound is how much of the file a version to come may use.
const SuperblockBound = 4096

// Superblock says that a directory is a cache, and which. It is the file that must be
// durable before anything else is there.
//
//	 0                                16               24       28       32
//	 +--------------------------------+----------------+--------+--------+
//	 | "freshet-cache\r\n\0"          | sum of 24..end | versn. | 0      |
//	 +--------------------------------+----------------+--------+--------+
//	32               40               48               56               64
//	 +----------------+----------------+----------------+----------------+
//	 | cache          | segment size   | created (ns)   | 0              |
//	 +----------------+----------------+----------------+----------------+
//
// Magic, sum and version stand where they stand in every version to come, so that each
// version can say of another that it is one.
type Superblock struct {
	Cache       uint64 // random
	SegmentSize int64
	Created     time.Time
}

const superblockMagic = "freshet-cache\r\n\x00"

// Append appends the superblock to dst.
func (s Superblock) Append(dst []byte) []byte {
	var b [SuperblockSize]byte
	le := binary.LittleEndian
	copy(b[:], superblockMagic)
	le.PutUint32(b[24:], Version)
	le.PutUint64(b[32:], s.Cache)
	le.PutUint64(b[40:], uint64(s.SegmentSize))
	le.PutUint64(b[48:], uint64(s.Created.UnixNano()))
	le.PutUint64(b[16:], Sum(b[24:]))
	return append(dst, b[:]...)
}

// ParseSuperblock reads a superblock, the whole file, of which the first
// SuperblockBound+1 bytes are enough. ErrForeign, ErrDamaged or ErrNewer.
func ParseSuperblock(b []byte) (Superblock, error) {
	if len(b) < len(superblockMagic) && strings.HasPrefix(superblockMagic, string(b)) {
		return Superblock{}, fmt.Errorf("superblock is %w: it is cut off", ErrDamaged)
	}
	if len(b) < len(superblockMagic) || string(b[:len(superblockMagic)]) != superblockMagic {
		return Superblock{}, ErrForeign
	}
	le := binary.LittleEndian
	if len(b) < 28 || len(b) > SuperblockBound || Sum(b[24:]) != le.Uint64(b[16:]) {
		return Superblock{}, fmt.Errorf("superblock is %w", ErrDamaged)
	}
	version := le.Uint32(b[24:])
	if version > Version {
		return Superblock{}, fmt.Errorf("%w: format version %d, this one knows up to %d", ErrNewer, version, Version)
	}
	if version == 0 || len(b) != SuperblockSize {
		return Superblock{}, fmt.Errorf("superblock is %w: impossible values", ErrDamaged)
	}
	s := Superblock{Cache: le.Uint64(b[32:]), SegmentSize: int64(le.Uint64(b[40:])), Created: nanoseconds(b[48:])}
	if s.SegmentSize < MinSegmentSize || s.SegmentSize > MaxSegmentSize {
		return Superblock{}, fmt.Errorf("superblock is %w: segments of %d bytes", ErrDamaged, s.SegmentSize)
	}
	return s, nil
}

func nanoseconds(b []byte) time.Time {
	return time.Unix(0, int64(binary.LittleEndian.Uint64(b))).UTC()
}
