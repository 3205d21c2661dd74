package edge

import (
	"errors"
	"io"
	"net/http"

	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// A request for ranges of something of which nothing usable is stored asks for a slice
// of it, if the credit allows that, else for what the client wants first and no more.
// The answer says what it is a part of; from then on the content is read slice by slice.

// wanted is what a client wants first: bytes from pos up to end, or as many as suffix
// says of the end. size is that of the content as it was; -1 where it is not known.
type wanted struct {
	pos, end int64
	suffix   int64
	size     int64
}

// wants is what a request for ranges wants first; not ok where the whole is to be asked
// for.
func (w *walk) wants() (first wanted, ok bool) {
	h := w.req.Header
	if w.req.Method != http.MethodGet || !h.Has("Range") {
		return wanted{}, false
	}
	set, ok := httpcache.ParseRange(h.Joined("Range"))
	if !ok {
		return wanted{}, false
	}
	if base := w.base; base != nil && base.Status == http.StatusOK {
		size := base.Length()
		switch selection, spans := httpcache.SelectRange(w.asked(), base.Status, &base.Facts, size); selection {
		case httpcache.Partial:
			if base.Kind == response.Content {
				size = -1 // it may have grown: all of it is little anyway
			}
			return wanted{pos: spans[0].Start, end: spans[0].End, size: size}, true
		case httpcache.Unsatisfied:
			return wanted{end: 1, size: -1}, true
		}
		return wanted{}, false
	}
	switch r := set[0]; {
	case r.First < 0 && r.Last == 0:
		return wanted{end: 1, size: -1}, true
	case r.First < 0:
		return wanted{suffix: r.Last, size: -1}, true
	case r.Last < 0:
		return wanted{pos: r.First, end: r.First + response.SliceSize, size: -1}, true
	default:
		return wanted{pos: r.First, end: r.Last + 1, size: -1}, true
	}
}

// beginRange joins the fill of the slice that the client wants first, if there is one;
// else it settles what is to be asked for.
func (w *walk) beginRange(first wanted, fence hop.Fence, alone bool) (*upstream.Fill, error) {
	if w.whole || alone || w.uncombined() {
		w.askAsIs()
		return nil, nil
	}
	w.ask = w.largest(first)
	looking := upstream.Spec{Settled: func() bool { return true }}
	if f, _, err := w.edge.fills.Join(w.ctx, w.fillsTogether(), fence, looking); f != nil || err != nil {
		return f, err
	}
	w.askAtMost(first)
	return nil, nil
}

// largest asks for all that is worth fetching where the client wants something first: its
// slice, or a suffix.
func (w *walk) largest(first wanted) ask {
	if first.suffix > 0 {
		return askForSuffix(min(first.suffix, response.SliceSize), 0)
	}
	size := first.size
	if size < 0 {
		size = 1<<63 - 1
	}
	return askForSlice(first.pos/response.SliceSize, size)
}

// askAtMost settles to ask for as much as the credit allows.
func (w *walk) askAtMost(first wanted) {
	w.ask = w.largest(first)
	n := w.ask.span.Len()
	if credit := w.credit(); credit.reserve(n) {
		w.ask.paid = n
	} else if first.suffix > 0 {
		n = credit.reserveSome(n)
		w.ask = askForSuffix(n, n)
	} else {
		n = credit.reserveSome(min(first.end, w.ask.span.End) - first.pos)
		w.ask = askFor(httpcache.Span{Start: first.pos, End: first.pos + n}, n)
	}
}

// askAtLeast settles to ask for as little as tells what has become of the content.
func (w *walk) askAtLeast(first wanted) {
	n := w.credit().reserveSome(1)
	w.ask = askFor(httpcache.Span{Start: first.pos, End: first.pos + n}, n)
}

// askAsIs settles to ask for what the client does. Its If-Range is not handed on, so
// that with one only the whole will do.
func (w *walk) askAsIs() {
	w.ask = ask{}
	if field := w.req.Header.Joined("Range"); !w.req.Header.Has("If-Range") {
		w.ask = ask{field: field, asIs: true}
	}
}

// uncombined reports whether it is known that ranges of the content cannot be kept.
func (w *walk) uncombined() bool {
	note := w.edge.store.Get(rangeNote(w.fillKey))
	return note != nil && note.Kind == response.Pass && w.edge.table.Alive(note) && note.At(w.req.Received) == httpcache.Fresh
}

// takeSlice answers from a content of which a part is arriving.
func (w *walk) takeSlice(a *arrival, r *response.Response) (answered bool) {
	reply, head := a.fill.Reply(), headOf(r, w.place(r))
	c := content{
		status: head.Status, header: head.Header, facts: &head.Facts, size: head.Complete, truth: head.Truth(),
		age: head.Age(w.now()), chain: reply.Header.Joined("Cache-Status"), sliced: &sliced{w: w, head: head, first: a},
	}
	if a.leader && len(r.Withheld) > 0 {
		h, err := w.edge.passedHeader(reply.Header)
		if err != nil {
			c.close()
			w.fail(err)
			return true
		}
		h.Del("Content-Range")
		c.header = withoutDigests(h)
	}
	if err := w.answer(&c); err != nil {
		return w.goesBack(err)
	}
	return true
}

// isLost reports whether what is stored has turned out to be gone, or not to be true
// enough.
func isLost(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, errIncomplete) || errors.Is(err, errMissing) || errors.Is(err, errUnsettled)
}

// goesBack deals with an answer that could not be begun: the walk goes back, unless
// nobody answers.
func (w *walk) goesBack(err error) (answered bool) {
	if w.came != nil || isLost(err) {
		w.status.hit, w.status.fwd = false, "miss"
		return false
	}
	w.fail(err)
	return true
}

// takesPart reports whether an answer that is not kept, to a request for a part that the
// client did not name so, is of use to him: a part has to hold all that he wants.
func (w *walk) takesPart(reply *upstream.Reply) bool {
	set, single := httpcache.ParseRange(w.req.Header.Joined("Range"))
	single = single && len(set) == 1
	switch reply.Status {
	case http.StatusPartialContent:
		part, ok := httpcache.PartOf(reply.Header)
		return single && ok && part.Size >= 0 && (reply.Length < 0 || reply.Length == part.Len()) && w.within(reply, part)
	case http.StatusRequestedRangeNotSatisfiable:
		// What begins behind the end of the content does so wherever a range of it was asked
		// for instead; a suffix does not, of what has become shorter.
		return single && (set[0].First >= 0 || w.ask.span.Start < 0)
	}
	return true
}

// within reports whether a part has the one range that the client wants.
func (w *walk) within(reply *upstream.Reply, part httpcache.Part) bool {
	facts, _ := httpcache.Assess(w.asked(), httpcache.Response{
		Status: http.StatusOK, Header: reply.Header, Sent: reply.Sent, Received: reply.Received,
	}, &w.rules.Policy)
	selection, spans := httpcache.SelectRange(w.asked(), http.StatusOK, &facts, part.Size)
	switch {
	case selection == httpcache.Partial && len(spans) == 1:
		return part.Start <= spans[0].Start && spans[0].End <= part.End
	case selection == httpcache.Whole:
		return part.Len() == part.Size
	}
	return selection == httpcache.Unsatisfied
}

// deliverPart hands on what the client wants of a part that is not kept.
func (w *walk) deliverPart(reply *upstream.Reply, body io.ReadCloser) (answered bool) {
	part, _ := httpcache.PartOf(reply.Header)
	c := content{
		status: http.StatusOK, size: part.Size, stream: body, from: part.Start, trail: reply.Trailer,
		chain: reply.Header.Joined("Cache-Status"),
	}
	err := w.passOn(&c, reply)
	if err == nil {
		c.header.Del("Content-Range")
		err = w.answer(&c)
	} else {
		c.close()
	}
	if err != nil {
		w.fail(err)
	}
	return true
}

// needs are the spans that the client wants of a content in slices.
func (w *walk) needs(head *response.Response) []httpcache.Span {
	if w.req.Method != http.MethodGet {
		return nil
	}
	if httpcache.Preconditions(w.asked(), head.Status, &head.Facts) != httpcache.Proceed {
		return nil
	}
	switch selection, spans := httpcache.SelectRange(w.asked(), head.Status, &head.Facts, head.Complete); selection {
	case httpcache.Partial:
		return spans
	case httpcache.Unsatisfied:
		return nil
	}
	return []httpcache.Span{{End: head.Complete}}
}

// fewSlices is up to how many slices are looked at, rather than asked after, to tell
// whether all is there: of each perhaps only a part is. Where nothing could be fetched
// once the answer has begun, all are.
const fewSlices = 4

// lacks reports whether something of what the client wants is not held.
func (w *walk) lacks(r *response.Response) bool {
	if r.Kind != response.Sliced {
		return false
	}
	s := &sliced{w: w, head: r}
	for _, span := range w.needs(r) {
		first, last := span.Start/response.SliceSize, (span.End-1)/response.SliceSize
		asks := !refetchable(r) || last-first >= fewSlices && w.fetches(r)
		for n := first; n <= last; n++ {
			if asks {
				if !w.edge.store.Has(response.SliceKey(r.Key, r.Set, n)) {
					return true
				}
				continue
			}
			slice := sliceSpan(n, r.Complete)
			if !s.holds(n, httpcache.Span{Start: max(span.Start, slice.Start), End: min(span.End, slice.End)}) {
				return true
			}
		}
	}
	return false
}

// fetches reports whether what is missing of a content can be fetched by itself for the
// request: not where nothing may be fetched, or what is may not be kept.
func (w *walk) fetches(head *response.Response) bool {
	if !refetchable(head) || w.whole || w.alone {
		return false
	}
	like := httpcache.Response{Status: head.Status, Header: head.Header, Sent: head.Received, Received: head.Received}
	if _, why := httpcache.Assess(w.asked(), like, &w.rules.Policy); why != httpcache.Stored {
		return false
	}
	return httpcache.Reuse(w.asked(), nil, w.req.Received, &w.rules.Policy).Verdict != httpcache.Unsatisfiable
}

// completes reports whether what is missing of a content is to be fetched by itself. One
// that is too large to be kept as a whole is not fetched so for those who want all.
func (w *walk) completes(head *response.Response) bool {
	if !w.fetches(head) {
		return false
	}
	_, ranged := w.wants()
	return ranged || head.Complete <= w.edge.maxBody
}
