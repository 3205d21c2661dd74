package httpcache

import (
	"iter"
	"strings"
	"time"

	"freshet/internal/header"
)

// MaxDelta is the largest delta-seconds that is kept; larger ones count as this
// (RFC 9111 §1.2.2).
const MaxDelta = 1<<31 - 1

// Absent stands for a directive with a time that was not given.
const Absent time.Duration = -1

// AnyAge is the max-stale of a client that accepts a response however stale (RFC
// 9111 §5.2.1.2).
const AnyAge time.Duration = MaxDelta * time.Second

// ResponseDirectives is a parsed Cache-Control field of a response (RFC 9111
// §5.2.2, with RFC 5861 and RFC 8246). A time that was not given is Absent; one
// that is malformed is zero: invalid freshness information counts as stale
// (§4.2.1).
type ResponseDirectives struct {
	NoStore, NoCache, Private, Public bool
	MustRevalidate, ProxyRevalidate   bool
	MustUnderstand, NoTransform       bool
	Immutable                         bool
	MaxAge, SMaxAge                   time.Duration
	StaleWhileRevalidate              time.Duration
	StaleIfError                      time.Duration
	// Withheld are the fields that the qualified forms of no-cache and private name,
	// lower-cased: this cache stores neither (§5.2.2.4, §5.2.2.7).
	Withheld []string
}

// RequestDirectives is a parsed Cache-Control field of a request (§5.2.1). A time
// that was not given is Absent.
type RequestDirectives struct {
	NoStore, NoCache, NoTransform, OnlyIfCached bool
	MaxAge, MinFresh                            time.Duration
	MaxStale                                    time.Duration // AnyAge without a value
	StaleIfError                                time.Duration // RFC 5861 §4
}

// ParseResponse reads the values of a Cache-Control field of a response. Unknown
// directives are ignored (§5.2.3). Of a directive that stands more than once the
// first counts (§4.2.1); conflicting directives are all kept, and the most
// restrictive wins where they are used. A malformed directive takes nothing with
// it but itself.
func ParseResponse(values iter.Seq[string]) ResponseDirectives {
	d := ResponseDirectives{MaxAge: Absent, SMaxAge: Absent, StaleWhileRevalidate: Absent, StaleIfError: Absent}
	for v := range values {
		for l := (memberList{rest: v}); l.rest != ""; {
			d.set(parseDirective(l.next()))
		}
	}
	return d
}

// set takes one directive. What permits something counts only if it is well
// formed; what restricts counts in any form.
func (d *ResponseDirectives) set(x directive) {
	switch {
	case x.is("no-store"):
		d.NoStore = true
	case x.is("no-cache"):
		d.qualified(&d.NoCache, x)
	case x.is("private"):
		d.qualified(&d.Private, x)
	case x.is("public"):
		d.Public = d.Public || !x.hasArg
	case x.is("must-revalidate"):
		d.MustRevalidate = true
	case x.is("proxy-revalidate"):
		d.ProxyRevalidate = true
	case x.is("must-understand"):
		d.MustUnderstand = d.MustUnderstand || !x.hasArg
	case x.is("no-transform"):
		d.NoTransform = true
	case x.is("immutable"):
		d.Immutable = true
	case x.is("max-age"):
		x.seconds(&d.MaxAge, 0)
	case x.is("s-maxage"):
		x.seconds(&d.SMaxAge, 0)
	case x.is("stale-while-revalidate"):
		x.seconds(&d.StaleWhileRevalidate, 0)
	case x.is("stale-if-error"):
		x.seconds(&d.StaleIfError, 0)
	}
}

// structural are the fields without which the stored content cannot be understood
// or chosen: a response cannot be kept without them, so naming one in a qualified
// directive counts as the unqualified form.
var structural = []string{"content-encoding", "content-range", "content-type", "vary", "cache-control", "transfer-encoding"}

// MaxWithheld is how many fields the qualified directives of one response may name.
const MaxWithheld = 64

// qualified takes no-cache or private: with a list of field names, those are
// withheld; without, or with a list that is empty, malformed, too long or names a
// structural field, it is the unqualified form, which is the stricter (§5.2.2.4,
// §5.2.2.7).
func (d *ResponseDirectives) qualified(unqualified *bool, x directive) {
	withheld := d.Withheld
	for name := range members(x.arg) {
		name = strings.ToLower(name)
		if x.broken || !isToken(name) || contains(structural, name) || len(withheld) == MaxWithheld {
			*unqualified = true
			return
		}
		if !contains(withheld, name) {
			withheld = append(withheld, strings.Clone(name))
		}
	}
	if trimSpace(strings.ReplaceAll(x.arg, ",", "")) == "" {
		*unqualified = true
	}
	d.Withheld = withheld
}

var requestDirectives = header.NamesOf("Cache-Control", "Pragma")

// ParseRequest reads Cache-Control of a request, and Pragma: no-cache where there
// is none (§5.4). It does not allocate. Malformed times: a max-age counts as zero;
// a min-fresh, a max-stale and a stale-if-error as not given.
func ParseRequest(h *header.Block) RequestDirectives {
	d := RequestDirectives{MaxAge: Absent, MinFresh: Absent, MaxStale: Absent, StaleIfError: Absent}
	if !h.HasAny(requestDirectives) {
		return d
	}
	given, pragma := false, false
	for name, v := range h.All() {
		switch {
		case header.EqualName(name, "Cache-Control"):
			given = true
			for l := (memberList{rest: v}); l.rest != ""; {
				d.set(parseDirective(l.next()))
			}
		case header.EqualName(name, "Pragma"):
			for l := (memberList{rest: v}); l.rest != ""; {
				pragma = pragma || parseDirective(l.next()).is("no-cache")
			}
		}
	}
	if !given && pragma {
		d.NoCache = true
	}
	return d
}

func (d *RequestDirectives) set(x directive) {
	switch {
	case x.is("no-store"):
		d.NoStore = true
	case x.is("no-cache"):
		d.NoCache = true
	case x.is("no-transform"):
		d.NoTransform = true
	case x.is("only-if-cached"):
		d.OnlyIfCached = true
	case x.is("max-age"):
		x.seconds(&d.MaxAge, 0)
	case x.is("min-fresh"):
		x.seconds(&d.MinFresh, Absent)
	case x.is("max-stale") && !x.hasArg:
		if d.MaxStale == Absent {
			d.MaxStale = AnyAge
		}
	case x.is("max-stale"):
		x.seconds(&d.MaxStale, Absent)
	case x.is("stale-if-error"):
		x.seconds(&d.StaleIfError, Absent)
	}
}

// WithholdFrom removes from h what may not be stored (§3.1, §5.2.2.4, §5.2.2.7).
func WithholdFrom(h *header.Block, withheld []string) {
	if len(withheld) == 0 {
		return
	}
	h.Filter(func(name, _ string) bool {
		for _, w := range withheld {
			if header.EqualName(name, w) {
				return false
			}
		}
		return true
	})
}
