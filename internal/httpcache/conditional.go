package httpcache

import (
	"strings"
	"time"

	"freshet/internal/header"
)

// Precondition is what a client's conditional fields make of an answer from the
// cache.
type Precondition uint8

// The outcomes.
const (
	// Proceed: answer as if there were no condition.
	Proceed Precondition = iota
	// NotModified: the client has it already; answer 304 with NotModifiedHeader.
	NotModified
	// AskOrigin: an If-Match or If-Unmodified-Since that the stored response does not
	// fulfil. Only the origin may say 412 (RFC 9111 §4.3.2): hand the request on as it
	// is, and the answer back.
	AskOrigin
)

// Preconditions evaluates the conditional fields of a GET or HEAD request against
// the stored response that would answer it, of that status, in the order of RFC
// 9110 §13.2.2. If-Range belongs to SelectRange. Fields that cannot be read count
// as not sent, but an If-None-Match that cannot be read matches nothing and still
// hides If-Modified-Since.
func Preconditions(q Request, status int, f *Facts) Precondition {
	if status < 200 || status > 299 || q.Method != "GET" && q.Method != "HEAD" {
		return Proceed // §13.2.1
	}
	c := conditionsOf(q.Header)
	if c == 0 {
		return Proceed
	}
	switch {
	case c&ifMatch != 0:
		if !matchesAny(q.Header, "If-Match", f.ETag, StrongMatch) {
			return AskOrigin
		}
	case c&ifUnmodifiedSince != 0:
		t, ok := onlyDate(q.Header, "If-Unmodified-Since", f.Received)
		if ok && !f.LastModified.IsZero() && f.LastModified.After(t) {
			return AskOrigin
		}
	}
	switch {
	case c&ifNoneMatch != 0:
		if matchesAny(q.Header, "If-None-Match", f.ETag, WeakMatch) {
			return NotModified
		}
	case c&ifModifiedSince != 0:
		// RFC 9111 §4.3.2: without a Last-Modified, Date stands for it.
		modified := f.LastModified
		if modified.IsZero() {
			modified = f.Date
		}
		if t, ok := onlyDate(q.Header, "If-Modified-Since", f.Received); ok && !modified.Truncate(time.Second).After(t) {
			return NotModified
		}
	}
	return Proceed
}

type conditions uint8

const (
	ifMatch conditions = 1 << iota
	ifUnmodifiedSince
	ifNoneMatch
	ifModifiedSince
)

var conditional = header.NamesOf("If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since")

// conditionsOf looks once through a header for the conditional fields.
func conditionsOf(h *header.Block) (c conditions) {
	if !h.HasAny(conditional) {
		return 0
	}
	for i := range h.Len() {
		name, _ := h.At(i)
		if len(name) < len("If-Match") || name[2] != '-' {
			continue
		}
		switch {
		case header.EqualName(name, "If-Match"):
			c |= ifMatch
		case header.EqualName(name, "If-Unmodified-Since"):
			c |= ifUnmodifiedSince
		case header.EqualName(name, "If-None-Match"):
			c |= ifNoneMatch
		case header.EqualName(name, "If-Modified-Since"):
			c |= ifModifiedSince
		}
	}
	return c
}

// matchesAny reports whether "*" or one of the entity-tags listed in a field
// matches tag. What is no entity-tag matches nothing.
func matchesAny(h *header.Block, name, tag string, match func(a, b string) bool) bool {
	lines := 0
	star := false
	for v := range h.Values(name) {
		lines++
		star = star || v == "*"
		for v != "" {
			var member string
			member, v = nextTag(v)
			if tag != "" && match(member, tag) {
				return true
			}
		}
	}
	return star && lines == 1
}

// onlyDate is the date of a field that stands once; ok is false otherwise.
func onlyDate(h *header.Block, name string, now time.Time) (t time.Time, ok bool) {
	n := 0
	for v := range h.Values(name) {
		n++
		t, ok = ParseDate(v, now)
	}
	return t, ok && n == 1
}

// ifRangeHolds evaluates If-Range (RFC 9110 §13.1.5); it holds when it is not
// there.
func ifRangeHolds(h *header.Block, f *Facts) bool {
	n, value := 0, ""
	for v := range h.Values("If-Range") {
		n, value = n+1, v
	}
	switch {
	case n == 0:
		return true
	case n > 1:
		return false
	case strings.IndexByte(value[:min(len(value), 3)], '"') >= 0:
		return StrongMatch(value, f.ETag)
	}
	t, ok := ParseDate(value, f.Received)
	return ok && f.strongDate() && t.Equal(f.LastModified)
}

// strongDate reports whether Last-Modified is a strong validator (RFC 9110
// §8.8.2.2). Policy: a minute between it and Date is enough to rule the clocks out.
func (f *Facts) strongDate() bool {
	return !f.LastModified.IsZero() && f.Date.Sub(f.LastModified) >= time.Minute
}

// NotModifiedHeader is the header of a 304 made of a stored one (RFC 9110
// §15.4.5): without what describes the content that is not sent, but for what the
// section demands, and Last-Modified where there is no entity-tag. It is in draft.
func NotModifiedHeader(draft *header.Draft, stored *header.Block, f *Facts) *header.Block {
	draft.Begin(stored, func(name, _ string) bool {
		switch {
		case header.EqualName(name, "Content-Location"), header.HasPrefixName(name, "Content-Security-Policy"):
			return true
		case header.EqualName(name, "Last-Modified"):
			return f.ETag == ""
		case header.EqualName(name, "Accept-Ranges"), header.EqualName(name, "Repr-Digest"), header.EqualName(name, "Digest"):
			return false
		}
		return !header.HasPrefixName(name, "Content-")
	})
	return draft.Block()
}
