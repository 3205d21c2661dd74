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
	state, ttl := f.At(now), f.TTL(now)
	demand := ""
	if !f.Immutable || state != Fresh || d.NoCache {
		// RFC 8246 §2.1: what is fresh and immutable is not validated, a reload or not,
		// unless the client says no-cache.
		demand = d.demand(f.Lifetime-ttl, ttl, state)
	}
	switch {
	case demand != "":
	case state == Fresh:
		return Decision{Verdict: Use}
	case state == Revalidate:
		return Decision{Verdict: UseAndRefresh, Detail: "stale-while-revalidate"}
	case !f.NoStale && -ttl <= d.MaxStale:
		return Decision{Verdict: Use, Detail: "max-stale"}
	}
	decision := Decision{Verdict: Validate, Fwd: "stale", Detail: demand}
	if state == Fresh {
		decision.Fwd = "request"
	}
	// A demand for something fresher does not make the response unusable when nobody
	// answers; only no-cache says that it must be validated.
	if !d.NoCache && (state != Expired || !f.NoStale && -ttl < d.StaleIfError) {
		decision.Verdict = ValidateElseStale
	}
	return decision
}

// demand is the directive by which the client wants more than the response's own
// freshness, "" for none (RFC 9111 §5.2.1).
func (d *RequestDirectives) demand(age, ttl time.Duration, state State) string {
	switch {
	case d.NoCache:
		return "no-cache"
	case d.MaxAge != Absent && (age > d.MaxAge || state != Fresh && d.MaxStale == Absent):
		return "max-age"
	case d.MinFresh != Absent && ttl < d.MinFresh:
		return "min-fresh"
	}
	return ""
}
