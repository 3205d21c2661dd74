package edge

import (
	"net/http"
	"strconv"
	"time"

	"freshet/edge/response"
	"freshet/internal/command/follower"
	"freshet/internal/httpcache"
	"freshet/internal/site"
)

// A node that is cut off from the command log does not hear of purges. What it does then
// with what is stored is its site's matter: max_log_lag, when_lagging and purge_lease.

// lag is what a node's being cut off means for a request.
type lag uint8

const (
	noLag         lag = iota
	lagServed         // what is stored is used, and that is said
	lagValidated      // it is validated first, and used as it is where no parent answers
	lagRefused        // nothing that could come from the cache is answered
	lagLeaseEnded     // what is stored is validated first, and not used otherwise
)

// details are what Cache-Status says of it.
var details = [...]string{lagServed: "log-lag", lagValidated: "log-lag", lagRefused: "log-lag", lagLeaseEnded: "purge-lease"}

// lagShare is for how long requests that arrive one after the other may share a fill on a
// node whose lease has ended: the later of them gets what was read before it came. What the
// distributor waits for allows for that (command.Lapse).
const lagShare = 100 * time.Millisecond

// lagging is what is known of the command log for a request, as of its arrival.
func (w *walk) lagging() lag {
	f := w.edge.follower
	if f == nil {
		return noLag
	}
	c := &w.site.Document().Cache
	return lagOf(c, f, w.req.Received)
}

func lagOf(c *site.Cache, f *follower.Follower, now time.Time) lag {
	if c.MaxLogLag == 0 && c.PurgeLease == 0 {
		return noLag
	}
	silent := f.Silent(now)
	switch {
	case c.PurgeLease > 0 && silent > time.Duration(c.PurgeLease):
		return lagLeaseEnded
	case c.MaxLogLag == 0 || silent <= time.Duration(c.MaxLogLag):
		return noLag
	case c.WhenLagging == site.LagRevalidate:
		return lagValidated
	case c.WhenLagging == site.LagRefuse:
		return lagRefused
	}
	return lagServed
}

// distrust makes of a decision on what is stored what the site allows a node that is cut
// off.
func (w *walk) distrust(d *httpcache.Decision, r *response.Response) {
	if r == nil || w.lag == noLag || w.lag == lagServed || d.Verdict == httpcache.Unsatisfiable {
		return
	}
	unused := d.Verdict == httpcache.Use || d.Verdict == httpcache.UseAndRefresh
	switch {
	case unused && httpcache.ParseRequest(w.req.Header).OnlyIfCached:
		d.Verdict = httpcache.Unsatisfiable
	case w.lag == lagValidated && unused:
		d.Verdict = httpcache.ValidateElseStale
	case w.lag != lagValidated && (unused || d.Verdict == httpcache.ValidateElseStale):
		d.Verdict = httpcache.Validate
	default:
		return
	}
	d.Fwd, d.Detail = "stale", details[w.lag]
}

// refuseLagging answers a request whose site wants no answers of a node that is cut off.
func (w *walk) refuseLagging() (answered bool) {
	if w.lag != lagRefused {
		return false
	}
	w.status = cacheStatus{node: w.edge.pseudonym, fwd: "bypass", detail: details[lagRefused]}
	w.again = refusedRetry
	w.edge.metrics.requests.failed.Inc()
	w.problem(http.StatusServiceUnavailable, "proxy_internal_error", "this node is cut off from the command log, and the site wants nothing of it then")
	return true
}

// refusedRetry is when a client may come again that was refused.
const refusedRetry = 2 * time.Second

// apart tells fills apart that were begun at other times, on a node whose lease has ended.
func (w *walk) apart() string {
	if w.lag != lagLeaseEnded {
		return ""
	}
	return "\n+at " + strconv.FormatInt(w.req.Received.UnixNano()/int64(lagShare), 10)
}
