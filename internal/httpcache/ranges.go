package httpcache

import (
	"slices"
	"strings"

	"freshet/internal/header"
)

// MaxRanges is how many ranges one request may ask for; one that asks for more
// gets the whole (RFC 9110 §17.15).
const MaxRanges = 32

// partOverhead is what a part of a multipart answer costs beside its content, in
// bytes: ranges with smaller gaps between them are sent as one (§15.3.7.2).
const partOverhead = 128

// Span is a range of bytes of a representation, [Start, End).
type Span struct{ Start, End int64 }

// Len is the number of bytes.
func (s Span) Len() int64 { return s.End - s.Start }

// Selection is what a Range field makes of an answer.
type Selection uint8

// The selections.
const (
	Whole         Selection = iota // no Range that counts: 200 with everything
	Partial                        // 206 with the spans
	Unsatisfied                    // 416 with UnsatisfiedRange
	NeedsTheWhole                  // the size is not known, and the spans cannot be told without
)

// SelectRange decides which bytes of a stored response of that status and size
// answer a request (RFC 9110 §14.2), If-Range included. size is -1 when it is not
// known. Overlapping and near ranges become one, in the order of their first
// mention, so that the spans are disjoint and never cost more than the whole.
func SelectRange(q Request, status int, f *Facts, size int64) (Selection, []Span) {
	if q.Method != "GET" || status != 200 || !q.Header.Has("Range") || size == 0 {
		return Whole, nil
	}
	set, ok := ParseRange(onlyValue(q.Header, "Range"))
	if !ok || !ifRangeHolds(q.Header, f) {
		return Whole, nil
	}
	spans, known := set.resolve(size)
	switch {
	case !known:
		return NeedsTheWhole, nil
	case len(spans) == 0:
		return Unsatisfied, nil
	}
	spans = coalesce(spans)
	total := int64(0)
	for _, s := range spans {
		total += s.Len() + partOverhead
	}
	if len(spans) > 1 && size >= 0 && total >= size {
		return Whole, nil
	}
	return Partial, spans
}

// RangeSpec is one range as it was asked for: First-Last inclusive, Last -1 for
// "to the end"; or First -1 and Last the length of a suffix.
type RangeSpec struct{ First, Last int64 }

// RangeSet is a parsed Range field.
type RangeSet []RangeSpec

// ParseRange reads a Range field. ok is false for what is to be ignored: another
// unit than bytes, a malformed field, or more than MaxRanges ranges.
func ParseRange(value string) (set RangeSet, ok bool) {
	unit, list, found := strings.Cut(value, "=")
	if !found || !header.EqualName(unit, "bytes") {
		return nil, false
	}
	for m := range members(list) {
		spec, ok := parseSpec(m)
		if !ok || len(set) == MaxRanges {
			return nil, false
		}
		set = append(set, spec)
	}
	return set, len(set) > 0
}

func parseSpec(s string) (RangeSpec, bool) {
	first, last, found := strings.Cut(s, "-")
	if !found {
		return RangeSpec{}, false
	}
	spec := RangeSpec{First: -1, Last: -1}
	ok := first != "" || last != ""
	if first != "" {
		spec.First, found = parsePosition(first)
		ok = ok && found
	}
	if last != "" {
		spec.Last, found = parsePosition(last)
		ok = ok && found
	}
	if first != "" && last != "" && spec.Last < spec.First {
		return RangeSpec{}, false // §14.1.1: an invalid one makes the whole set invalid
	}
	return spec, ok
}

// maxPosition is the largest byte position that is kept; larger ones count as it.
const maxPosition = 1<<62 - 1

// parsePosition reads 1*DIGIT, capped (§14.1.2).
func parsePosition(s string) (int64, bool) {
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n > maxPosition/10-1 {
			n = maxPosition
			continue
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, s != ""
}

// resolve makes spans of what is satisfiable in a representation of that size;
// known is false if that cannot be told without a size.
func (set RangeSet) resolve(size int64) (spans []Span, known bool) {
	for _, r := range set {
		switch {
		case size < 0 && (r.First < 0 || r.Last < 0):
			return nil, false
		case size < 0:
			spans = append(spans, Span{r.First, r.Last + 1})
		case r.First < 0 && r.Last > 0:
			spans = append(spans, Span{max(size-r.Last, 0), size})
		case r.First >= 0 && r.First < size && r.Last < 0:
			spans = append(spans, Span{r.First, size})
		case r.First >= 0 && r.First < size:
			spans = append(spans, Span{r.First, min(r.Last+1, size)})
		}
	}
	return spans, true
}

// coalesce joins spans that overlap or lie near one another, each group standing
// where its first member stood.
func coalesce(spans []Span) []Span {
	type group struct {
		Span
		order int
	}
	groups := make([]group, len(spans))
	for i, s := range spans {
		groups[i] = group{s, i}
	}
	slices.SortFunc(groups, func(a, b group) int { return compare(a.Start, b.Start) })
	joined := groups[:1]
	for _, g := range groups[1:] {
		if last := &joined[len(joined)-1]; g.Start <= last.End+partOverhead {
			last.End, last.order = max(last.End, g.End), min(last.order, g.order)
			continue
		}
		joined = append(joined, g)
	}
	slices.SortFunc(joined, func(a, b group) int { return a.order - b.order })
	result := make([]Span, len(joined))
	for i, g := range joined {
		result[i] = g.Span
	}
	return result
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// onlyValue is the value of a field that stands once, else "".
func onlyValue(h *header.Block, name string) string {
	value, n := "", 0
	for v := range h.Values(name) {
		value, n = v, n+1
	}
	if n != 1 {
		return ""
	}
	return value
}
