package edge

import (
	"slices"

	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/httpcache"
)

// Parts of a response (RFC 9111 §3.3, §3.4). A client that wants one range of
// something of which nothing is stored gets just that: the range is asked for above,
// and kept. What is held under one strong validator is put together; when all is
// there it becomes the whole.

// partKey is the key of the parts of a response.
func partKey(key response.Key) response.Key { return response.NewKey(key.Text + "\n+part") }

// rangeToAsk is the Range of a request that is fetched as a part, as recallPart has
// decided.
func (w *walk) rangeToAsk() string {
	if w.part == "" {
		return ""
	}
	return w.req.Header.Get("Range")
}

// recallPart answers a request for a part, where nothing whole is stored, if the part
// is there.
func (w *walk) recallPart() (answered bool) {
	r, c := w.lookPart()
	if r == nil {
		return false
	}
	w.edge.metrics.requests.hit.Inc()
	c.extra = w.extra("", r.Age(w.edge.now()), r.Truth())
	w.answer(c)
	return true
}

// lookPart decides whether the request is one for a part, and finds the part if it
// is there: what it is of, and what to answer. A range from the first byte to the
// last is the whole; several ranges, and those under a condition, are taken from it
// too.
func (w *walk) lookPart() (of *response.Response, c content) {
	h := w.req.Header
	if w.base != nil || w.req.Method != "GET" || !h.Has("Range") || h.Has("If-Range") {
		return nil, c
	}
	set, ok := httpcache.ParseRange(h.Joined("Range"))
	if !ok || len(set) != 1 || set[0] == (httpcache.RangeSpec{First: 0, Last: -1}) {
		return nil, c
	}
	w.part = "\n+range " + h.Get("Range")
	r := w.get(partKey(response.NewKey(w.fillKey)))
	if r == nil || r.Kind != response.Partial || !w.edge.table.Alive(r) || !w.satisfies(r) {
		return nil, c
	}
	if httpcache.Reuse(w.asked(), &r.Facts, w.req.Received, &w.rules.Policy).Verdict != httpcache.Use {
		return nil, c
	}
	selection, spans := httpcache.SelectRange(w.asked(), 200, &r.Facts, r.Complete)
	if selection != httpcache.Partial && selection != httpcache.Unsatisfied {
		return nil, c
	}
	c = content{status: 200, header: r.Header, facts: &r.Facts, size: r.Complete}
	if selection == httpcache.Partial {
		i := slices.IndexFunc(r.Pieces, func(p response.Piece) bool {
			return p.Start <= spans[0].Start && spans[0].End <= p.Start+int64(len(p.Data))
		})
		if i < 0 {
			w.status.fwd = "partial"
			return nil, c
		}
		c.bytes, c.from = r.Pieces[i].Data, r.Pieces[i].Start
	}
	w.status = cacheStatus{node: w.edge.pseudonym, hit: true, ttl: r.TTL(w.req.Received)}
	return r, c
}

// admitPart makes r what is to be stored of a 206, if it is what was asked for and
// what it says of itself can be true.
func (f *fill) admitPart(r *response.Response, reply *upstream.Reply) bool {
	part, ok := httpcache.PartOf(reply.Header)
	if !ok || f.ranged == "" || part.Size < 0 || reply.Length >= 0 && reply.Length != part.Len() || r.Header == nil {
		return false
	}
	f.part = part
	r.Header.Del("Content-Range")
	r.Kind, r.Key, r.Complete = response.Partial, partKey(r.Key), part.Size
	return true
}

// keepPart stores a part together with what is held of the same response. It is as
// true as the least true of its parts.
func (f *fill) keepPart(r *response.Response) {
	data := r.Body.Bytes()
	if int64(len(data)) != f.part.Len() || r.Log != f.edge.table.Clock().Log {
		return
	}
	pieces := []response.Piece{{Start: f.part.Start, Data: data}}
	together := r.WithBody(nil)
	if held := f.edge.store.Get(r.Key); held != nil && held.Complete == r.Complete && f.edge.table.Alive(held) && httpcache.Combines(&held.Facts, &r.Facts) {
		pieces = join(held.Pieces, pieces[0])
		together = together.WithTruth(min(held.Born, r.Born), min(held.AsOf(), r.AsOf()), min(held.Touches(), r.Touches()))
	}
	together.Pieces = pieces
	if p := pieces[0]; int64(len(p.Data)) == r.Complete {
		whole := together.WithBody(response.Memory(p.Data))
		whole.Kind, whole.Status, whole.Pieces = response.Content, 200, nil
		whole.Key = variantKey(f.key, f.req.Header, r.Vary)
		f.edge.store.Delete(r.Key)
		f.put(whole)
		return
	}
	if together.Size() > f.edge.store.MaxSize() {
		together.Pieces = []response.Piece{{Start: f.part.Start, Data: data}}
	}
	f.put(together)
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
