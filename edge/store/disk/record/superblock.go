package record

import (
	"errors"
	"time"
)

// Version is the version of the format. Whatever changes a layout raises it.
const Version = 1

// SuperblockSize is the size of the superblock's file, in bytes.
const SuperblockSize = 64

// Superblock says that a directory is a cache, and which. It is the file that must be
// durable before anything else is there.
//
//	  0                                16               24       28       32
//	  +--------------------------------+----------------+--------+--------+
//	  | "freshet-cache\r\n\0"          | sum of 24..end | versn. | 0      |
//	  +--------------------------------+----------------+--------+--------+
//	 32               40               48               56               64
//	  +----------------+----------------+----------------+----------------+
//	  | cache          | segment size   | created (ns)   | 0              |
//	  +----------------+----------------+----------------+----------------+
//
// Magic, sum and version stand where they stand in every version to come, so that each
// version can say of another that it is one.
type Superblock struct {
	Cache       uint64 // random
	SegmentSize int64
	Created     time.Time
}

// Append appends the superblock to dst.
func (s Superblock) Append(dst []byte) []byte { return dst }

// ParseSuperblock reads a superblock, the whole file (of which no more than the first
// 4096 bytes are looked at). ErrForeign, ErrDamaged or ErrNewer.
func ParseSuperblock(b []byte) (Superblock, error) { return Superblock{}, errors.ErrUnsupported }
