package httpcache

import (
	"slices"
	"strconv"
	"strings"

	"freshet/internal/header"
)

// ContentRange is the Content-Range of one span of a representation of that size,
// -1 for unknown (RFC 9110 §14.4).
func ContentRange(s Span, size int64) string {
	b := append(make([]byte, 0, 48), "bytes "...)
	b = strconv.AppendInt(b, s.Start, 10)
	b = strconv.AppendInt(append(b, '-'), s.End-1, 10)
	b = append(b, '/')
	if size < 0 {
		return string(append(b, '*'))
	}
	return string(strconv.AppendInt(b, size, 10))
}

// UnsatisfiedRange is the Content-Range of a 416 (§15.5.17).
func UnsatisfiedRange(size int64) string { return "bytes */" + strconv.FormatInt(size, 10) }

// ParseContentRange reads a Content-Range of bytes: the span and the complete
// size, -1 for unknown. ok is false for another unit, an unsatisfied range and
// what is malformed or impossible.
func ParseContentRange(v string) (s Span, size int64, ok bool) {
	unit, rest, _ := strings.Cut(v, " ")
	if !header.EqualName(unit, "bytes") {
		return Span{}, 0, false
	}
	incl, complete, _ := strings.Cut(rest, "/")
	first, last, _ := strings.Cut(incl, "-")
	a, ok1 := parsePosition(first)
	b, ok2 := parsePosition(last)
	size, ok3 := parsePosition(complete)
	if complete == "*" {
		size, ok3 = -1, true
	}
	if !ok1 || !ok2 || !ok3 || b < a || b >= maxPosition || size >= 0 && size <= b {
		return Span{}, 0, false
	}
	return Span{a, b + 1}, size, true
}

// Part is what a response brings of a representation: all of it or one span.
type Part struct {
	Span
	Size int64 // of the whole representation; -1 if it is not known
}

// PartOf is what a 206 brings. ok is false if it cannot be combined or stored: a
// multipart, another unit, or a Content-Range that cannot be true.
func PartOf(h *header.Block) (p Part, ok bool) {
	v := onlyValue(h, "Content-Range")
	p.Span, p.Size, ok = ParseContentRange(v)
	if length := h.Get("Content-Length"); ok && length != "" {
		n, valid := parsePosition(length)
		ok = valid && n == p.Len()
	}
	return p, ok
}

// Combines reports whether parts of two responses may be put together (RFC 9111
// §3.4): they have the same strong validator.
func Combines(a, b *Facts) bool {
	if a.ETag != "" || b.ETag != "" {
		return StrongMatch(a.ETag, b.ETag)
	}
	return a.strongDate() && b.strongDate() && a.LastModified.Equal(b.LastModified)
}

// Held is which bytes of one representation are there: disjoint spans that do not
// touch, in ascending order. Nil is none.
type Held []Span

// Add is what is held once s is there too. It leaves h as it is.
func (h Held) Add(s Span) Held {
	if s.Len() <= 0 {
		return h
	}
	i := 0
	for i < len(h) && h[i].End < s.Start {
		i++
	}
	j := i
	for j < len(h) && h[j].Start <= s.End {
		s = Span{min(s.Start, h[j].Start), max(s.End, h[j].End)}
		j++
	}
	return slices.Concat(h[:i], Held{s}, h[j:])
}

// Covers reports whether all of s is held.
func (h Held) Covers(s Span) bool {
	for _, have := range h {
		if have.Start <= s.Start && s.End <= have.End {
			return true
		}
	}
	return s.Len() <= 0
}

// Missing is what of s is not held, in ascending order.
func (h Held) Missing(s Span) []Span {
	var missing []Span
	for _, have := range h {
		if have.End <= s.Start {
			continue
		}
		if have.Start >= s.End {
			break
		}
		if have.Start > s.Start {
			missing = append(missing, Span{s.Start, have.Start})
		}
		s.Start = have.End
	}
	if s.Len() > 0 {
		missing = append(missing, s)
	}
	return missing
}
