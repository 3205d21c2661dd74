package edge

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
	"freshet/internal/httpcache"
)

// A content longer than a slice is kept as a head, of kind Sliced under the ordinary
// key, and slices that hang on the head's key and Set. Under a strong validator (RFC
// 9110 §8.8.1) the Set is made of that and of the length: whoever fetches a slice puts it
// beside the others, and slices outlive a freshening of the head. Without one the Set is
// random, of one fill: what is missing of it cannot be had any more, and makes it a miss.

// strongSet is the bit by which the Sets are known that a strong validator names.
const strongSet = 1

// maxPieces is how many runs of bytes are held of one slice; beyond it the shortest go.
const maxPieces = 32

// setOf is the Set of a content of that size, -1 for unknown.
func setOf(status int, f *httpcache.Facts, size int64) uint64 {
	if status != 200 || !httpcache.Combines(f, f) {
		return rand.Uint64() &^ strongSet
	}
	name := f.ETag
	if name == "" {
		name = strconv.FormatInt(f.LastModified.Unix(), 10)
	}
	return xxh3.HashString(name+"\n"+strconv.FormatInt(size, 10)) | strongSet
}

// refetchable reports whether a slice of a set can be fetched by itself.
func refetchable(head *response.Response) bool { return head.Set&strongSet != 0 }

// sliceSpan is which bytes slice n of a content of that size has.
func sliceSpan(n, size int64) httpcache.Span {
	return httpcache.Span{Start: n * response.SliceSize, End: min((n+1)*response.SliceSize, size)}
}

// headOf is the head of the content that r is a part or the whole of, to stand under key.
func headOf(r *response.Response, key response.Key) *response.Response {
	head := r.WithBody(nil)
	head.Key, head.Kind, head.Pieces = key, response.Sliced, nil
	return head
}

// sliceOf is slice n, without its bytes, of the content that r is a part or the whole
// of, whose key is key.
func sliceOf(r *response.Response, key response.Key, n int64) *response.Response {
	s := r.WithBody(nil)
	s.Key, s.Kind, s.Header, s.Vary, s.Pieces = response.SliceKey(key, r.Set, n), response.Slice, nil, nil, nil
	return s
}

// place is the key under which a response to the request is stored and found: where the
// origin says what queries mean, the one with the canonical query.
func (f *fill) place(r *response.Response) response.Key {
	if n := httpcache.ParseNoVarySearch(r.Header); n.Set {
		return variantKey(searchKey(f.rules, f.req, n), f.req.Header, r.Vary)
	}
	return r.Key
}

// place is the key of what has arrived for the request, as the fill stores it.
func (w *walk) place(r *response.Response) response.Key {
	if n := httpcache.ParseNoVarySearch(r.Header); n.Set {
		return variantKey(searchKey(&w.rules, w.req, n), w.req.Header, r.Vary)
	}
	return variantKey(w.key, w.req.Header, r.Vary)
}

// cut stores a slice of a whole that is arriving.
func (f *fill) cut(r *response.Response, n int64, data []byte) {
	if r.Log != f.edge.table.Clock().Log {
		return
	}
	s := sliceOf(r, f.place(r), n).WithBody(response.Memory(data))
	f.edge.put(s)
}

// keepSlice stores a part of a content: as a slice, or as what is held of one, and the
// head, where there is none that is as good.
func (f *fill) keepSlice(r *response.Response) {
	data := r.Body.Bytes()
	if int64(len(data)) != f.part.Len() || r.Log != f.edge.table.Clock().Log {
		return
	}
	key := f.place(r)
	for at := f.part.Start; at < f.part.End; {
		n := at / response.SliceSize
		end := min(sliceSpan(n, r.Complete).End, f.part.End)
		slice := sliceOf(r, key, n)
		f.edge.addPiece(slice, n, response.Piece{Start: at, Data: data[at-f.part.Start : end-f.part.Start]})
		at = end
	}
	if r.Complete <= response.SliceSize && f.becomesWhole(r, key) {
		return
	}
	if held := f.edge.store.Get(key); held == nil || !f.standsFor(held, r) {
		f.put(headOf(r, r.Key))
	}
}

// standsFor reports whether what is stored does for the content that r is a part of: it
// is the whole of that or its head, and can be used.
func (f *fill) standsFor(held, r *response.Response) bool {
	if f.isOlder(r, held) {
		return true
	}
	if held.Kind != response.Sliced && held.Kind != response.Content || !f.edge.table.Alive(held) {
		return false
	}
	same := held.Set == r.Set
	if held.Kind == response.Content {
		same = held.Body != nil && held.Body.Len() == r.Complete && httpcache.Combines(&held.Facts, &r.Facts)
	}
	return same && held.At(r.Received) == httpcache.Fresh
}

// isOlder reports whether what is stored is more recent than r, and can be used as it is:
// that is what has to be used then (RFC 9111 §4).
func (f *fill) isOlder(r, held *response.Response) bool {
	return (held.Kind == response.Sliced || held.Kind == response.Content) && held.Received.After(r.Received) &&
		held.At(f.edge.now()) == httpcache.Fresh && f.edge.table.Alive(held)
}

// becomesWhole makes an ordinary content of a set that is one slice, once that is whole.
func (f *fill) becomesWhole(r *response.Response, key response.Key) bool {
	slice := f.edge.store.Get(response.SliceKey(key, r.Set, 0))
	if slice == nil || slice.Body == nil || slice.Body.Len() != r.Complete {
		return false
	}
	whole := headOf(r, r.Key).WithTruth(min(slice.Born, r.Born), min(slice.AsOf(), r.AsOf()), min(slice.Touches(), r.Touches()))
	whole = whole.WithBody(slice.Body)
	whole.Kind = response.Content
	f.put(whole)
	f.edge.drop(slice.Key)
	return true
}

// addPiece stores a run of the bytes of slice n together with what is held of it. It is
// as true as the least true of what it is made of.
func (e *Edge) addPiece(slice *response.Response, n int64, p response.Piece) {
	span := sliceSpan(n, slice.Complete)
	lock := &e.slicing.joining[slice.Key.Sum.Lo%uint64(len(e.slicing.joining))]
	lock.Lock()
	defer lock.Unlock()
	pieces := []response.Piece{p}
	if int64(len(p.Data)) < span.Len() {
		held := e.store.Get(slice.Key)
		if held != nil && held.Kind == response.Slice && held.Complete == slice.Complete && e.table.Alive(held) {
			if held.Body != nil {
				return // there is more of it already
			}
			pieces = join(held.Pieces, p)
			slice = slice.WithTruth(min(held.Born, slice.Born), min(held.AsOf(), slice.AsOf()), min(held.Touches(), slice.Touches()))
		}
	}
	if int64(len(pieces[0].Data)) == span.Len() {
		e.slicing.slices.Inc()
		e.put(slice.WithBody(response.Memory(pieces[0].Data)))
		return
	}
	for len(pieces) > maxPieces {
		least := slices.MinFunc(pieces, func(a, b response.Piece) int { return cmp.Compare(len(a.Data), len(b.Data)) })
		pieces = slices.DeleteFunc(pieces, func(p response.Piece) bool { return p.Start == least.Start })
	}
	for i := range pieces {
		if d := pieces[i].Data; cap(d) > len(d) { // part of something larger, which would stay in RAM
			pieces[i].Data = append(make([]byte, 0, len(d)), d...)
		}
	}
	slice.Pieces = pieces
	e.put(slice)
}

// join adds a piece to those held. Where both have the same bytes, which one
// validator says are equal, those of the new piece stay; what then touches becomes
// one.
func join(held []response.Piece, p response.Piece) []response.Piece {
	start, end := p.Start, p.Start+int64(len(p.Data))
	var before, after []response.Piece
	for _, h := range held {
		hEnd := h.Start + int64(len(h.Data))
		switch {
		case hEnd < start:
			before = append(before, h)
		case h.Start > end:
			after = append(after, h)
		default:
			if h.Start < start {
				p = response.Piece{Start: h.Start, Data: slices.Concat(h.Data[:start-h.Start], p.Data)}
			}
			if hEnd > end {
				p.Data = slices.Concat(p.Data, h.Data[end-h.Start:])
			}
		}
	}
	return append(append(before, p), after...)
}
