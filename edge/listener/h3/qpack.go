package h3

import (
	"errors"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"freshet/internal/header"
)

// errQPACK is a field section that cannot be decoded: QPACK_DECOMPRESSION_FAILED, an
// error of the connection (RFC 9204 §2.2).
var errQPACK = errors.New("field section cannot be decoded")

// arena is memory for strings that are valid until it is emptied.
type arena []byte

// Write appends, for the Huffman decoder.
func (a *arena) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// section reads an encoded field section (RFC 9204 §4.5) field by field. There is no
// dynamic table: the capacity that the settings allow for it is 0. The strings of a field
// lie in the section itself, or in the arena.
type section struct {
	rest  []byte
	arena *arena
}

// prefix reads what comes before the fields: nothing may be required of a dynamic table.
func (s *section) prefix() error {
	if len(s.rest) < 2 || s.rest[0] != 0 {
		return errQPACK
	}
	s.rest = s.rest[1:]
	if _, err := s.integer(7); err != nil { // the base: of no use
		return err
	}
	return nil
}

// next reads a field; ok is false at the end.
func (s *section) next() (name, value string, ok bool, err error) {
	if len(s.rest) == 0 {
		return "", "", false, nil
	}
	switch b := s.rest[0]; {
	case b&0xc0 == 0xc0: // indexed, static table
		i, err := s.integer(6)
		if err != nil || i >= uint64(len(static)) {
			return "", "", false, errQPACK
		}
		return static[i].name, static[i].value, true, nil
	case b&0xd0 == 0x50: // literal, name of the static table
		i, err := s.integer(4)
		if err != nil || i >= uint64(len(static)) {
			return "", "", false, errQPACK
		}
		name = static[i].name
	case b&0xe0 == 0x20: // literal with its name
		if name, err = s.text(3); err != nil {
			return "", "", false, err
		}
	default: // of the dynamic table
		return "", "", false, errQPACK
	}
	value, err = s.text(7)
	return name, value, err == nil, err
}

// integer reads one with so many bits of its first byte (RFC 7541 §5.1).
func (s *section) integer(bits uint) (uint64, error) {
	if len(s.rest) == 0 {
		return 0, errQPACK
	}
	most := uint64(1)<<bits - 1
	n := uint64(s.rest[0]) & most
	s.rest = s.rest[1:]
	if n < most {
		return n, nil
	}
	for shift := uint(0); shift <= 28; shift += 7 { // nothing here is that large
		if len(s.rest) == 0 {
			return 0, errQPACK
		}
		b := s.rest[0]
		s.rest = s.rest[1:]
		n += uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return n, nil
		}
	}
	return 0, errQPACK
}

// text reads a string whose length has so many bits, after the one that says Huffman.
func (s *section) text(bits uint) (string, error) {
	if len(s.rest) == 0 {
		return "", errQPACK
	}
	huffman := s.rest[0]&(1<<bits) != 0
	n, err := s.integer(bits)
	if err != nil || n > uint64(len(s.rest)) {
		return "", errQPACK
	}
	raw := s.rest[:n]
	s.rest = s.rest[n:]
	if !huffman {
		return view(raw), nil
	}
	start := len(*s.arena)
	if _, err := hpack.HuffmanDecode(s.arena, raw); err != nil {
		return "", errQPACK
	}
	return view((*s.arena)[start:]), nil
}

// view is bytes that do not change as a string.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// appendPrefix begins a field section.
func appendPrefix(b []byte) []byte { return append(b, 0, 0) }

// appendStatus appends the pseudo-field.
func appendStatus(b []byte, status int) []byte {
	var index byte
	switch status {
	case 200:
		index = 25
	case 304:
		index = 26
	case 404:
		index = 27
	case 503:
		index = 28
	case 103:
		index = 24
	case 204:
		index = 64
	case 206:
		index = 65
	case 302:
		index = 66
	default:
		b = appendInt(b, 0x50, 4, 24)
		return append(b, 3, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10))
	}
	return appendInt(b, 0xc0, 6, uint64(index))
}

// appendBlock appends the fields of a header block, but for those that HTTP/3 does not
// have (RFC 9114 §4.2).
func appendBlock(b []byte, h *header.Block) []byte {
	if h == nil {
		return b
	}
	for i := range h.Len() {
		name, value := h.At(i)
		if !forbidden(name) {
			b = appendField(b, name, value)
		}
	}
	return b
}

// appendField appends a field: by the static table where it stands there, else its
// name by the static table, else all of it. Huffman would take a tenth of the bytes off
// a small answer, and cost more than the rest of the encoding.
func appendField(b []byte, name, value string) []byte {
	index, ok := lookup(name)
	if !ok {
		b = appendInt(b, 0x20, 3, uint64(len(name)))
		for i := 0; i < len(name); i++ {
			c := name[i]
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			b = append(b, c)
		}
		return append(appendInt(b, 0, 7, uint64(len(value))), value...)
	}
	for i := index; ; i = int(alike[i]) {
		if static[i].value == value {
			return appendInt(b, 0xc0, 6, uint64(i))
		}
		if alike[i] == 0 {
			break
		}
	}
	b = appendInt(b, 0x50, 4, uint64(index))
	return append(appendInt(b, 0, 7, uint64(len(value))), value...)
}

// appendInt appends an integer after a pattern, with so many bits of the first byte.
func appendInt(b []byte, pattern byte, bits uint, n uint64) []byte {
	most := uint64(1)<<bits - 1
	if n < most {
		return append(b, pattern|byte(n))
	}
	b = append(b, pattern|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// forbidden are the fields of a connection, which HTTP/3 does not have.
func forbidden(name string) bool {
	switch len(name) {
	case 7:
		return header.EqualName(name, "upgrade")
	case 10:
		return header.EqualName(name, "connection") || header.EqualName(name, "keep-alive")
	case 16:
		return header.EqualName(name, "proxy-connection")
	case 17:
		return header.EqualName(name, "transfer-encoding")
	}
	return false
}
