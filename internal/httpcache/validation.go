package httpcache

import (
	"net/http"
	"time"

	"freshet/internal/header"
)

// AddConditions makes a request a validation of a stored response (RFC 9111
// §4.3.1): If-None-Match with its ETag, If-Modified-Since with its Last-Modified.
// With strongOnly it uses a strong ETag or nothing. The conditional fields that h
// has are removed first. It reports whether there was anything to validate by.
func AddConditions(h, stored *header.Block, f *Facts, strongOnly bool) (bool, error) {
	RemoveConditions(h)
	if strongOnly && !IsStrong(f.ETag) {
		return false, nil
	}
	if f.ETag != "" {
		if err := h.Add("If-None-Match", f.ETag); err != nil {
			return false, err
		}
	}
	if !f.LastModified.IsZero() && !strongOnly {
		// As it was spelled: some origins compare the text (RFC 9110 §13.1.3).
		if err := h.Add("If-Modified-Since", stored.Get("Last-Modified")); err != nil {
			return false, err
		}
	}
	return f.HasValidator(), nil
}

// RemoveConditions removes the conditional fields and Range.
func RemoveConditions(h *header.Block) {
	h.Filter(func(name, _ string) bool {
		return !header.EqualName(name, "If-Match") && !header.EqualName(name, "If-None-Match") &&
			!header.EqualName(name, "If-Modified-Since") && !header.EqualName(name, "If-Unmodified-Since") &&
			!header.EqualName(name, "If-Range") && !header.EqualName(name, "Range")
	})
}

// Matching says how a 304 identifies the stored response that it was asked for.
type Matching uint8

// The ways.
const (
	// Mismatch: it speaks of something else and freshens nothing; ask again without
	// conditions.
	Mismatch Matching = iota
	// MatchUnsaid: it has no validator. Policy: the request named one response alone,
	// so it speaks of that one; §4.3.4 has no rule for it where the stored response has
	// a validator, but Last-Modified need not stand in a 304 (RFC 9110 §15.4.5).
	MatchUnsaid
	// MatchWeak: the same weak ETag, or the same Last-Modified.
	MatchWeak
	// MatchStrong: the same strong ETag.
	MatchStrong
)

// Match304 tells whether a 304 that answers AddConditions freshens the stored
// response (RFC 9111 §4.3.4).
func Match304(f *Facts, update *header.Block, received time.Time) Matching {
	switch tag := update.Get("ETag"); {
	case IsStrong(tag):
		if StrongMatch(tag, f.ETag) {
			return MatchStrong
		}
		return Mismatch
	case validTag(tag):
		if WeakMatch(tag, f.ETag) {
			return MatchWeak
		}
		return Mismatch
	}
	if t, ok := date(update, "Last-Modified", received); ok {
		if t.Equal(f.LastModified) {
			return MatchWeak
		}
		return Mismatch
	}
	return MatchUnsaid
}

// MatchHead tells whether the answer to a HEAD speaks of the stored response, of
// that content length, and freshens it; else it makes it stale (§4.3.5).
func MatchHead(f *Facts, length int64, head *header.Block, received time.Time) bool {
	if tag := head.Get("ETag"); tag != "" && tag != f.ETag {
		return false
	}
	if head.Has("Last-Modified") {
		if t, ok := date(head, "Last-Modified", received); !ok || !t.Equal(f.LastModified) {
			return false
		}
	}
	if v := head.Get("Content-Length"); v != "" {
		n, ok := parsePosition(v)
		return ok && n == length
	}
	return true
}

// kept are the fields of a stored response that an update does not replace (§3.2):
// Content-Length; those that say how the stored bytes are to be read; and the
// digests of what one message carries (RFC 9530 §2, and Content-MD5 before it),
// which in a 304 speak of its own empty content.
var kept = []string{"Content-Length", "Content-Encoding", "Content-Range", "Content-MD5", "Content-Digest"}

// Freshen is the header of a stored response updated by a 304 or the answer to a
// HEAD (§3.2): every field of the update replaces those of its name, but for kept
// ones. A Date is added where the update has none, for it would otherwise be as
// old as the stored one; an Age of the stored one goes. Assess the result, with
// the status of the stored response, for its new Facts.
func Freshen(stored, update *header.Block, received time.Time) (*header.Block, error) {
	h := stored.Clone()
	h.Filter(func(name, _ string) bool {
		if header.EqualName(name, "Age") || header.EqualName(name, "Date") {
			return false
		}
		return !update.Has(name) || isKept(name)
	})
	for name, value := range update.All() {
		if isKept(name) {
			continue
		}
		if err := h.Add(name, value); err != nil {
			return nil, err
		}
	}
	if _, ok := date(h, "Date", received); !ok {
		if err := h.Set("Date", received.UTC().Format(http.TimeFormat)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func isKept(name string) bool {
	for _, k := range kept {
		if header.EqualName(name, k) {
			return true
		}
	}
	return false
}
