package httpcache

import (
	"time"

	"freshet/internal/header"
)

// Policy is a site's words about caching. The zero value adds nothing to what the
// responses say: no default or heuristic lifetime, no stale windows, no targeted
// fields, no cookies stored, and the clients' request directives honoured.
type Policy struct {
	// DefaultLifetime is the freshness lifetime of responses that say nothing of
	// theirs and have none by Heuristic. It is a heuristic (RFC 9111 §4.2.2): for
	// heuristically cacheable statuses and public responses alone.
	DefaultLifetime time.Duration
	// Heuristic makes a lifetime of Last-Modified; it goes before DefaultLifetime.
	Heuristic Heuristic
	// StatusLifetimes are default lifetimes by status, before Heuristic and
	// DefaultLifetime, and for any final status but those that may never be stored
	// (negative caching). Nil and absent statuses add nothing; zero is "not fresh".
	StatusLifetimes map[int]time.Duration
	// ForceLifetime, if not nil, replaces whatever responses say of their lifetime
	// (max-age, s-maxage, Expires, no-cache) with a status below 400. What forbids
	// storing still forbids it, and what forbids serving stale as well.
	ForceLifetime *time.Duration

	// StaleWhileRevalidate and StaleIfError are the windows of RFC 5861 for responses
	// that name none; zero is none.
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration

	// Targets are the names of the targeted Cache-Control fields that this cache
	// obeys, first match first (RFC 9213 §2.2): DefaultTargets for a CDN.
	Targets []string
	// SurrogateControl obeys Surrogate-Control after Targets.
	SurrogateControl bool

	// StoreSetCookie stores responses that set cookies. Policy: off, because a cookie
	// that was meant for one client would be handed to all (RFC 9111 §7.3).
	StoreSetCookie bool
	// IgnoreRequestDirectives passes over Cache-Control and Pragma of requests.
	// RFC 9111 §5.2.1 wants them honoured, and by default they are.
	IgnoreRequestDirectives bool
}

// Heuristic is a freshness lifetime made of the time since the last modification
// (RFC 9111 §4.2.2). The zero value is off.
type Heuristic struct {
	Fraction float64       // of Date - Last-Modified; typically 0.1; zero is off
	Max      time.Duration // upper bound; zero is none
}

// DefaultTargets is the field that every CDN obeys (RFC 9213 §3.1).
var DefaultTargets = []string{"CDN-Cache-Control"}

// Request is what the decisions need of a request.
type Request struct {
	Method string
	Header *header.Block
}

// Response is a response as it arrived, end-to-end fields only.
type Response struct {
	Status         int
	Header         *header.Block
	Sent, Received time.Time // request_time and response_time of RFC 9111 §4.2.3
}
