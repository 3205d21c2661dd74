package snapshot

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"freshet/internal/cluster"
)

// Errors of a file that is not gone by.
var (
	errDamaged = errors.New("it is torn or damaged")
	errFormat  = errors.New("another version of this program has written it")
	errForeign = errors.New("it is of another cluster: of another prefix, or under another secret")
)

// A file:
//
//	0       8        12     16    24       32           48        64
//	+-------+--------+------+-----+--------+------------+---------+-----------+
//	| magic | format | kind | at  | length | cluster id | sum     | content … |
//	+-------+--------+------+-----+--------+------------+---------+-----------+
//
// Numbers are little-endian, at is in nanoseconds of Unix time, and length that of the
// content. The id is a MAC of what tells clusters apart, the sum one of all before it and
// of the content, both under a key that is derived from the cluster's secret and cut to
// 128 bits.
const (
	magic    = "frshlast"
	format   = 1
	headSize = 64
	idAt     = 32
	sumAt    = 48
	macSize  = 16
)

// kind is what a file holds.
type kind uint32

const (
	fileMembers kind = 1 + iota // JSON
	fileSites                   // pairs: varint lengths of key and value, both, varint version
	fileSecrets                 // likewise
)

// sealer makes the files of one cluster.
type sealer struct {
	key []byte
	id  []byte
}

func newSealer(name, secret string) sealer {
	s := sealer{key: mac([]byte(secret), []byte("freshet snapshot 1"))}
	s.id = mac(s.key, []byte(name))
	return s
}

func mac(key []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)[:macSize]
}

// seal is a file.
func (s sealer) seal(k kind, at time.Time, content []byte) []byte {
	b := make([]byte, headSize, headSize+len(content))
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], format)
	binary.LittleEndian.PutUint32(b[12:], uint32(k))
	binary.LittleEndian.PutUint64(b[16:], uint64(at.UnixNano()))
	binary.LittleEndian.PutUint64(b[24:], uint64(len(content)))
	copy(b[idAt:], s.id)
	copy(b[sumAt:], mac(s.key, b[:sumAt], content))
	return append(b, content...)
}

// open is the content of a file. errDamaged, errFormat, errForeign.
func (s sealer) open(k kind, file []byte) (content []byte, at time.Time, err error) {
	switch {
	case len(file) < headSize || string(file[:8]) != magic:
		return nil, at, errDamaged
	case binary.LittleEndian.Uint32(file[8:]) != format:
		return nil, at, fmt.Errorf("%w: its format is %d", errFormat, binary.LittleEndian.Uint32(file[8:]))
	case !hmac.Equal(file[idAt:sumAt], s.id):
		return nil, at, errForeign
	}
	content = file[headSize:]
	if binary.LittleEndian.Uint32(file[12:]) != uint32(k) || binary.LittleEndian.Uint64(file[24:]) != uint64(len(content)) ||
		!hmac.Equal(file[sumAt:headSize], mac(s.key, file[:sumAt], content)) {
		return nil, at, errDamaged
	}
	return content, time.Unix(0, int64(binary.LittleEndian.Uint64(file[16:]))), nil
}

func encodeNodes(list []cluster.Node) ([]byte, error) { return json.Marshal(list) }

func decodeNodes(content []byte) ([]cluster.Node, error) {
	var list []cluster.Node
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, err
	}
	for _, n := range list {
		if err := n.Check(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func encodePairs(list []cluster.Pair) []byte {
	var b []byte
	for _, p := range list {
		b = binary.AppendUvarint(b, uint64(len(p.Key)))
		b = append(b, p.Key...)
		b = binary.AppendUvarint(b, uint64(len(p.Value)))
		b = append(b, p.Value...)
		b = binary.AppendUvarint(b, p.Version)
	}
	return b
}

func decodePairs(content []byte) ([]cluster.Pair, error) {
	var list []cluster.Pair
	for len(content) > 0 {
		key, rest, ok := part(content)
		value, rest, ok2 := part(rest)
		version, n := binary.Uvarint(rest)
		if !ok || !ok2 || n <= 0 {
			return nil, errDamaged
		}
		content = rest[n:]
		p := cluster.Pair{Key: string(key), Value: bytes.Clone(value), Version: version}
		if err := cluster.CheckKey(p.Key); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// part splits what has its length before it off.
func part(b []byte) (head, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}
