package invalidate

import (
	"math/bits"
	"sync/atomic"

	"freshet/edge/response"
)

// perMark is how many bits of the filter there are for each mark at least. A scope without
// a mark passes about one time in a hundred.
const perMark = 16

// filter says of most scopes without a mark that they have none. It is a fraction of the
// marks, so that it lies in the processor's cache where they do not.
type filter struct {
	words []atomic.Uint64
	kinds atomic.Uint32 // of the scopes that are marked, by bit
}

// newFilter has room for so many marks.
func newFilter(marks int64) *filter {
	return &filter{words: make([]atomic.Uint64, max(64, 1<<bits.Len64(uint64(marks)*perMark/64)))}
}

// room is how many marks it is for.
func (f *filter) room() int64 { return int64(len(f.words)) * 64 / perMark }

// at is the word of a scope and its bits there: mostly two.
func (f *filter) at(scope response.ScopeHash) (word int, set uint64) {
	h := uint64(scope) >> 8 // bits that the index does not go by alone
	return int(h >> 12 & uint64(len(f.words)-1)), 1<<(h&63) | 1<<(h>>6&63)
}

// add says that a scope is marked. One goroutine at a time does.
func (f *filter) add(scope response.ScopeHash) {
	word, set := f.at(scope)
	f.words[word].Or(set)
	f.kinds.Or(1 << scope.Kind())
}

// mayHave reports whether a scope of one of the kinds may be marked.
func (f *filter) mayHave(kinds uint32, scope response.ScopeHash) bool {
	word, set := f.at(scope)
	return kinds>>scope.Kind()&1 != 0 && f.words[word].Load()&set == set
}

// sift makes the filter anew, of the marks that there are, with room for as many again.
func (t *Table) sift() {
	f := newFilter(2 * t.count.Load())
	t.hard.each(func(scope response.ScopeHash, _ *atomic.Uint64) bool {
		f.add(scope)
		return true
	})
	t.soft.each(func(scope response.ScopeHash, _ *atomic.Pointer[soft]) bool {
		f.add(scope)
		return true
	})
	t.filter.Store(f)
}

// noteMark makes the filter know a mark that was set.
func (t *Table) noteMark(scope response.ScopeHash) {
	f := t.filter.Load()
	if t.count.Load() > f.room() {
		t.sift()
		return
	}
	f.add(scope)
}
