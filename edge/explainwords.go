package edge

import (
	"fmt"
	"strings"
	"time"

	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/internal/httpcache"
)

// The words of explanations for what the decisions name.
var (
	outcomes = [...]Outcome{
		httpcache.Use: Hit, httpcache.UseAndRefresh: HitAndRefresh, httpcache.Validate: Validated,
		httpcache.ValidateElseStale: Validated, httpcache.Forward: Forwarded, httpcache.Unsatisfiable: NotCached,
	}
	states = [...]string{
		httpcache.Fresh: "fresh", httpcache.Revalidate: "stale-while-revalidate",
		httpcache.StaleOnFail: "stale-if-error", httpcache.Expired: "expired",
	}
	kinds = [...]string{
		response.Content: "content", response.Varies: "varies", response.Pass: "pass",
		response.Search: "search", response.Sliced: "sliced", response.Slice: "slice",
	}
	passedWhy = map[string]string{
		"method": "only GET and HEAD without a body are answered from the cache: the request is handed on",
		"bypass": "a rule of the site says that the request bypasses the cache",
	}
	deadWhy = map[invalidate.Death]string{
		invalidate.OfRestart:  "the command log was begun anew since it was fetched, so that everything older is dead",
		invalidate.OfTouch:    "a request with an unsafe method has made it untrue (RFC 9111 section 4.4)",
		invalidate.OfOtherLog: "it was fetched under another command log",
		invalidate.BelowFloor: "it was fetched before the floor, below which purges are no longer remembered",
		invalidate.OfMark:     "a purge covers it",
		invalidate.OfBan:      "a ban covers it",
	}
	unstoredWhy = map[httpcache.NoStore]string{
		httpcache.ByMethod:     "only answers to GET are stored",
		httpcache.ByStatusCode: "its status is never stored, or it does not say for how long",
		httpcache.ByPartial:    "it is a part that was not asked for",
		httpcache.ByNoStore:    "the response or the request says no-store",
		httpcache.ByPrivate:    "the response says private: it is for one user",
		httpcache.ByAuth:       "the request has Authorization, and the response does not say that it is for all (public, s-maxage or must-revalidate)",
		httpcache.ByCookie:     "it sets a cookie, and the site does not say store_set_cookie",
		httpcache.ByVary:       "its Vary is *: it fits no other request",
		httpcache.ByLifetime:   "it has no lifetime, no stale window, and nothing to validate it by",
	}
)

// why is the reason of a verdict in a sentence. used is what it is about, nil where
// nothing is usable; then held is what lies under the key, nil for nothing.
func (w *walk) why(verdict httpcache.Verdict, used, held *response.Response, vary []string) string {
	if used == nil {
		why := w.missingWhy(held, vary)
		if verdict == httpcache.Unsatisfiable {
			return why + "; and the request wants nothing but what is stored (only-if-cached)"
		}
		return why
	}
	life, soft := w.lifeOf(used)
	ttl := life.TTL(w.req.Received)
	if m := used.Soft(); soft && m.Seq != 0 && verdict != httpcache.Unsatisfiable {
		why := "what is stored was invalidated " + spoken(-ttl) + " ago (" + w.edge.recent.name(m.Seq) + ")"
		switch {
		case verdict == httpcache.UseAndRefresh:
			return why + ": it is served within stale-while-revalidate and validated behind"
		case verdict == httpcache.ValidateElseStale:
			return why + ": it is validated, and served as it is if nobody answers"
		}
		return why + ": it is validated, or fetched anew"
	}
	switch {
	case verdict == httpcache.Unsatisfiable:
		return "what is stored may not be used as it is, and the request wants nothing else (only-if-cached)"
	case verdict == httpcache.UseAndRefresh:
		return "what is stored has been stale for " + spoken(-ttl) + ", within stale-while-revalidate: it is served and validated behind"
	case verdict == httpcache.Use && ttl < 0:
		return "what is stored has been stale for " + spoken(-ttl) + ", which the request accepts (" + w.status.detail + ")"
	case verdict == httpcache.Use && used.Kind == response.Sliced && w.status.fwd == "partial":
		return "its head is stored and fresh for another " + spoken(ttl) + "; the slices that are missing are asked for"
	case verdict == httpcache.Use && used.Kind == response.Sliced:
		return "the slices that are wanted are stored, true, and fresh for another " + spoken(ttl)
	case verdict == httpcache.Use:
		return "stored, true, and fresh for another " + spoken(ttl)
	}
	why := "what is stored has been stale for " + spoken(-ttl)
	if ttl > 0 {
		why = "what is stored is fresh for another " + spoken(ttl) + ", but the request demands more (" + w.status.detail + ")"
	}
	if ttl > 0 && w.lag != noLag {
		why = "what is stored is fresh for another " + spoken(ttl) + ", but this node is cut off from the command log (" + w.status.detail + ")"
	}
	if used.HasValidator() {
		why += ": it is validated"
	} else {
		why += ": it has no validator and is fetched anew"
	}
	if verdict == httpcache.ValidateElseStale {
		why += ", and served as it is if nobody answers"
	}
	return why
}

// missingWhy says why nothing that is stored can be used.
func (w *walk) missingWhy(held *response.Response, vary []string) string {
	if held == nil {
		switch {
		case len(vary) > 0:
			return "stored, but not the variant that this request selects by " + strings.Join(vary, ", ")
		}
		return "nothing is stored under the key"
	}
	if death := w.edge.table.Test(held); death != invalidate.Living {
		why := "what is stored is dead: " + deadWhy[death]
		if mark := w.edge.table.FenceOf(held.Key.Text, held.Scopes).Hard; (death == invalidate.OfMark || death == invalidate.OfBan) && mark > 0 {
			why += fmt.Sprintf(" (%s)", w.edge.recent.name(mark))
		}
		return why
	}
	if held.Kind == response.Pass {
		if ttl := held.TTL(w.req.Received); ttl > 0 {
			return "the last answer was not to be stored, which is remembered for another " + spoken(ttl) + ": requests do not wait for one another"
		}
		return "nothing is stored: the last answer was not to be"
	}
	if w.status.fwd == "partial" {
		return "slices of what is stored are missing, and cannot be fetched by themselves"
	}
	return "what is stored was purged under this spelling of its query"
}

// spoken is a duration as people read it.
func spoken(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
