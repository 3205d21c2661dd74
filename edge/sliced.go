package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// Why a slice cannot be had.
var (
	errChanged    = errors.New("the content has changed since its head was stored")
	errIncomplete = errors.New("a slice is gone that cannot be fetched by itself")
	errMissing    = errors.New("a slice is gone that may not be fetched for this request")
	errUnsettled  = errors.New("no slice came that is true enough")
)

// sliced is a content in slices, as one request reads it.
type sliced struct {
	w    *walk
	head *response.Response
	// first is what is arriving already for the request, in place of a slice; nil for
	// nothing.
	first *arrival
	// account is that of a client that asked for ranges; nil for none.
	account *account
	// begun: the client has had the head of the answer. From then on it is promised that
	// no slice is less true than promised.
	begun    bool
	promised hop.Truth
	went     bool // something was asked of a parent
	apart    bool // what others have begun under the content's key is not this content
	ahead    *ahead
}

// arrival is a fill that the request has joined, after its Wait.
type arrival struct {
	fill   *upstream.Fill
	leader bool
}

// source is a run of bytes of the content.
type source struct {
	io.ReadCloser
	left  int64 // how many are to be read
	exact bool  // there are no more than these in it
	truth hop.Truth
}

// fillReader reads from a fill and leaves it at the end.
type fillReader struct {
	io.ReadCloser
	fill *upstream.Fill
}

func (r fillReader) Close() error {
	err := r.ReadCloser.Close()
	r.fill.Leave()
	return err
}

// at finds bytes of the content from pos on, up to end at most: in the store, or on
// their way from a parent.
func (s *sliced) at(pos, end int64) (*source, error) {
	if a := s.first; a != nil {
		s.first = nil
		if src := s.arriving(a, pos, end); src != nil {
			return src, nil
		}
	}
	n := pos / response.SliceSize
	if src := s.awaited(n, pos, end); src != nil {
		return src, nil
	}
	key := response.SliceKey(s.head.Key, s.head.Set, n)
	for attempt := 1; attempt <= maxAttempts; {
		looked := s.w.edge.slicing.changes.of(key)
		src, gap := s.held(key, n, pos, end)
		if src != nil {
			return src, nil
		}
		if !refetchable(s.head) {
			return nil, errIncomplete
		}
		if !s.w.fetches(s.head) {
			return nil, errMissing
		}
		src, asked, err := s.fetch(want{key, looked, n, pos, gap}, end, attempt)
		if src != nil || err != nil {
			return src, err
		}
		if asked { // else others have stored something there, which may happen any number of times
			attempt++
		}
	}
	return nil, errUnsettled
}

// held is what the store has from pos on; if it has nothing there, gap is up to where,
// at most end.
func (s *sliced) held(key response.Key, n, pos, end int64) (src *source, gap int64) {
	e := s.w.edge
	span := sliceSpan(n, s.head.Complete)
	end = min(end, span.End)
	r := e.store.Get(key)
	if r == nil || r.Kind != response.Slice || r.Set != s.head.Set || r.Complete != s.head.Complete && r.Complete > 0 {
		return s.heldWhole(pos, end), end
	}
	truth, ok := s.good(r)
	if !ok {
		return nil, end
	}
	if r.Body != nil {
		if r.Body.Len() == span.Len() {
			if body, err := r.Body.Open(pos-span.Start, end-pos); err == nil {
				return &source{body, end - pos, true, truth}, end
			}
		}
		e.drop(key) // it is not what it has to be, or the store has let it go
		return nil, end
	}
	for _, p := range r.Pieces {
		stop := p.Start + int64(len(p.Data))
		if p.Start > pos {
			return nil, min(end, p.Start)
		}
		if pos < stop {
			body, _ := response.Memory(p.Data).Open(pos-p.Start, min(end, stop)-pos)
			return &source{body, min(end, stop) - pos, true, truth}, end
		}
	}
	return nil, end
}

// holds reports whether the store has a span, which lies within slice n. It opens
// nothing: a body may turn out not to be readable.
func (s *sliced) holds(n int64, span httpcache.Span) bool {
	r := s.w.edge.store.Get(response.SliceKey(s.head.Key, s.head.Set, n))
	if r == nil || r.Kind != response.Slice {
		return s.isWhole(s.w.edge.store.Get(s.head.Key))
	}
	if _, ok := s.good(r); !ok {
		return false
	}
	if r.Body != nil {
		whole := sliceSpan(n, s.head.Complete)
		return r.Body.Len() == whole.Len()
	}
	var held httpcache.Held
	for _, p := range r.Pieces {
		held = held.Add(httpcache.Span{Start: p.Start, End: p.Start + int64(len(p.Data))})
	}
	return held.Covers(span)
}

// isWhole reports whether what stands under the head's key is the content itself: small
// as it is, it has become a whole since its head was read.
func (s *sliced) isWhole(r *response.Response) bool {
	return r != nil && r.Kind == response.Content && r.Status == 200 && r.Body != nil && r.Body.Len() == s.head.Complete &&
		httpcache.Combines(&r.Facts, &s.head.Facts)
}

// heldWhole finds the bytes in the whole that the content has become.
func (s *sliced) heldWhole(pos, end int64) *source {
	if s.head.Complete > response.SliceSize {
		return nil
	}
	r := s.w.edge.store.Get(s.head.Key)
	if !s.isWhole(r) {
		return nil
	}
	truth, ok := s.good(r)
	if !ok {
		return nil
	}
	body, err := r.Body.Open(pos, end-pos)
	if err != nil {
		return nil
	}
	return &source{body, end - pos, true, truth}
}

// good tests a slice as anything that is received: it must be true as of the request's
// arrival, satisfy the child that asks, and be no less true than the head that the child
// has had. A slice under the strong entity-tag that the head was confirmed by is the
// content that the origin had then, as if it had been validated itself (rules 17 and 20
// of the protocol).
func (s *sliced) good(r *response.Response) (hop.Truth, bool) {
	w := s.w
	truth := r.Truth()
	if httpcache.IsStrong(s.head.ETag) && r.Log == s.head.Log && r.Generation == s.head.Generation {
		truth.Born = max(truth.Born, s.head.Born)
		truth.AsOf = max(truth.AsOf, truth.Born)
		if truth.Soft.Seq <= truth.Born {
			truth.Soft = hop.Soft{}
		}
	}
	if truth.Soft.Seq != 0 && s.head.Soft().Seq == 0 && w.knew(truth) {
		return truth, false // stale, beside a head that is not
	}
	if w.fence != (hop.Fence{}) && !truth.Satisfies(w.fence) || !w.timely(r) || w.purgedHere > truth.Born {
		return truth, false
	}
	truth.AsOf = max(truth.AsOf, r.AsOf())
	if s.begun && w.trusted && (truth.Log != s.promised.Log || truth.AsOf < s.promised.AsOf || truth.Born < s.promised.Born) {
		return truth, false
	}
	return truth, true
}

// promise is what the head of an answer may say of its truth whose first bytes are from
// src. What is tested later is true as of the request's arrival at least, and as of what
// the child demands: no more than that is promised.
func (s *sliced) promise(src *source) hop.Truth {
	w, t := s.w, s.head.Truth()
	if src != nil {
		if src.truth.Log != t.Log {
			t = src.truth
		}
		t.Born, t.AsOf = min(t.Born, src.truth.Born), min(t.AsOf, src.truth.AsOf)
	}
	if t.Log == w.arrival.Log {
		t.AsOf = min(t.AsOf, max(w.arrival.Seq, w.fence.Hard, w.fence.Floor, t.Born))
	}
	s.promised, s.begun = t, true
	return t
}

// arriving is what a fill brings from pos on, up to end at most; nil if that is nothing,
// or the wrong thing. Then the fill is left.
func (s *sliced) arriving(a *arrival, pos, end int64) *source {
	reply, r := a.fill.Reply(), a.fill.Response()
	part := httpcache.Part{Span: httpcache.Span{End: s.head.Complete}, Size: s.head.Complete}
	if r.Kind == response.Slice {
		part, _ = httpcache.PartOf(reply.Header)
		end = min(end, part.End)
	}
	truth, ok := s.good(r)
	if !ok || pos < part.Start || end <= pos {
		a.fill.Leave()
		return nil
	}
	body, ok := a.fill.Body(s.w.ctx)
	if !ok {
		a.fill.Leave()
		return nil
	}
	from := fillReader{body, a.fill}
	if skip, can := body.(interface{ Skip(int64) error }); pos > part.Start && (!can || skip.Skip(pos-part.Start) != nil) {
		from.Close()
		return nil
	}
	s.went = true
	return &source{from, end - pos, end == part.End, truth}
}

// want is a run of bytes that is not held: of slice n under key, from pos to end. looked
// is the count of changes under key of before the store was looked at.
type want struct {
	key      response.Key
	looked   uint32
	n        int64
	pos, end int64
}

// fetch joins the fill of what is wanted or begins one. It returns neither a source nor
// an error where the store is to be looked at again or, with asked, more to be demanded. When
// something else came before anything was sent, the walk has it. Of an origin that
// ignores ranges the whole comes, which is read up to end: asking it again for every slice
// would bring the whole every time.
func (s *sliced) fetch(want want, end int64, attempt int) (src *source, asked bool, err error) {
	w := s.w
	f, leader, err := s.begin(want, attempt)
	if f == nil || err != nil {
		return nil, false, err
	}
	s.went = true
	if err := f.Wait(w.ctx); err != nil {
		f.Leave()
		return nil, true, err
	}
	a, r := &arrival{f, leader}, f.Response()
	if !s.same(a) {
		if !leader && !s.apart {
			s.apart = true
			f.Leave()
			return nil, false, nil
		}
		if s.begun {
			s.outdated(f.Reply().Status, r)
			f.Leave()
			return nil, true, errChanged
		}
		w.came, w.ask = a, askFor(httpcache.Span{Start: want.pos, End: want.end}, 0)
		return nil, true, errChanged
	}
	if r.Kind == response.Slice {
		end = want.end
	}
	return s.arriving(a, want.pos, end), true, nil
}

// outdated lets go of the head when an answer to a request for a slice says that there is
// no such content any more, and nothing takes its place: else every transfer of it would
// break off there.
func (s *sliced) outdated(status int, r *response.Response) {
	switch status {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotFound, http.StatusGone, http.StatusRequestedRangeNotSatisfiable:
		held := s.w.edge.store.Get(s.head.Key)
		if r == nil && held != nil && held.Kind == response.Sliced && held.Set == s.head.Set {
			s.w.edge.drop(s.head.Key)
		}
	}
}

// together is what requests have in common that may share a fetch of bytes of the
// content: what those have, too, who as yet know nothing of it. Only where that has led to
// something else, as while the content changes, those who read this one are for themselves.
func (s *sliced) together(slice response.Key, a ask) string {
	if s.apart {
		return slice.Text + a.part() + s.w.touched()
	}
	return s.head.Key.Text + a.part() + s.w.touched()
}

// same reports whether what came is of this content: a part of the set, or, of an origin
// that ignores ranges, the whole again. What others have begun may be another variant, or
// validate what is stored.
func (s *sliced) same(a *arrival) bool {
	r := a.fill.Response()
	switch {
	case r == nil, !a.leader && (a.fill.Whole() != nil || !slices.Equal(r.Vary, s.head.Vary)):
		return false
	case r.Kind == response.Slice:
		return r.Set == s.head.Set && r.Complete == s.head.Complete
	}
	return r.Kind == response.Content && r.Status == 200 && !r.Transient && r.Set == s.head.Set
}

// fence is what is demanded of a slice: as of the whole, and what was promised.
func (s *sliced) fence(attempt int) hop.Fence {
	fence := s.w.demand(attempt)
	if s.begun && s.w.trusted {
		fence = fence.Max(hop.Fence{Log: s.promised.Log, Hard: s.promised.AsOf, Born: s.promised.Born})
	}
	return fence
}

// begin finds a fill for what is wanted: of the whole slice, where one is under way or
// the client's credit allows it, else of the missing bytes alone.
func (s *sliced) begin(want want, attempt int) (f *upstream.Fill, leader bool, err error) {
	w, e := s.w, s.w.edge
	fence := s.fence(attempt)
	a := askForSlice(want.n, s.head.Complete)
	if s.account != nil {
		looking := upstream.Spec{Settled: func() bool { return true }}
		if f, _, err := e.fills.Join(w.ctx, s.together(want.key, a), fence, looking); f != nil || err != nil {
			return f, false, err
		}
		if s.account.allows(w.ctx, a.span.Len()) {
			a.paid = a.span.Len()
		} else {
			n := s.account.credit.reserveSome(want.end - want.pos)
			a = askFor(httpcache.Span{Start: want.pos, End: want.pos + n}, n)
		}
	}
	fill := w.sliceFill(s.head, a)
	f, leader, err = e.fills.Join(w.ctx, s.together(want.key, a), fence, fill.spec(fence, nil, want.key, want.looked))
	if !leader && a.paid > 0 {
		s.account.credit.refund(a.paid)
	}
	return f, leader, err
}

// sliceFill is the fetch of bytes of a content whose head is known.
func (w *walk) sliceFill(head *response.Response, a ask) *fill {
	f := w.fill("GET")
	f.base, f.head, f.ask, f.credit = nil, head, a, nil
	if a.paid > 0 {
		f.credit = w.credit()
	}
	return f
}

// reader reads a span of the content, which it has checked to begin.
func (s *sliced) reader(span httpcache.Span) (*slicedReader, error) {
	src, err := s.at(span.Start, span.End)
	if err != nil {
		return nil, fmt.Errorf("slice %d: %w", span.Start/response.SliceSize, err)
	}
	return &slicedReader{of: s, left: span, src: src}, nil
}
