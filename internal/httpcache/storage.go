package httpcache

import (
	"freshet/internal/header"
)

// NoStore says why a response is not stored, or Stored.
type NoStore string

// The reasons, for metrics and explanations.
const (
	Stored     NoStore = ""
	ByMethod   NoStore = "method"        // only answers to GET are stored
	ByStatus   NoStore = "status"        // a status that this cache does not store
	ByNoStore  NoStore = "no-store"      // request or response says no-store
	ByPrivate  NoStore = "private"       // for one user
	ByAuth     NoStore = "authorization" // the request was authorised and the response is not marked shareable
	ByCookie   NoStore = "set-cookie"    // it sets a cookie, and nothing says that it is for all
	ByVary     NoStore = "vary"          // Vary: * never matches
	ByLifetime NoStore = "no-lifetime"   // neither fresh nor usable stale for any time
)

// storable are the statuses that are stored: final, understood, and complete in
// themselves (RFC 9111 §3; 206 and 304 belong to another response).
var storable = map[int]bool{
	200: true, 203: true, 204: true, 300: true, 301: true, 302: true, 307: true, 308: true,
	404: true, 405: true, 410: true, 414: true, 451: true, 501: true,
}

// MayStore decides whether the response to a request may be kept by a shared
// cache (RFC 9111 §3), f being its freshness.
func MayStore(method string, request *header.Block, status int, response *header.Block, f *Freshness) NoStore {
	cc := ParseDirectives(response.Values("Cache-Control"))
	switch {
	case method != "GET":
		return ByMethod
	case !storable[status]:
		return ByStatus
	case cc.NoStore || ParseDirectives(request.Values("Cache-Control")).NoStore:
		return ByNoStore
	case cc.Private:
		return ByPrivate
	case request.Has("Authorization") && !cc.Public && !cc.MustRevalidate && cc.SMaxAge == Absent:
		return ByAuth // §3.5
	case response.Has("Set-Cookie") && !cc.Public:
		return ByCookie // Policy: §7.3 warns; a site that means it says public
	case VaryAll(response):
		return ByVary
	case f.Lifetime <= f.InitialAge && f.StaleWhileRevalidate == 0 && f.StaleIfError == 0:
		return ByLifetime
	case f.Lifetime == 0 && f.StaleWhileRevalidate == 0 && cc.MaxAge == Absent && cc.SMaxAge == Absent && !response.Has("Expires"):
		return ByLifetime // nothing in the response says that it may be reused
	}
	return Stored
}
