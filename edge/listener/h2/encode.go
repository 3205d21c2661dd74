package h2

import (
	"encoding/binary"
	"strconv"
	"unsafe"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// encoder writes header blocks (RFC 7541) for one connection, in the order in which they
// are sent. What x/net's encoder costs, two maps and a write to each field, is more than
// all the rest of a hit.
//
// A field goes into the dynamic table when it is seen for the second time: what is the
// same in many answers (Content-Type, Cache-Control, Age within a second) costs one byte
// from the third on, and what is never the same again (ETag, Last-Modified of many
// different responses) pushes nothing out of the table.
type encoder struct {
	limit    uint32 // of the table in bytes: no more than the client allows and tableSize
	announce bool   // it has changed

	size   uint32      // of the table in bytes, as RFC 7541 §4.1 counts them
	fields []entry     // a ring of a power of two: entry n is at n % len
	first  uint32      // the oldest entry that is there
	next   uint32      // that will come; entries are numbered as they come
	slots  [256]uint32 // numbers of entries, each at one of two places that its hash names
	seen   [256]uint32 // fields that are not in the table: a part of the hash

	at      int        // fields of this block so far
	guesses [16]uint32 // numbers of entries that stood there last
}

// entry is a field of the dynamic table.
type entry struct {
	size uint32
	name uint32 // length of the name
	text []byte // name, in the case in which it came, and value
}

// largestIndexed is the size of the largest field that is put into the table, in bytes.
const largestIndexed = 512

func newEncoder() encoder { return encoder{limit: tableSize} }

// resize obeys a SETTINGS_HEADER_TABLE_SIZE of the client's. One that is lowered and
// raised again before the next block stays low: RFC 7541 §4.2 has both announced, and
// there are decoders, x/net's among them, that take the second for an error.
func (e *encoder) resize(limit uint32) {
	limit = min(limit, tableSize)
	if limit == e.limit || limit > e.limit && e.announce {
		return
	}
	e.limit, e.announce = limit, true
	e.evict()
}

func (e *encoder) evict() {
	for e.size > e.limit {
		e.size -= e.fields[e.first%uint32(len(e.fields))].size
		e.first++
	}
}

// is reports whether entry n is in the table and that field.
func (e *encoder) is(n uint32, name, value string) bool {
	if n-e.first >= e.next-e.first {
		return false
	}
	f := &e.fields[n&uint32(len(e.fields)-1)]
	return int(f.name) == len(name) && len(f.text) == len(name)+len(value) &&
		string(f.text[len(name):]) == value && string(f.text[:len(name)]) == name
}

// begin begins a block (RFC 7541 §4.2).
func (e *encoder) begin(b []byte) []byte {
	e.at = 0
	if !e.announce {
		return b
	}
	e.announce = false
	return appendInt(b, 0x20, 5, uint64(e.limit))
}

// status appends the pseudo-field.
func (e *encoder) status(b []byte, status int) []byte {
	switch status {
	case 200:
		return append(b, 0x80|8)
	case 204:
		return append(b, 0x80|9)
	case 206:
		return append(b, 0x80|10)
	case 304:
		return append(b, 0x80|11)
	case 400:
		return append(b, 0x80|12)
	case 404:
		return append(b, 0x80|13)
	case 500:
		return append(b, 0x80|14)
	}
	return append(b, 8, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
}

// block appends all fields of a header block.
func (e *encoder) block(b []byte, h *header.Block) []byte {
	if h == nil {
		return b
	}
	for i := range h.Len() {
		name, value := h.At(i)
		b = e.field(b, name, value)
	}
	return b
}

// field appends a field.
func (e *encoder) field(b []byte, name, value string) []byte {
	// Answers of one site have much the same fields in the same order.
	guess := &e.guesses[e.at%len(e.guesses)]
	e.at++
	if n := *guess; e.is(n, name, value) {
		return appendInt(b, 0x80, 7, uint64(staticLen+e.next-n))
	}
	hash := sample(name)*0x9e3779b97f4a7c15 ^ sample(value)
	hash *= 0xd6e8feb86659fd93
	hash ^= hash >> 32
	slot, other := &e.slots[byte(hash)], &e.slots[byte(hash>>16)]
	for _, n := range [...]uint32{*slot, *other} {
		if e.is(n, name, value) {
			*guess = n
			return appendInt(b, 0x80, 7, uint64(staticLen+e.next-n))
		}
	}
	if *slot-e.first < e.next-e.first {
		slot = other // there are so many slots that hardly ever both are taken
	}
	index := staticName(name)
	size := uint32(len(name)+len(value)) + 32
	seen := &e.seen[byte(hash>>8)]
	switch {
	case index == 55 || index == 23: // Set-Cookie, Authorization: RFC 7541 §7.1.3
		b = appendName(b, 0x10, 4, index, name)
	case forbidden(index, name):
		return b
	case *seen == uint32(hash>>32) && size <= min(largestIndexed, e.limit):
		*slot = e.insert(size, name, value)
		*guess = *slot
		b = appendName(b, 0x40, 6, index, name)
		if n := hpack.HuffmanEncodeLength(value); n < uint64(len(value)) {
			return hpack.AppendHuffmanString(appendInt(b, 0x80, 7, n), value)
		}
	default:
		*seen = uint32(hash >> 32)
		b = appendName(b, 0, 4, index, name)
	}
	return append(appendInt(b, 0, 7, uint64(len(value))), value...)
}

// sample is a number made of a string's length and of its first, middle and last bytes,
// all of them if there are no more than 24. It tells fields apart well enough to find
// them, and is not relied on.
func sample(s string) uint64 {
	n := len(s)
	h := uint64(n) * 0xff51afd7ed558ccd
	if n < 8 {
		for i := 0; i < n; i++ {
			h = h<<8 ^ h>>56 ^ uint64(s[i])
		}
		return h
	}
	b := unsafe.Slice(unsafe.StringData(s), n)
	for _, at := range [...]int{0, n/2 - 4, n - 8} {
		h = (h ^ binary.LittleEndian.Uint64(b[at:])) * 0xc4ceb9fe1a85ec53
		h ^= h >> 29
	}
	return h
}

// insert puts a field into the table and returns its number.
func (e *encoder) insert(size uint32, name, value string) uint32 {
	e.size += size
	e.evict()
	if n := uint32(len(e.fields)); e.next-e.first == n {
		grown := make([]entry, max(16, 2*n)) // tableSize/32 at most
		for i := e.first; i != e.next; i++ {
			grown[i%uint32(len(grown))] = e.fields[i%n]
		}
		e.fields = grown
	}
	f := &e.fields[e.next%uint32(len(e.fields))]
	f.size, f.name = size, uint32(len(name))
	f.text = append(append(f.text[:0], name...), value...)
	e.next++
	return e.next - 1
}

// forbidden are the fields that HTTP/2 does not have (RFC 9113 §8.2.2). They should not
// come this far.
func forbidden(index byte, name string) bool {
	if index == 57 {
		return true
	}
	if index != 0 {
		return false
	}
	switch len(name) {
	case 7:
		return header.EqualName(name, "upgrade")
	case 10:
		return header.EqualName(name, "connection") || header.EqualName(name, "keep-alive")
	case 16:
		return header.EqualName(name, "proxy-connection")
	}
	return false
}

// appendName begins a literal: by the index of its name, or by the name.
func appendName(b []byte, pattern byte, prefix uint, index byte, name string) []byte {
	b = appendInt(b, pattern, prefix, uint64(index))
	if index != 0 {
		return b
	}
	b = appendInt(b, 0, 7, uint64(len(name)))
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20 // RFC 9113 §8.2.1
		}
		b = append(b, c)
	}
	return b
}

// appendInt appends an integer after a pattern, with so many bits of the first byte
// (RFC 7541 §5.1).
func appendInt(b []byte, pattern byte, prefix uint, n uint64) []byte {
	most := uint64(1)<<prefix - 1
	if n < most {
		return append(b, pattern|byte(n))
	}
	b = append(b, pattern|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// appendHead appends the HEADERS of an answer: what it says of the body's length is
// length, nothing below 0.
func (e *encoder) appendHead(b []byte, id uint32, end bool, a *exchange.Answer, length int64) []byte {
	start := len(b)
	flags := http2.FlagHeadersEndHeaders
	if end {
		flags |= http2.FlagHeadersEndStream
	}
	b = appendFrame(b, 0, http2.FrameHeaders, flags, id)
	b = e.begin(b)
	b = e.status(b, a.Status)
	b = e.block(b, a.Header)
	b = e.block(b, a.Extra)
	if length >= 0 {
		var digits [20]byte
		b = e.field(b, "content-length", decimal(&digits, length))
	}
	return sealHead(b, start, id)
}

// appendTrailer appends the HEADERS that end a stream after its body.
func (e *encoder) appendTrailer(b []byte, id uint32, h *header.Block) []byte {
	start := len(b)
	b = appendFrame(b, 0, http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id)
	return sealHead(e.block(e.begin(b), h), start, id)
}

// sealHead writes the length into the frame that begins at start.
func sealHead(b []byte, start int, id uint32) []byte {
	n := len(b) - start - frameHead
	if n > maxFrame {
		return splitHead(b, start, id)
	}
	b[start], b[start+1], b[start+2] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

// decimal writes n into digits. The string is valid as long as they are.
func decimal(digits *[20]byte, n int64) string {
	b := strconv.AppendInt(digits[:0], n, 10)
	return unsafe.String(&b[0], len(b))
}
