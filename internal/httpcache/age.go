package httpcache

import (
	"strings"
	"time"

	"freshet/internal/header"
)

// maxSpan bounds every age, lifetime and window, so that their sums never overflow.
const maxSpan = MaxDelta * time.Second

// clamp is d within zero and maxSpan.
func clamp(d time.Duration) time.Duration { return min(max(d, 0), maxSpan) }

// initialAge is corrected_initial_age of RFC 9111 §4.2.3, in its conservative form:
// a Date that has passed counts, even without an Age. Date has whole seconds, and so
// has the moment that it is held against: else every lifetime would lose up to one.
func initialAge(h *header.Block, sent, received time.Time) time.Duration {
	var apparent time.Duration
	if d, ok := date(h, "Date", received); ok {
		apparent = clamp(received.Truncate(time.Second).Sub(d))
	}
	return max(apparent, clamp(ageValue(h)+clamp(received.Sub(sent))))
}

// ageValue is age_value. Age is no list, but one that is sent as a list, in one
// line or in several, counts with its first member; then a malformed value is
// ignored (§5.1).
func ageValue(h *header.Block) time.Duration {
	first, _, _ := strings.Cut(h.Get("Age"), ",")
	age, _ := ParseDelta(trimSpace(first))
	return age
}
