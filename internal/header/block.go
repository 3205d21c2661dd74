// Package header is a compact, ordered block of header fields that stands ready
// to be sent: the bytes are those of HTTP/1.1, the index beside them lets HTTP/2
// and HTTP/3 walk the fields. A Block is what requests and answers carry through
// the edge and what a stored response keeps.
package header

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unsafe"
)

// Bounds of one block.
const (
	MaxBytes  = 1<<16 - 1 // bytes on the wire, the final empty line not counted
	MaxFields = 1024
)

// Errors of Add.
var (
	ErrTooLarge  = errors.New("header block is too large")
	ErrMalformed = errors.New("malformed header field")
)

// Block is an ordered list of header fields. The zero value is empty and ready.
//
// While it is being built it belongs to one goroutine. After that it may be read
// by many, as long as nobody changes it: the methods that change it say so.
// Strings that it gives out stay valid until Reset, whatever else is done to it.
type Block struct {
	wire   []byte // "Name: value\r\n" for each field; bytes once written never change
	fields []field
	names  nameBits // of the fields, and perhaps of some that are gone
	gaps   bool     // fields are gone whose bytes still stand in wire
}

// field says where in wire a field stands.
type field struct {
	name, nameLen   uint16
	value, valueLen uint16
}

// Add appends a field. ErrMalformed when name is no token (RFC 9110 §5.6.2) or
// value holds what a field value may not (§5.5: controls other than tab, or white
// space at its ends); ErrTooLarge when a bound of the block would be broken.
func (b *Block) Add(name, value string) error {
	if !validName(name) {
		return fmt.Errorf("%w: bad name %q", ErrMalformed, clip(name))
	}
	if !validValue(value) {
		return fmt.Errorf("%w: bad value of %s", ErrMalformed, clip(name))
	}
	start := len(b.wire)
	if start+len(name)+len(value)+4 > MaxBytes || len(b.fields) >= MaxFields {
		return fmt.Errorf("%w: at %s", ErrTooLarge, clip(name))
	}
	b.wire = append(b.wire, name...)
	b.wire = append(b.wire, ": "...)
	b.wire = append(b.wire, value...)
	b.wire = append(b.wire, "\r\n"...)
	b.fields = append(b.fields, field{
		name: uint16(start), nameLen: uint16(len(name)),
		value: uint16(start + len(name) + 2), valueLen: uint16(len(value)),
	})
	b.names |= bitOf(name)
	return nil
}

// AddBytes is Add with the value in memory of the caller's, which is copied.
func (b *Block) AddBytes(name string, value []byte) error {
	return b.Add(name, unsafe.String(unsafe.SliceData(value), len(value)))
}

// Set makes name stand once, with value: in the place of the first field of that
// name, or at the end. Its errors are Add's; then the block is as it was.
func (b *Block) Set(name, value string) error {
	if !b.Has(name) {
		return b.Add(name, value)
	}
	var next Block
	next.grow(len(b.wire)+len(value), len(b.fields))
	if err := b.setInto(&next, name, value); err != nil {
		return err
	}
	*b = next
	return nil
}

func (b *Block) setInto(next *Block, name, value string) error {
	done := false
	for n, v := range b.All() {
		if EqualName(n, name) {
			if done {
				continue
			}
			n, v, done = name, value, true
		}
		if err := next.Add(n, v); err != nil {
			return err
		}
	}
	return nil
}

// Filter keeps the fields for which keep says so, in their order.
func (b *Block) Filter(keep func(name, value string) bool) {
	var next Block
	next.grow(len(b.wire), len(b.fields))
	b.copyTo(&next, keep)
	*b = next
}

// Copy makes to, whatever it held, a copy of b without the fields for which keep says
// no, if it is not nil. It uses the memory of to, whose strings are no longer valid.
func (b *Block) Copy(to *Block, keep func(name, value string) bool) {
	to.Reset()
	b.copyTo(to, keep)
}

func (b *Block) copyTo(next *Block, keep func(name, value string) bool) {
	if keep == nil && !b.gaps {
		next.wire = append(next.wire, b.wire...)
		next.fields, next.names = append(next.fields, b.fields...), b.names
		return
	}
	for i, f := range b.fields {
		name, value := b.At(i)
		if keep != nil && !keep(name, value) {
			continue
		}
		start := len(next.wire)
		next.wire = append(next.wire, b.wire[f.name:int(f.value)+int(f.valueLen)+2]...)
		next.fields = append(next.fields, field{
			name: uint16(start), nameLen: f.nameLen,
			value: uint16(start + int(f.value-f.name)), valueLen: f.valueLen,
		})
		next.names |= bitOf(name)
	}
}

// Del removes every field of that name.
func (b *Block) Del(name string) {
	if b.Has(name) {
		b.Filter(func(n, _ string) bool { return !EqualName(n, name) })
	}
}

// Reset empties the block and keeps its memory. Strings that it gave out are no
// longer valid.
func (b *Block) Reset() { b.wire, b.fields, b.names, b.gaps = b.wire[:0], b.fields[:0], 0, false }

// Clone is a copy that shares nothing with b and can be changed.
func (b *Block) Clone() *Block {
	next := &Block{wire: make([]byte, 0, len(b.wire)+64), fields: make([]field, 0, len(b.fields)+2)}
	b.copyTo(next, nil)
	return next
}

// Len is the number of fields.
func (b *Block) Len() int { return len(b.fields) }

// At is field i, 0 <= i < Len, as it was added.
func (b *Block) At(i int) (name, value string) {
	f := b.fields[i]
	return b.slice(f.name, f.nameLen), b.slice(f.value, f.valueLen)
}

// All walks the fields in order.
func (b *Block) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range b.fields {
			if name, value := b.At(i); !yield(name, value) {
				return
			}
		}
	}
}

// Values walks the values of the fields of that name, in order.
func (b *Block) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := b.find(name, 0); i >= 0; i = b.find(name, i+1) {
			if _, v := b.At(i); !yield(v) {
				return
			}
		}
	}
}

// Get is the value of the first field of that name, "" if there is none.
func (b *Block) Get(name string) string {
	if i := b.find(name, 0); i >= 0 {
		f := b.fields[i]
		return b.slice(f.value, f.valueLen)
	}
	return ""
}

// Has reports whether a field of that name is there.
func (b *Block) Has(name string) bool { return b.find(name, 0) >= 0 }

// find is the first field of that name from the one given on, -1 if there is none.
func (b *Block) find(name string, from int) int {
	if b.names&bitOf(name) == 0 {
		return -1
	}
	for i := from; i < len(b.fields); i++ {
		if f := b.fields[i]; int(f.nameLen) == len(name) && EqualName(b.slice(f.name, f.nameLen), name) {
			return i
		}
	}
	return -1
}

// Joined is the value of a list-based field that may stand on several lines: the
// values joined by ", " (RFC 9110 §5.3). It allocates only if there are several.
func (b *Block) Joined(name string) string {
	first, more := "", []string(nil)
	seen := false
	for v := range b.Values(name) {
		if !seen {
			first, seen = v, true
			continue
		}
		if more == nil {
			more = append(more, first)
		}
		more = append(more, v)
	}
	if more == nil {
		return first
	}
	return strings.Join(more, ", ")
}

// Wire is the block as HTTP/1.1 sends it, without the final empty line. The
// caller must not change it.
func (b *Block) Wire() []byte {
	if b.gaps {
		return b.Clone().wire
	}
	return b.wire
}

// Size is the memory that the block holds, in bytes.
func (b *Block) Size() int { return cap(b.wire) + 8*cap(b.fields) + int(unsafe.Sizeof(*b)) }

// slice is a view of the wire bytes as a string: they never change once written.
func (b *Block) slice(start, length uint16) string {
	if length == 0 {
		return ""
	}
	return unsafe.String(&b.wire[start], int(length))
}

func (b *Block) grow(bytes, fields int) {
	b.wire = make([]byte, 0, bytes)
	b.fields = make([]field, 0, fields)
}

// clip shortens a foreign name for an error message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
