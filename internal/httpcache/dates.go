package httpcache

import (
	"net/http"
	"time"

	"freshet/internal/header"
)

// ParseDate reads an HTTP-date in any of its three formats (RFC 9110 §5.6.7).
func ParseDate(s string) (time.Time, bool) {
	t, err := http.ParseTime(s)
	return t, err == nil
}

// date is the first date of a field; ok is false if it is missing or malformed.
func date(h *header.Block, name string) (time.Time, bool) { return ParseDate(h.Get(name)) }

// initialAge is corrected_initial_age of RFC 9111 §4.2.3.
func initialAge(h *header.Block, sent, received time.Time) time.Duration {
	var apparent time.Duration
	if d, ok := date(h, "Date"); ok {
		apparent = max(received.Sub(d), 0)
	}
	return max(apparent, ageValue(h)+max(received.Sub(sent), 0))
}

// ageValue is age_value: the first member of the first Age field, all else being
// discarded; a malformed one is ignored (§5.1).
func ageValue(h *header.Block) time.Duration {
	for m := range members(h.Get("Age")) {
		age, _ := ParseDelta(m)
		return age
	}
	return 0
}
