// Package httpcache holds the decisions of an HTTP cache as pure functions over
// header blocks: RFC 9111 (caching) with RFC 5861 (stale content). Nothing in it
// does I/O, reads a clock or logs; every outcome is a named value.
package httpcache

import (
	"iter"
	"strings"
	"time"
)

// MaxDelta is the largest delta-seconds that is kept; larger ones count as this
// (RFC 9111 §1.2.2).
const MaxDelta = 1<<31 - 1

// Absent stands for a directive with a time that was not given.
const Absent time.Duration = -1

// Directives is a parsed Cache-Control field, of a request or of a response (RFC
// 9111 §5.2). A time that was not given is Absent; one that was given and is
// malformed counts as zero, which is the careful reading (§4.2.1).
type Directives struct {
	NoStore, NoCache, Private, Public  bool
	MustRevalidate, ProxyRevalidate    bool
	OnlyIfCached                       bool
	MaxAge, SMaxAge                    time.Duration
	StaleWhileRevalidate, StaleIfError time.Duration // RFC 5861
}

// ParseDirectives reads the values of a Cache-Control field. Unknown directives
// are ignored (§5.2.3); of a directive that stands twice with different times the
// shortest counts (§4.2.1). The qualified forms of no-cache and private (with a
// list of field names) are taken as the unqualified ones, as §5.2.2.4 and
// §5.2.2.7 allow.
func ParseDirectives(values iter.Seq[string]) Directives {
	d := Directives{MaxAge: Absent, SMaxAge: Absent, StaleWhileRevalidate: Absent, StaleIfError: Absent}
	for v := range values {
		for v != "" {
			var name, arg string
			name, arg, v = nextDirective(v)
			d.set(name, arg)
		}
	}
	return d
}

func (d *Directives) set(name, arg string) {
	switch {
	case strings.EqualFold(name, "no-store"):
		d.NoStore = true
	case strings.EqualFold(name, "no-cache"):
		d.NoCache = true
	case strings.EqualFold(name, "private"):
		d.Private = true
	case strings.EqualFold(name, "public"):
		d.Public = true
	case strings.EqualFold(name, "must-revalidate"):
		d.MustRevalidate = true
	case strings.EqualFold(name, "proxy-revalidate"):
		d.ProxyRevalidate = true
	case strings.EqualFold(name, "only-if-cached"):
		d.OnlyIfCached = true
	case strings.EqualFold(name, "max-age"):
		shortest(&d.MaxAge, arg)
	case strings.EqualFold(name, "s-maxage"):
		shortest(&d.SMaxAge, arg)
	case strings.EqualFold(name, "stale-while-revalidate"):
		shortest(&d.StaleWhileRevalidate, arg)
	case strings.EqualFold(name, "stale-if-error"):
		shortest(&d.StaleIfError, arg)
	}
}

func shortest(d *time.Duration, arg string) {
	v, ok := ParseDelta(arg)
	if !ok {
		v = 0
	}
	if *d == Absent || v < *d {
		*d = v
	}
}

// ParseDelta reads delta-seconds (§1.2.2): digits only, capped at MaxDelta.
func ParseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), MaxDelta)
	}
	return time.Duration(n) * time.Second, true
}

// nextDirective cuts the first directive off a list: name, its argument without
// quotes, and the rest. Commas inside a quoted string do not separate.
func nextDirective(s string) (name, arg, rest string) {
	end, quoted := len(s), false
scan:
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			end = i
			break scan
		}
	}
	directive := trimSpace(s[:end])
	if end < len(s) {
		rest = s[end+1:]
	}
	name, arg, _ = strings.Cut(directive, "=")
	if len(arg) >= 2 && arg[0] == '"' && arg[len(arg)-1] == '"' {
		arg = arg[1 : len(arg)-1]
	}
	return trimSpace(name), arg, rest
}

// trimSpace removes OWS (RFC 9110 §5.6.3).
func trimSpace(s string) string { return strings.Trim(s, " \t") }
