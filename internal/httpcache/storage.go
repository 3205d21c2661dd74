package httpcache

import "strings"

// NoStore says why a response is not stored, or Stored.
type NoStore string

// The reasons, for metrics and explanations.
const (
	Stored       NoStore = ""
	ByMethod     NoStore = "method"        // only answers to GET are stored
	ByStatusCode NoStore = "status"        // a status that is never stored, or that is not understood and does not say how long
	ByPartial    NoStore = "partial"       // a 206: storable, but only as a part of a response (see Part)
	ByNoStore    NoStore = "no-store"      // request or response says no-store
	ByPrivate    NoStore = "private"       // for one user
	ByAuth       NoStore = "authorization" // the request was authorised and the response is not marked shareable
	ByCookie     NoStore = "set-cookie"    // it sets a cookie, and the site has not said that it is for all
	ByVary       NoStore = "vary"          // Vary: * never matches
	ByLifetime   NoStore = "no-lifetime"   // neither fresh nor usable stale for any time, and nothing to validate it by
)

// HeuristicallyCacheable reports whether a status may be stored without a word on
// how long (RFC 9110 §15.1; RFC 7725 for 451).
func HeuristicallyCacheable(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501:
		return true
	}
	return false
}

// understood reports whether this cache knows what the status asks of a cache
// (RFC 9111 §3, §5.2.2.3): a final one of the registry, without rules of its own.
func understood(status int) bool {
	switch {
	case status >= 200 && status <= 206, status >= 300 && status <= 303, status == 307, status == 308:
		return true
	case status >= 400 && status <= 417, status >= 421 && status <= 426, status == 451:
		return true
	}
	return status >= 500 && status <= 508
}

// neverStored: informational ones are no answers, 304 belongs to another response,
// and the rest must not be stored (RFC 6585 §3 to §6).
func neverStored(status int) bool {
	switch status {
	case 304, 428, 429, 431, 511:
		return true
	}
	return status < 200 || status > 599
}

// Assess decides whether a shared cache may keep a response (RFC 9111 §3), and
// makes the facts that are stored with it. They are filled in whatever the reason
// for not storing is.
func Assess(q Request, r Response, p *Policy) (Facts, NoStore) {
	d, targeted := p.Directives(r.Header)
	f := Facts{
		Freshness: newFreshness(r, &d, targeted, p), Date: r.Received,
		Withheld: d.Withheld, NoTransform: d.NoTransform, Immutable: d.Immutable,
	}
	if t, ok := date(r.Header, "Date", r.Received); ok {
		f.Date = t
	}
	if t, ok := date(r.Header, "Last-Modified", r.Received); ok {
		f.LastModified = t
	}
	if tag := onlyValue(r.Header, "ETag"); validTag(tag) {
		f.ETag = strings.Clone(tag) // the block it stands in is not kept
	}
	return f, mayStore(q, r, &d, &f, p)
}

func mayStore(q Request, r Response, d *ResponseDirectives, f *Facts, p *Policy) NoStore {
	noStore := d.NoStore
	if d.MustUnderstand {
		if !understood(r.Status) {
			return ByStatusCode
		}
		noStore = false // §5.2.2.3: it is there for those who do not understand
	}
	switch {
	case q.Method != "GET":
		return ByMethod
	case neverStored(r.Status):
		return ByStatusCode
	case noStore || !p.IgnoreRequestDirectives && ParseRequest(q.Header).NoStore:
		return ByNoStore
	case d.Private:
		return ByPrivate
	case q.Header.Has("Authorization") && !d.Public && !d.MustRevalidate && d.SMaxAge == Absent:
		return ByAuth // §3.5
	case !p.StoreSetCookie && r.Header.Has("Set-Cookie") && !contains(d.Withheld, "set-cookie"):
		return ByCookie
	case VaryAll(r.Header):
		return ByVary
	case !f.Source.Explicit() && !d.Public && !HeuristicallyCacheable(r.Status):
		return ByStatusCode
	case !f.HasValidator() && !f.everUsable(d):
		return ByLifetime
	case r.Status == 206:
		return ByPartial
	}
	return Stored
}

// everUsable reports whether there is a moment at which the response may be used
// without validation. The site's stale windows alone do not make a response usable
// that says nothing about its life.
func (f *Facts) everUsable(d *ResponseDirectives) bool {
	windows := f.StaleWhileRevalidate > 0 || f.StaleIfError > 0
	if f.Source == FromNothing {
		windows = d.StaleWhileRevalidate > 0 || d.StaleIfError > 0
	}
	return f.Lifetime > f.InitialAge || windows
}
