package edge

import "freshet/edge/response"

// ahead is the fill of a slice that is going to be wanted next.
type ahead struct {
	n int64
	arrival
}

// arrives reports whether a source is on its way from a parent.
func (s *source) arrives() bool {
	_, ok := s.ReadCloser.(fillReader)
	return ok
}

// lookAhead begins to fetch slice n, while the one before it is on its way to a client
// who wants to read on up to end: where he wants all of it, and the credit has it
// already.
func (s *sliced) lookAhead(n, end int64) {
	w, e := s.w, s.w.edge
	span := sliceSpan(n, s.head.Complete)
	if s.ahead != nil || !s.w.fetches(s.head) || span.Len() <= 0 || end < span.End {
		return
	}
	key := response.SliceKey(s.head.Key, s.head.Set, n)
	looked := e.slicing.changes.of(key)
	if e.store.Has(key) {
		return
	}
	a := askForSlice(n, s.head.Complete)
	if s.account != nil {
		s.account.settle()
		if !s.account.credit.reserve(span.Len()) {
			return
		}
		a.paid = span.Len()
	}
	fence := s.fence(1)
	f, leader, err := e.fills.Join(w.ctx, s.together(key, a), fence, w.sliceFill(s.head, a).spec(fence, nil, key, looked))
	if !leader && a.paid > 0 {
		s.account.credit.refund(a.paid)
	}
	if err == nil && f != nil {
		s.ahead = &ahead{n, arrival{f, leader}}
	}
}

// awaited is the slice that was fetched ahead, if it is the one that is wanted now and
// is as it should be.
func (s *sliced) awaited(n, pos, end int64) *source {
	a := s.ahead
	if a == nil {
		return nil
	}
	s.ahead = nil
	if a.n != n || a.fill.Wait(s.w.ctx) != nil || !s.same(&a.arrival) {
		a.fill.Leave()
		return nil
	}
	return s.arriving(&a.arrival, pos, end)
}

// lookAway ends what was begun ahead.
func (s *sliced) lookAway() {
	if s.ahead != nil {
		s.ahead.fill.Leave()
		s.ahead = nil
	}
}
