package record

import (
	"errors"

	"freshet/edge/response"
)

// Errors.
var (
	ErrDamaged  = errors.New("damaged")                                // not what was written
	ErrForeign  = errors.New("not a Freshet cache")                    // never was ours
	ErrNewer    = errors.New("written by a newer version of Freshet")  // a format that is not known yet
	ErrTooLarge = errors.New("too large for the disk format")          // a bound would be broken
	ErrInvalid  = errors.New("response cannot be put in a disk record") // a field that has no form here
)

// Append appends the prefix and the head of r's record to dst; the body follows it,
// then Padding. bodyLen and bodySum (of Sum) are those of r.Body, 0 and whatever without
// one. ErrTooLarge when a bound would be broken; ErrInvalid for what is never stored:
// Pieces, Transient, an unknown kind, a status that is none. dst is as it was then.
func Append(dst []byte, at Place, put uint64, r *response.Response, bodyLen int64, bodySum uint64) ([]byte, error) {
	return dst, errors.ErrUnsupported
}

// AppendTombstone appends the record that says: what was put under the key with this
// sum is gone, as of put. It takes PrefixSize bytes, and Size(0, 0).
func AppendTombstone(dst []byte, at Place, put uint64, sumHi, sumLo uint64) []byte { return dst }

// Padding is the zeros that follow a record that takes n bytes without them.
func Padding(n int64) []byte { return zeros[:-n&(Align-1)] }

var zeros [Align]byte

// ParsePrefix reads the prefix that b begins with and checks its checksum and every
// length in it. ErrDamaged when it is none, or one of another place.
func ParsePrefix(b []byte, at Place) (Prefix, error) { return Prefix{}, errors.ErrUnsupported }

// CheckHead checks the head that follows the prefix, p.HeadLen bytes of it: ErrDamaged
// when it is not what was written. Then KeyText can be believed.
func (p *Prefix) CheckHead(head []byte) error { return errors.ErrUnsupported }

// KeyText is the text of the key, a part of the head.
func (p *Prefix) KeyText(head []byte) []byte { return head[:p.KeyLen] }

// ParseHead checks the head (CheckHead) and makes the response of it, without its Body,
// sharing nothing with head.
func (p *Prefix) ParseHead(head []byte) (*response.Response, error) { return nil, errors.ErrUnsupported }

// CheckBody checks the whole body: ErrDamaged when it is not what was written.
func (p *Prefix) CheckBody(body []byte) error { return errors.ErrUnsupported }

// Sum is the checksum of a body. NewSum makes the same of one that comes in parts.
func Sum(body []byte) uint64 { return 0 }

// Readdress changes the prefix that b begins with, which must be a right one, to that of
// a record in another segment: how a record is rewritten as it is.
func Readdress(b []byte, segment uint32) error { return errors.ErrUnsupported }
