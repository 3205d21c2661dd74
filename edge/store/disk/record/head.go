package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"freshet/edge/response"
	"freshet/internal/header"
	"freshet/internal/httpcache"
)

// The head of a record holds what the prefix does not, of every field of a response but
// its body:
//
//	  0                                             key #
//	  +---------------------------------------------+
//	  | text of the key                             |
//	  +---------------------------------------------+
//	then, fixedSize bytes:
//	  0        2  3  4        8       10      12      14      16
//	  +--------+--+--+--------+-------+-------+-------+-------+
//	  | flags  |sr| 0| scopes | vary  | withh.| params| etag #|   how many there are
//	  +--------+--+--+--------+-------+-------+-------+-------+
//	 16                            28              40         52
//	  +-----------------------------+---------------+----------+
//	  | received: seconds (8), ns(4)| last modified | date     |
//	  +-----------------------------+---------------+----------+
//	 52               60               68               76               84
//	  +----------------+----------------+----------------+----------------+
//	  | initial age    | lifetime       | while-revalid. | if-error       |   ns
//	  +----------------+----------------+----------------+----------------+
//	 84               92               100
//	  +----------------+----------------+
//	  | complete       | set            |
//	  +----------------+----------------+
//	then etag; then each name of Vary and Withheld and each of Search.Params, its length
//	in 2 bytes before it; then each scope (flagScope8: in 8 bytes; without it, in what older
//	versions have written, in 16, of which the last 8 count); then the header block, as on
//	the wire, to the end.
const (
	fixedSize    = 100
	scopeSize    = 8
	oldScopeSize = 16
)

// Flags of a head.
const (
	flagHeader = 1 << iota // Header is not nil
	flagNoStale
	flagNoTransform
	flagImmutable
	flagSearchSet
	flagAnyOrder
	flagExcept
	flagScope8
	flagsEnd
)

func appendHead(dst []byte, r *response.Response) ([]byte, error) {
	if r.Source > httpcache.FromDefault {
		return nil, ErrInvalid
	}
	for _, n := range []int{len(r.Vary), len(r.Withheld), len(r.Search.Params), len(r.ETag)} {
		if n > math.MaxUint16 {
			return nil, fmt.Errorf("%w: a list or field of %d", ErrTooLarge, n)
		}
	}
	le := binary.LittleEndian
	dst = append(dst, r.Key.Text...)
	dst = le.AppendUint16(dst, flagsOf(r))
	dst = append(dst, byte(r.Source), 0)
	dst = le.AppendUint32(dst, uint32(len(r.Scopes)))
	dst = le.AppendUint16(dst, uint16(len(r.Vary)))
	dst = le.AppendUint16(dst, uint16(len(r.Withheld)))
	dst = le.AppendUint16(dst, uint16(len(r.Search.Params)))
	dst = le.AppendUint16(dst, uint16(len(r.ETag)))
	for _, t := range []time.Time{r.Received, r.LastModified, r.Date} {
		dst = le.AppendUint64(dst, uint64(t.Unix()))
		dst = le.AppendUint32(dst, uint32(t.Nanosecond()))
	}
	for _, d := range []time.Duration{r.InitialAge, r.Lifetime, r.StaleWhileRevalidate, r.StaleIfError} {
		dst = le.AppendUint64(dst, uint64(d))
	}
	dst = le.AppendUint64(dst, uint64(r.Complete))
	dst = le.AppendUint64(dst, r.Set)
	dst = append(dst, r.ETag...)
	for _, list := range [][]string{r.Vary, r.Withheld, r.Search.Params} {
		for _, s := range list {
			if len(s) > math.MaxUint16 {
				return nil, fmt.Errorf("%w: a name of %d bytes", ErrTooLarge, len(s))
			}
			dst = le.AppendUint16(dst, uint16(len(s)))
			dst = append(dst, s...)
		}
	}
	for _, s := range r.Scopes {
		dst = le.AppendUint64(dst, uint64(s))
	}
	if r.Header != nil {
		dst = append(dst, r.Header.Wire()...)
	}
	return dst, nil
}

func flagsOf(r *response.Response) (flags uint16) {
	for i, set := range []bool{r.Header != nil, r.NoStale, r.NoTransform, r.Immutable, r.Search.Set, r.Search.AnyOrder, r.Search.Except, true} {
		if set {
			flags |= 1 << i
		}
	}
	return flags
}

// parseHead reads a head of at least keyLen+fixedSize bytes.
func parseHead(head []byte, keyLen int) (*response.Response, error) {
	le := binary.LittleEndian
	f := head[keyLen : keyLen+fixedSize]
	flags, source, scopes := le.Uint16(f), httpcache.LifetimeSource(f[2]), le.Uint32(f[4:])
	if flags >= flagsEnd || source > httpcache.FromDefault || f[3] != 0 {
		return nil, fmt.Errorf("%w: unknown values in a head", ErrDamaged)
	}
	r := &response.Response{Complete: int64(le.Uint64(f[84:])), Set: le.Uint64(f[92:])}
	if r.Complete < 0 {
		return nil, fmt.Errorf("%w: a negative length in a head", ErrDamaged)
	}
	fresh := &r.Freshness
	fresh.Source, fresh.NoStale = source, flags&flagNoStale != 0
	r.NoTransform, r.Immutable = flags&flagNoTransform != 0, flags&flagImmutable != 0
	r.Search = httpcache.NoVarySearch{Set: flags&flagSearchSet != 0, AnyOrder: flags&flagAnyOrder != 0, Except: flags&flagExcept != 0}
	for i, t := range []*time.Time{&r.Received, &r.LastModified, &r.Date} {
		seconds, ns := int64(le.Uint64(f[16+12*i:])), le.Uint32(f[24+12*i:])
		if ns >= 1e9 {
			return nil, fmt.Errorf("%w: a time in a head", ErrDamaged)
		}
		*t = time.Unix(seconds, int64(ns)).UTC() // the zero time's seconds give the zero time
	}
	for i, d := range []*time.Duration{&fresh.InitialAge, &fresh.Lifetime, &fresh.StaleWhileRevalidate, &fresh.StaleIfError} {
		*d = time.Duration(le.Uint64(f[52+8*i:]))
	}

	rest := &text{b: head, at: keyLen + fixedSize}
	rest.skip(int(le.Uint16(f[14:])))
	etagEnd := rest.at
	lists := [3]int{int(le.Uint16(f[8:])), int(le.Uint16(f[10:])), int(le.Uint16(f[12:]))}
	names := rest.at
	for _, n := range lists {
		for range n {
			rest.skip(rest.length())
		}
	}
	perScope := scopeSize
	if flags&flagScope8 == 0 {
		perScope = oldScopeSize
	}
	if rest.bad || uint64(scopes)*uint64(perScope) > uint64(len(head)-rest.at) {
		return nil, fmt.Errorf("%w: lengths in a head", ErrDamaged)
	}
	all := string(head[:rest.at]) // one copy for every string
	r.Key.Text, r.ETag = all[:keyLen], all[keyLen+fixedSize:etagEnd]
	for i, list := range []*[]string{&r.Vary, &r.Withheld, &r.Search.Params} {
		*list, names = stringsOf(all, names, lists[i])
	}
	return r, parseTail(r, head[rest.at:], int(scopes), perScope, flags&flagHeader != 0)
}

// parseTail reads the scopes and the header block.
func parseTail(r *response.Response, tail []byte, scopes, perScope int, hasHeader bool) error {
	le := binary.LittleEndian
	if scopes > 0 {
		r.Scopes = make([]response.ScopeHash, scopes)
		for i := range r.Scopes {
			r.Scopes[i] = response.ScopeHash(le.Uint64(tail[perScope*(i+1)-8:]))
		}
	}
	wire := tail[scopes*perScope:]
	if !hasHeader {
		if len(wire) > 0 {
			return fmt.Errorf("%w: more bytes than a head has", ErrDamaged)
		}
		return nil
	}
	var err error
	if r.Header, err = header.Parse(wire); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// text walks strings with their lengths before them.
type text struct {
	b   []byte
	at  int
	bad bool // one goes past the end
}

func (t *text) length() int {
	if t.bad || len(t.b)-t.at < 2 {
		t.bad = true
		return 0
	}
	t.at += 2
	return int(binary.LittleEndian.Uint16(t.b[t.at-2:]))
}

func (t *text) skip(n int) {
	if t.bad || len(t.b)-t.at < n {
		t.bad = true
		return
	}
	t.at += n
}

// stringsOf cuts n strings out of all, whose lengths were checked; nil for none.
func stringsOf(all string, at, n int) ([]string, int) {
	if n == 0 {
		return nil, at
	}
	list := make([]string, n)
	for i := range list {
		length := int(all[at]) | int(all[at+1])<<8
		list[i] = all[at+2 : at+2+length]
		at += 2 + length
	}
	return list, at
}
