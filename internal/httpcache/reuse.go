package httpcache

import "time"

// Verdict is what a stored response is good for when a request comes.
type Verdict uint8

// The verdicts.
const (
	// Use: answer from it as it is.
	Use Verdict = iota
	// UseAndRefresh: answer from it now and validate it behind (RFC 5861 §3).
	UseAndRefresh
	// Validate: it must be validated; if nobody answers, the answer is an error (504
	// for must-revalidate, RFC 9111 §5.2.2.2).
	Validate
	// ValidateElseStale: it is to be validated; if nobody answers, or with an error,
	// it may be used as it is (§4.2.4, RFC 5861 §4).
	ValidateElseStale
	// Forward: nothing stored can be used; ask.
	Forward
	// Unsatisfiable: the client wants nothing but what is stored, and that cannot be
	// used: 504 (§5.2.1.7).
	Unsatisfiable
)

// Decision is a verdict with its reason.
type Decision struct {
	Verdict Verdict
	Fwd     string // fwd parameter of Cache-Status (RFC 9211 §2.2); "" for Use and UseAndRefresh
	Detail  string // what decided, a token; "" when the verdict says it all
}

// Reuse decides what a stored response, which the request selects, is good for at
// now (RFC 9111 §4); f is nil when nothing is stored. It does not allocate.
func Reuse(q Request, f *Facts, now time.Time, p *Policy) Decision {
	if q.Method != "GET" && q.Method != "HEAD" {
		return Decision{Forward, "method", ""}
	}
	d := RequestDirectives{MaxAge: Absent, MinFresh: Absent, MaxStale: Absent, StaleIfError: Absent}
	if !p.IgnoreRequestDirectives {
		d = ParseRequest(q.Header)
	}
	decision := Decision{Forward, "miss", ""}
	if f != nil {
		decision = reuse(&d, f, now)
	}
	if d.OnlyIfCached && decision.Verdict > UseAndRefresh {
		decision.Verdict = Unsatisfiable
	}
	return decision
}

func reuse(d *RequestDirectives, f *Facts, now time.Time) Decision {
	age, ttl := f.Age(now), f.TTL(now)
	state := f.At(now)
	// What the client demands beyond freshness. Its demands make a response that is
	// fresh no worse than stale within its windows: if nobody answers it is still there.
	demand := ""
	switch {
	case d.NoCache:
		demand = "no-cache"
	case d.MaxAge != Absent && age > d.MaxAge+max(d.MaxStale, 0):
		demand = "max-age"
	case d.MinFresh != Absent && ttl < d.MinFresh:
		demand = "min-fresh"
	}
	over := -ttl
	switch {
	case demand == "" && state == Fresh:
		return Decision{Use, "", ""}
	case demand == "" && state == Revalidate:
		return Decision{UseAndRefresh, "", "stale-while-revalidate"}
	case demand == "" && !f.NoStale && d.MaxStale != Absent && over <= d.MaxStale:
		return Decision{Use, "", "max-stale"}
	}
	fwd := "request"
	if state != Fresh {
		fwd = "stale"
	}
	usable := state != Expired || !f.NoStale && d.StaleIfError != Absent && over < d.StaleIfError
	if usable && !d.NoCache {
		return Decision{ValidateElseStale, fwd, demand}
	}
	return Decision{Validate, fwd, demand}
}
