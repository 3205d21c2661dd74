package record

import (
	"encoding/binary"
	"fmt"

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
//	 0        4        8                16               24
//	 +--------+--------+----------------+----------------+
//	 | "FRr\n"| segmt. | cache          | put            |
//	 +--------+--------+----------------+----------------+
//	24                                 40       44 45 46  48
//	 +----------------------------------+--------+--+--+---+
//	 | sum of the key: high, low half   | head # |ty|kd|flg|   flg: 1 has a body
//	 +----------------------------------+--------+--+--+---+
//	48               56                64               72
//	 +----------------+----------------+----------------+
//	 | body #         | sum of body    | sum of head    |
//	 +----------------+----------------+----------------+
//	72               80               88               96
//	 +----------------+----------------+----------------+
//	 | log            | born           | as of          |
//	 +----------------+----------------+----------------+
//	96               104              112      116      120              128
//	 +----------------+----------------+--------+--------+----------------+
//	 | touches        | generation     | key #  | status | sum of 0..120  |
//	 +----------------+----------------+--------+--------+----------------+
//
// All numbers are little endian, # is a length in bytes, a sum is XXH3-64. The head
// follows at once, and the body after it; zeros fill up to the next multiple of Align.
// A tombstone has zeros from head # on, but for its type and the last sum.
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

	headSum uint64
}

// Size is what the record takes, up to where the next one begins.
func (p *Prefix) Size() int64 { return Size(p.HeadLen, p.BodyLen) }

// BodyOffset is how far into the record the body begins.
func (p *Prefix) BodyOffset() int64 { return PrefixSize + int64(p.HeadLen) }

// Size is what a record with such a head and body takes, up to where the next one begins.
func Size(headLen int, bodyLen int64) int64 {
	return (PrefixSize + int64(headLen) + bodyLen + Align - 1) &^ (Align - 1)
}

const (
	prefixMagic = "FRr\n"
	prefixSum   = 120 // where the prefix's own checksum stands

	hasBody = 1 // in the flags
)

// put writes the prefix into the first PrefixSize bytes of b.
func (p *Prefix) put(b []byte) {
	b = b[:PrefixSize]
	clear(b)
	le := binary.LittleEndian
	copy(b, prefixMagic)
	le.PutUint32(b[4:], p.Segment)
	le.PutUint64(b[8:], p.Cache)
	le.PutUint64(b[16:], p.Put)
	le.PutUint64(b[24:], p.Sum.Hi)
	le.PutUint64(b[32:], p.Sum.Lo)
	le.PutUint32(b[40:], uint32(p.HeadLen))
	b[44], b[45] = byte(p.Type), byte(p.Kind)
	if p.HasBody {
		b[46] = hasBody
	}
	le.PutUint64(b[48:], uint64(p.BodyLen))
	le.PutUint64(b[56:], p.BodySum)
	le.PutUint64(b[64:], p.headSum)
	le.PutUint64(b[72:], uint64(p.Log))
	le.PutUint64(b[80:], uint64(p.Born))
	le.PutUint64(b[88:], uint64(p.AsOf))
	le.PutUint64(b[96:], p.Touches)
	le.PutUint64(b[104:], p.Generation)
	le.PutUint32(b[112:], uint32(p.KeyLen))
	le.PutUint32(b[116:], uint32(p.Status))
	seal(b, prefixSum)
}

// ParsePrefix reads the prefix that b begins with and checks its checksum and every
// length in it. ErrDamaged when it is none, or one of another place.
func ParsePrefix(b []byte, at Place) (Prefix, error) {
	p, err := parsePrefix(b)
	if err != nil {
		return Prefix{}, err
	}
	if p.Place != at {
		return Prefix{}, fmt.Errorf("%w: a record of segment %d of cache %016x", ErrDamaged, p.Segment, p.Cache)
	}
	return p, nil
}

func parsePrefix(b []byte) (Prefix, error) {
	if len(b) < PrefixSize || string(b[:4]) != prefixMagic || !sealed(b[:PrefixSize], prefixSum) {
		return Prefix{}, fmt.Errorf("%w: no prefix of a record", ErrDamaged)
	}
	le := binary.LittleEndian
	headLen, bodyLen, keyLen, status := le.Uint32(b[40:]), le.Uint64(b[48:]), le.Uint32(b[112:]), le.Uint32(b[116:])
	p := Prefix{
		Place: Place{Segment: le.Uint32(b[4:]), Cache: le.Uint64(b[8:])},
		Put:   le.Uint64(b[16:]),
		Sum:   xxh3.Uint128{Hi: le.Uint64(b[24:]), Lo: le.Uint64(b[32:])},
		Type:  Type(b[44]), Kind: response.Kind(b[45]), HasBody: b[46] == hasBody,
		BodySum: le.Uint64(b[56:]), headSum: le.Uint64(b[64:]),
		Log: command.LogID(le.Uint64(b[72:])), Born: command.Seq(le.Uint64(b[80:])), AsOf: command.Seq(le.Uint64(b[88:])),
		Touches: le.Uint64(b[96:]), Generation: le.Uint64(b[104:]),
	}
	known := p.Type == Stored || p.Type == Tombstone
	if !known || p.Kind > lastKind || b[46] > hasBody || b[47] != 0 || status > maxStatus {
		return Prefix{}, fmt.Errorf("%w: unknown values in the prefix of a record", ErrDamaged)
	}
	shortest := uint32(fixedSize)
	if p.Type == Tombstone {
		shortest = 0
	}
	if headLen > MaxHead || keyLen > headLen || headLen-keyLen < shortest || bodyLen > MaxBody {
		return Prefix{}, fmt.Errorf("%w: lengths in the prefix of a record", ErrDamaged)
	}
	if p.Type == Tombstone && headLen != 0 || !p.HasBody && bodyLen != 0 {
		return Prefix{}, fmt.Errorf("%w: a record longer than its kind can be", ErrDamaged)
	}
	p.HeadLen, p.BodyLen, p.KeyLen, p.Status = int(headLen), int64(bodyLen), int(keyLen), int(status)
	return p, nil
}

// Readdress changes the prefix that b begins with, which ParsePrefix has accepted, to
// that of a record in another segment: how a record is rewritten as it is.
func Readdress(b []byte, segment uint32) {
	b = b[:PrefixSize]
	binary.LittleEndian.PutUint32(b[4:], segment)
	seal(b, prefixSum)
}

// AppendTombstone appends the record that says: what was put under the key with this
// sum is gone, as of put. It takes PrefixSize bytes, and Size(0, 0).
func AppendTombstone(dst []byte, at Place, put uint64, sum xxh3.Uint128) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, PrefixSize)...)
	(&Prefix{Place: at, Put: put, Sum: sum, Type: Tombstone}).put(dst[n:])
	return dst
}
