package httpcache

import (
	"strings"
	"time"

	"freshet/internal/header"
)

// ParseDate reads an HTTP-date in any of its three formats (RFC 9110 §5.6.7),
// case-insensitively, and no other (RFC 9111 §4.2). now decides the century of the
// two-digit years of RFC 850. The name of the day need not be the right one.
func ParseDate(s string, now time.Time) (time.Time, bool) {
	day, rest, ok := strings.Cut(s, ",")
	switch {
	case ok && len(day) == 3 && len(rest) == 25: // " 06 Nov 1994 08:49:37 GMT"
		if rest[0] == ' ' && rest[3] == ' ' && rest[7] == ' ' && rest[12] == ' ' && zone(rest[21:]) && isDay(day) {
			return civil(number(rest[8:12]), month(rest[4:7]), number(rest[1:3]), rest[13:21])
		}
	case ok && len(rest) == 23 && isLongDay(day): // " 06-Nov-94 08:49:37 GMT"
		if rest[0] == ' ' && rest[3] == '-' && rest[7] == '-' && rest[10] == ' ' && zone(rest[19:]) {
			return civil(century(number(rest[8:10]), now), month(rest[4:7]), number(rest[1:3]), rest[11:19])
		}
	case !ok && len(s) == 24 && isDay(s[:3]): // "Sun Nov  6 08:49:37 1994"
		if s[3] == ' ' && s[7] == ' ' && s[10] == ' ' && s[19] == ' ' {
			return civil(number(s[20:24]), month(s[4:7]), number(strings.TrimPrefix(s[8:10], " ")), s[11:19])
		}
	}
	return time.Time{}, false
}

func zone(s string) bool { return strings.EqualFold(s, " GMT") }

const days = "monday   tuesday  wednesdaythursday friday   saturday sunday   "

func isDay(s string) bool {
	for i := 0; i < len(days); i += 9 {
		if strings.EqualFold(s, days[i:i+3]) {
			return true
		}
	}
	return false
}

func isLongDay(s string) bool {
	for i := 0; i < len(days); i += 9 {
		if strings.EqualFold(s, strings.TrimRight(days[i:i+9], " ")) {
			return true
		}
	}
	return false
}

// month is 1 to 12, or -1.
func month(s string) int {
	const months = "janfebmaraprmayjunjulaugsepoctnovdec"
	for i := 0; i < len(months); i += 3 {
		if strings.EqualFold(s, months[i:i+3]) {
			return i/3 + 1
		}
	}
	return -1
}

// number reads digits, or is -1.
func number(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	if s == "" {
		return -1
	}
	return n
}

// century completes a two-digit year: one that seems to be more than 50 years
// ahead is the most recent one in the past with those digits (RFC 9110 §5.6.7).
func century(year int, now time.Time) int {
	if year < 0 {
		return -1
	}
	this := now.UTC().Year()
	year += this - this%100
	if year > this+50 {
		year -= 100
	}
	return year
}

// civil makes a time of parts that were read, any of which may be -1; clock is
// "08:49:37".
func civil(year, month, day int, clock string) (time.Time, bool) {
	h, m, s := number(clock[0:2]), number(clock[3:5]), number(clock[6:8])
	if clock[2] != ':' || clock[5] != ':' || h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 60 || year < 0 || month < 1 || day < 1 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, h, m, s, 0, time.UTC)
	midnight := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t, midnight.Day() == day // else the month has no such day
}

// date is the first date of a field; ok is false if it is missing or malformed.
func date(h *header.Block, name string, now time.Time) (time.Time, bool) {
	return ParseDate(h.Get(name), now)
}
