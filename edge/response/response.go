// Package response is the stored response: everything that the cache keeps of one
// answer, immutable but for how true it is known to be.
package response

import (
	"bytes"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// Key names a stored response: a cache key, or one variant of it. Text is the
// whole key; Sum finds it, and a holder compares Text before it believes Sum.
type Key struct {
	Sum  xxh3.Uint128
	Text string
}

// NewKey makes the key of a text.
func NewKey(text string) Key { return Key{xxh3.HashString128(text), text} }

// Kind says what stands under a key.
type Kind uint8

// The kinds.
const (
	Content Kind = iota // a response that can be served
	Varies              // the key has variants, told apart by Vary; nothing to serve
	Pass                // answers to this key were not to be stored: do not wait for one another
	Partial             // parts of the content of a 200, in Pieces
	Search              // what the queries of a path mean, in Search; nothing to serve
	Sliced              // the head of a content of Complete bytes that stands apart, in slices
	Slice               // SliceSize bytes of such a content, or the rest: in Body, or parts of it in Pieces
)

// SliceSize is how a large content is cut, in bytes: a longer one is kept as slices of
// this size, the last one shorter.
const SliceSize = 1 << 20

// SliceKey is the key of the n-th slice of set, of the content under key.
func SliceKey(key Key, set uint64, n int64) Key {
	text := make([]byte, 0, len(key.Text)+40)
	text = append(append(text, key.Text...), "\n+slice "...)
	text = append(strconv.AppendUint(text, set, 16), ' ')
	return NewKey(string(strconv.AppendInt(text, n, 10)))
}

// Body is the content of a stored response.
type Body interface {
	// Len is its size in bytes.
	Len() int64
	// Bytes is the content if it lies in RAM, else nil. Nobody changes it.
	Bytes() []byte
	// Open reads the n bytes from off on, which must lie within the body. It fails when
	// the store has let the body go since, or finds it damaged: then the response counts
	// as not stored. A reader that is open keeps what it reads: it gives the right bytes
	// or an error. It may be an io.WriterTo that hands a writer which is an io.ReaderFrom
	// the open file, for the kernel to copy. The caller closes it.
	Open(off, n int64) (io.ReadCloser, error)
}

// Memory is a body in RAM.
type Memory []byte

// Len is the size in bytes.
func (m Memory) Len() int64 { return int64(len(m)) }

// Bytes is the content.
func (m Memory) Bytes() []byte { return m }

// Open reads a part of it.
func (m Memory) Open(off, n int64) (io.ReadCloser, error) {
	return memoryReader{bytes.NewReader(m[off : off+n])}, nil
}

// memoryReader is a bytes.Reader, with its WriteTo, that can be closed.
type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

// Piece is a run of bytes of a content.
type Piece struct {
	Start int64
	Data  []byte
}

// Response is one stored response. All fields are set before it is shared and
// never change after that.
type Response struct {
	Key    Key
	Kind   Kind
	Status int
	Header *header.Block // ready to send: end-to-end fields, without Age, Cache-Status and ours
	Body   Body          // nil for none
	// Pieces are what is held of a Partial, disjoint and in order, of a content of
	// Complete bytes.
	Pieces   []Piece
	Complete int64
	// Set tells the slices of a Sliced from those of another content under the same key.
	Set    uint64
	Search httpcache.NoVarySearch // of a Search
	Vary   []string               // the request fields that tell the variants of the key apart
	// Transient: for those who wait for it now, not to be stored.
	Transient bool

	httpcache.Facts

	// Log and Born are the logical time at which the origin was asked: what the node
	// that asked it had applied when the request left. Never changes but by
	// validation, which makes a new Response.
	Log    command.LogID
	Born   command.Seq
	Scopes []ScopeHash // every scope that a command could cover this response by
	// Generation is this node's time between two restarts of its log in which it asked.
	Generation uint64

	asOf    atomic.Uint64            // true up to here: tested against every mark up to this sequence
	soft    atomic.Pointer[hop.Soft] // the first soft mark that covers it, nil for none; set before asOf says so
	touches atomic.Uint64            // likewise for this node's own count of unsafe requests
}

// WithBody is a copy of r that has the body.
func (r *Response) WithBody(b Body) *Response {
	c := &Response{
		Key: r.Key, Kind: r.Kind, Status: r.Status, Header: r.Header, Body: b, Vary: r.Vary, Transient: r.Transient,
		Pieces: r.Pieces, Complete: r.Complete, Set: r.Set, Search: r.Search,
		Facts: r.Facts, Log: r.Log, Born: r.Born, Scopes: r.Scopes, Generation: r.Generation,
	}
	c.asOf.Store(r.asOf.Load()) // before soft: who has raised it has set that
	c.soft.Store(r.soft.Load())
	c.touches.Store(r.touches.Load())
	return c
}

// Length is the size of the whole content in bytes, wherever that stands.
func (r *Response) Length() int64 {
	if r.Kind == Content && r.Body != nil {
		return r.Body.Len()
	}
	return r.Complete
}

// WithTruth is a copy of r that is known to be true no further than that. Its soft mark
// stays open, unless born settles it.
func (r *Response) WithTruth(born, asOf command.Seq, touches uint64) *Response {
	c := r.WithBody(r.Body)
	c.Born = born
	c.asOf.Store(uint64(asOf))
	c.touches.Store(touches)
	return c
}

// OlderThan reports whether held, which stands under r's key, must not give way to r:
// the origin was asked for it later. Of another log, or of before a restart of this
// one, there is no telling, and what comes last counts.
func (r *Response) OlderThan(held *Response) bool {
	return held.Key.Text == r.Key.Text && held.Log == r.Log && held.Generation == r.Generation && held.Born > r.Born
}

// ScopeHash stands for one scope: equal scopes have equal hashes, of which the lowest
// bits say of what kind they are. Two scopes that share one by chance are invalidated
// together, which is safe.
type ScopeHash uint64

// kindBits are those of a hash that hold the kind.
const kindBits = 3

// ScopeKinds is how many kinds a hash tells apart.
const ScopeKinds = 1 << kindBits

// HashScope is the hash of a scope.
func HashScope(s command.Scope) ScopeHash {
	if s.Kind == command.ScopeKey {
		return NewKey(s.Value).Scope()
	}
	sum := xxh3.HashString(string(s.Kind) + "\x00" + s.Site + "\x00" + s.Value)
	return ScopeHash(sum&^(ScopeKinds-1) | uint64(codeOf(s.Kind)))
}

// AppendPrefixes appends the scopes of the prefixes of a path at its first
// command.MaxBoundaries slashes, the first one included.
func AppendPrefixes(to []ScopeHash, site, path string) []ScopeHash {
	const kind = string(command.ScopePrefix)
	text := make([]byte, 0, 256)
	text = append(append(append(text, kind...), 0), site...)
	text = append(append(text, 0), path...)
	start, n := len(text)-len(path), 0
	for i := start; i < len(text) && n < command.MaxBoundaries; i++ {
		if text[i] == '/' {
			to = append(to, ScopeHash(xxh3.Hash(text[:i+1])&^(ScopeKinds-1)|codePrefix))
			n++
		}
	}
	return to
}

// Scope is the scope of what is stored under the key, in all its variants if it is not
// the key of one itself.
func (k Key) Scope() ScopeHash { return ScopeHash(k.Sum.Hi&^(ScopeKinds-1) | codeKey) }

// ScopeGroup is the kind of scope that stands for a cache group of the site (RFC 9875). No
// command names it: one of a surrogate key covers the group of that name, too.
const ScopeGroup command.ScopeKind = "group"

// The codes of the kinds.
const (
	codeURL = iota
	codeKey
	codePrefix
	codeTag
	codeGroup
	codeSite
	codeAll
	codeOther
)

func codeOf(kind command.ScopeKind) int {
	switch kind {
	case command.ScopeURL:
		return codeURL
	case command.ScopePrefix:
		return codePrefix
	case command.ScopeTag:
		return codeTag
	case ScopeGroup:
		return codeGroup
	case command.ScopeSite:
		return codeSite
	case command.ScopeAll:
		return codeAll
	}
	return codeOther
}

// Kind is the number of the scope's kind, below ScopeKinds.
func (h ScopeHash) Kind() int { return int(h & (ScopeKinds - 1)) }

// AsOf is the sequence up to which the response has been tested: no hard mark up to it
// covers the response, and of the soft ones Soft is the first.
func (r *Response) AsOf() command.Seq { return command.Seq(r.asOf.Load()) }

// RaiseAsOf records that the response is true up to seq; it never falls.
func (r *Response) RaiseAsOf(seq command.Seq) { raise(&r.asOf, uint64(seq)) }

// Soft is the soft mark that is open: the first that covers the response and that it was
// not validated since; zero for none. It is that as of an AsOf read before.
func (r *Response) Soft() hop.Soft {
	if soft := r.soft.Load(); soft != nil && soft.Seq > r.Born {
		return *soft
	}
	return hop.Soft{}
}

// Soften records a soft mark, before AsOf is raised to it; the first one counts.
func (r *Response) Soften(m hop.Soft) {
	if m.Seq <= r.Born {
		return
	}
	for {
		was := r.soft.Load()
		if was != nil && was.Seq > r.Born && was.Seq <= m.Seq || r.soft.CompareAndSwap(was, &m) {
			return
		}
	}
}

// Life is what the response can be used for at now: as its Facts say, unless a soft mark
// is open, which makes it stale from its time on. Then soft is true, and the facts lie in
// room.
func (r *Response) Life(now time.Time, room *httpcache.Facts) (life *httpcache.Facts, soft bool) {
	m := r.Soft()
	if m.Seq == 0 {
		return &r.Facts, false
	}
	since := time.UnixMilli(m.Since)
	if since.After(now) { // by another clock than ours
		since = now
	}
	*room = r.Facts.ExpiredAt(since)
	return room, true
}

// At is the state at now, in regard of an open soft mark.
func (r *Response) At(now time.Time) httpcache.State {
	var room httpcache.Facts
	life, _ := r.Life(now, &room)
	return life.At(now)
}

// Shareable reports whether the response may be given, when it arrives, to others that
// were waiting for the same (httpcache.Facts.Shareable), in regard of an open soft mark.
func (r *Response) Shareable() bool { return r.At(r.Received) <= httpcache.Revalidate }

// Touches is the count of unsafe requests up to which the response is true.
func (r *Response) Touches() uint64 { return r.touches.Load() }

// RaiseTouches records that the response is true up to n; it never falls.
func (r *Response) RaiseTouches(n uint64) { raise(&r.touches, n) }

func raise(v *atomic.Uint64, to uint64) {
	for {
		was := v.Load()
		if to <= was || v.CompareAndSwap(was, to) {
			return
		}
	}
}

// Truth is what the response can be vouched for.
func (r *Response) Truth() hop.Truth {
	asOf := r.AsOf() // before Soft
	return hop.Truth{Log: r.Log, Born: r.Born, AsOf: max(asOf, r.Born), Soft: r.Soft()}
}
