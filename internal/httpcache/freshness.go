package httpcache

import (
	"time"

	"freshet/internal/header"
)

// Freshness is the life of a stored response, fixed when it was received.
type Freshness struct {
	Received   time.Time     // response_time of RFC 9111 §4.2.3, by the own clock
	InitialAge time.Duration // corrected_initial_age
	Lifetime   time.Duration // freshness_lifetime (§4.2.1)
	// StaleWhileRevalidate and StaleIfError are how long past Lifetime the response
	// may be used (RFC 5861); zero forbids it.
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration
	// NoStale forbids every use of the stale response without validation, even one
	// that the client allows (RFC 9111 §4.2.4).
	NoStale bool
	Source  LifetimeSource // where Lifetime comes from
}

// LifetimeSource is where a freshness lifetime comes from.
type LifetimeSource uint8

// The sources, the first that is there being used (RFC 9111 §4.2.1).
const (
	FromNothing   LifetimeSource = iota // no lifetime: stale from the start
	FromSite                            // Policy.ForceLifetime
	FromNoCache                         // no-cache: always validated
	FromSMaxAge                         // s-maxage
	FromMaxAge                          // max-age
	FromExpires                         // Expires - Date
	FromStatus                          // Policy.StatusLifetimes
	FromHeuristic                       // Policy.Heuristic
	FromDefault                         // Policy.DefaultLifetime
)

// String is the source as explanations show it.
func (s LifetimeSource) String() string {
	return [...]string{"nothing", "site", "no-cache", "s-maxage", "max-age", "expires", "status", "heuristic", "default"}[s]
}

// Explicit reports whether the response itself or the site fixes the lifetime.
func (s LifetimeSource) Explicit() bool { return s >= FromSite && s <= FromStatus }

// Age is current_age (RFC 9111 §4.2.3) at now, never negative.
func (f *Freshness) Age(now time.Time) time.Duration {
	return max(f.InitialAge, 0) + clamp(now.Sub(f.Received))
}

// TTL is what is left of the lifetime at now; negative when stale.
func (f *Freshness) TTL(now time.Time) time.Duration { return f.Lifetime - f.Age(now) }

// State is what a stored response may be used for at one moment.
type State int

// The states, best first.
const (
	Fresh       State = iota // may be used as it is
	Revalidate               // stale, but within stale-while-revalidate
	StaleOnFail              // stale, usable only when no parent answers
	Expired                  // must not be used without successful validation
)

// At is the state at now.
func (f *Freshness) At(now time.Time) State {
	over := -f.TTL(now)
	switch {
	case over < 0:
		return Fresh
	case f.NoStale:
		return Expired
	case over < f.StaleWhileRevalidate:
		return Revalidate
	case over < f.StaleIfError:
		return StaleOnFail
	}
	return Expired
}

// newFreshness computes the life of a response (RFC 9111 §4.2, for a shared cache)
// from the directives that concern this cache; targeted says that they stand in a
// targeted field, which takes Expires out of the play (RFC 9213 §2.2).
func newFreshness(r Response, d *ResponseDirectives, targeted bool, p *Policy) Freshness {
	f := Freshness{Received: r.Received, InitialAge: initialAge(r.Header, r.Sent, r.Received)}
	f.Lifetime, f.Source = lifetime(r, d, targeted, p)
	f.Lifetime = clamp(f.Lifetime)
	f.StaleWhileRevalidate = clamp(pick(d.StaleWhileRevalidate, p.StaleWhileRevalidate))
	f.StaleIfError = clamp(pick(d.StaleIfError, p.StaleIfError))
	switch {
	case f.Source == FromNoCache || d.MustRevalidate || d.ProxyRevalidate:
		f.NoStale = true // §4.2.4
	case d.SMaxAge != Absent:
		// s-maxage has the semantics of proxy-revalidate (§5.2.2.10), unless the response
		// itself names a stale window beside it: then it has said what it wants.
		f.StaleWhileRevalidate = max(d.StaleWhileRevalidate, 0)
		f.StaleIfError = max(d.StaleIfError, 0)
		f.NoStale = f.StaleWhileRevalidate == 0 && f.StaleIfError == 0
	}
	if f.NoStale {
		f.StaleWhileRevalidate, f.StaleIfError = 0, 0
	}
	return f
}

func lifetime(r Response, d *ResponseDirectives, targeted bool, p *Policy) (time.Duration, LifetimeSource) {
	expires := !targeted && r.Header.Has("Expires")
	switch {
	case p.ForceLifetime != nil && r.Status < 400:
		return *p.ForceLifetime, FromSite
	case d.NoCache:
		return 0, FromNoCache
	case d.SMaxAge != Absent:
		return d.SMaxAge, FromSMaxAge
	case d.MaxAge != Absent:
		return d.MaxAge, FromMaxAge
	case expires:
		return expiresLifetime(r.Header, r.Received), FromExpires
	}
	if t, ok := p.StatusLifetimes[r.Status]; ok {
		return t, FromStatus
	}
	if !HeuristicallyCacheable(r.Status) && !d.Public {
		return 0, FromNothing
	}
	if t, ok := p.Heuristic.lifetime(r); ok {
		return t, FromHeuristic
	}
	if p.DefaultLifetime > 0 {
		return p.DefaultLifetime, FromDefault
	}
	return 0, FromNothing
}

// lifetime is a fraction of the time since the last modification (§4.2.2).
func (x Heuristic) lifetime(r Response) (time.Duration, bool) {
	modified, ok := date(r.Header, "Last-Modified", r.Received)
	if !ok || x.Fraction <= 0 {
		return 0, false
	}
	sent, ok := date(r.Header, "Date", r.Received)
	if !ok {
		sent = r.Received
	}
	t := time.Duration(float64(clamp(sent.Sub(modified))) * min(x.Fraction, 1))
	if x.Max > 0 {
		t = min(t, x.Max)
	}
	return t, true
}

// expiresLifetime is Expires minus Date (§4.2.1); a date that cannot be read has
// passed (§5.3).
func expiresLifetime(h *header.Block, received time.Time) time.Duration {
	expires, ok := date(h, "Expires", received)
	if !ok {
		return 0
	}
	sent, ok := date(h, "Date", received)
	if !ok {
		sent = received
	}
	return clamp(expires.Sub(sent))
}

func pick(given, def time.Duration) time.Duration {
	if given != Absent {
		return given
	}
	return def
}
