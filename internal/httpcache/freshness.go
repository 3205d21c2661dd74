package httpcache

import (
	"net/http"
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
}

// Age is current_age (RFC 9111 §4.2.3) at now, never negative.
func (f *Freshness) Age(now time.Time) time.Duration {
	return max(f.InitialAge+max(now.Sub(f.Received), 0), 0)
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
	case over < f.StaleWhileRevalidate:
		return Revalidate
	case over < f.StaleIfError:
		return StaleOnFail
	}
	return Expired
}

// Defaults are a site's words for responses that do not say so themselves.
type Defaults struct {
	Lifetime             time.Duration
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration
}

// NewFreshness computes the life of a response from its headers (RFC 9111 §4.2
// for a shared cache): asked for at sent, received at received.
func NewFreshness(h *header.Block, sent, received time.Time, def Defaults) Freshness {
	cc := ParseDirectives(h.Values("Cache-Control"))
	f := Freshness{Received: received, InitialAge: initialAge(h, sent, received)}
	switch {
	case cc.SMaxAge != Absent:
		f.Lifetime = cc.SMaxAge
	case cc.MaxAge != Absent:
		f.Lifetime = cc.MaxAge
	case h.Has("Expires"):
		f.Lifetime = expiresLifetime(h, received)
	default:
		f.Lifetime = def.Lifetime
	}
	if cc.NoCache {
		f.Lifetime = 0
	}
	f.StaleWhileRevalidate = pick(cc.StaleWhileRevalidate, def.StaleWhileRevalidate)
	f.StaleIfError = pick(cc.StaleIfError, def.StaleIfError)
	// §4.2.4: these forbid serving stale; s-maxage implies proxy-revalidate (§5.2.2.10),
	// unless the response itself names a stale window beside it.
	if cc.NoCache || cc.MustRevalidate || cc.ProxyRevalidate {
		f.StaleWhileRevalidate, f.StaleIfError = 0, 0
	} else if cc.SMaxAge != Absent {
		f.StaleWhileRevalidate = max(cc.StaleWhileRevalidate, 0)
		f.StaleIfError = max(cc.StaleIfError, 0)
	}
	return f
}

func pick(given, def time.Duration) time.Duration {
	if given != Absent {
		return given
	}
	return def
}

// initialAge is corrected_initial_age of §4.2.3. A malformed Age counts as none;
// of several the first counts (§5.1).
func initialAge(h *header.Block, sent, received time.Time) time.Duration {
	var apparent time.Duration
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		apparent = max(received.Sub(date), 0)
	}
	age, _ := ParseDelta(h.Get("Age"))
	return max(apparent, age+max(received.Sub(sent), 0))
}

// expiresLifetime is Expires minus Date (§4.2.1); a date that cannot be read has
// passed (§5.3).
func expiresLifetime(h *header.Block, received time.Time) time.Duration {
	expires, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = received
	}
	return max(expires.Sub(date), 0)
}
