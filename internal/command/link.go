package command

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Link stands for a record and, as each is made from the one before, for all of the log up
// to it: two logs with one link at a sequence are the same log up to there, though one may
// have been put back to an old copy and have gone on otherwise. Zero is not known.
type Link [16]byte

// LinkOf is the link that a log's first record has before it.
func LinkOf(log LogID) Link {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(log))
	return sum([]byte("freshet command log\n"), b[:])
}

// Next is the link of the record at seq, which has prev before it; prev may be unknown.
func (prev Link) Next(seq Seq, record []byte) Link {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(seq))
	return sum(prev[:], b[:], record)
}

func sum(parts ...[]byte) Link {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return Link(h.Sum(nil)[:len(Link{})])
}

// String prints 32 hexadecimal digits.
func (l Link) String() string { return hex.EncodeToString(l[:]) }

// MarshalText is String.
func (l Link) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is ParseLink.
func (l *Link) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLink(string(text))
	return err
}

// ParseLink reads what String prints.
func ParseLink(text string) (Link, error) {
	var l Link
	if len(text) != hex.EncodedLen(len(l)) {
		return l, fmt.Errorf("%.80q is not a link", text)
	}
	_, err := hex.Decode(l[:], []byte(text))
	return l, err
}
