package record

import (
	"github.com/zeebo/xxh3"

	"freshet/edge/response"
	"freshet/internal/command"
)

// Sizes of the format, in bytes.
const (
	Align      = 64        // records begin at multiples of it
	PrefixSize = 128       // of the prefix of a record
	MaxHead    = 512 << 10 // of a head
	MaxBody    = 1 << 31   // of a body
)

// Type says what a record is.
type Type uint8

// The types.
const (
	Stored    Type = 1 // a response
	Tombstone Type = 2 // what was put under the key until then is gone; neither head nor body
)

// Place says which cache and segment a record is in, so that one which ended up
// elsewhere is not believed.
type Place struct {
	Cache   uint64 // Superblock.Cache
	Segment uint32
}

// Prefix is what stands before the head of each record. It has a checksum of its
// own, so that it can be believed before the head is read.
//
//	  0        4        8                16               24
//	  +--------+--------+----------------+----------------+
//	  | magic  | segmt. | cache          | put            |
//	  +--------+--------+----------------+----------------+
//	 24                                 40       44 45 46  48
//	  +----------------------------------+--------+--+--+---+
//	  | sum of the key: high, low half   | head # |ty|kd|flg|
//	  +----------------------------------+--------+--+--+---+
//	 48               56                64               72
//	  +----------------+----------------+----------------+
//	  | body #         | sum of body    | sum of head    |
//	  +----------------+----------------+----------------+
//	 72               80               88               96
//	  +----------------+----------------+----------------+
//	  | log            | born           | as of          |
//	  +----------------+----------------+----------------+
//	 96               104              112      116      120              128
//	  +----------------+----------------+--------+--------+----------------+
//	  | touches        | generation     | key #  | status | sum of 0..120  |
//	  +----------------+----------------+--------+--------+----------------+
//
// All numbers are little endian, # is a length in bytes, a sum is XXH3-64. The head
// follows at once, and the body after it; zeros fill up to the next multiple of Align.
type Prefix struct {
	Place
	Put    uint64       // the number of the put, kept when the record is rewritten
	Sum    xxh3.Uint128 // of the key's text
	Type   Type
	Kind   response.Kind
	Status int

	KeyLen  int // of the key's text, with which the head begins
	HeadLen int
	HasBody bool // false: Response.Body is nil
	BodyLen int64
	BodySum uint64

	Log        command.LogID
	Born, AsOf command.Seq
	Touches    uint64
	Generation uint64

	headSum   uint64
	hasHeader bool
}

// Size is what the record takes, up to where the next one begins.
func (p *Prefix) Size() int64 { return Size(p.HeadLen, p.BodyLen) }

// BodyOffset is how far into the record the body begins.
func (p *Prefix) BodyOffset() int64 { return PrefixSize + int64(p.HeadLen) }

// Size is what a record with such a head and body takes, up to where the next one begins.
func Size(headLen int, bodyLen int64) int64 {
	return (PrefixSize + int64(headLen) + bodyLen + Align - 1) &^ (Align - 1)
}
