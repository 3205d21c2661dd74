package edge

import (
	"net/http"
	"strconv"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// cacheStatus is what this node says in Cache-Status (RFC 9211) of one answer.
type cacheStatus struct {
	node      string
	hit       bool
	ttl       time.Duration // with hit
	fwd       string        // why it went forward
	fwdStatus int
	stored    bool
	collapsed bool
	detail    string
}

// forwarded records what came back.
func (c *cacheStatus) forwarded(status int, stored, collapsed bool) {
	c.fwdStatus, c.stored, c.collapsed = status, stored, collapsed
}

// append writes the member as a structured field.
func (c *cacheStatus) append(dst []byte) []byte {
	dst = append(dst, c.node...)
	if c.hit {
		dst = append(dst, "; hit; ttl="...)
		dst = strconv.AppendInt(dst, int64(c.ttl/time.Second), 10)
	} else {
		dst = append(dst, "; fwd="...)
		dst = append(dst, c.fwd...)
		if c.fwdStatus != 0 {
			dst = append(dst, "; fwd-status="...)
			dst = strconv.AppendInt(dst, int64(c.fwdStatus), 10)
		}
	}
	if c.stored {
		dst = append(dst, "; stored"...)
	}
	if c.collapsed {
		dst = append(dst, "; collapsed"...)
	}
	if c.detail != "" {
		dst = append(dst, "; detail="...)
		dst = append(dst, c.detail...)
	}
	return dst
}

// staleIfError is the detail of answers that are stale because no parent has better.
const staleIfError = "stale-if-error"

// serveStale answers from what is stale because no parent has anything better, if it is
// still there.
func (w *walk) serveStale() (answered bool) {
	detail := w.status.detail
	w.status.detail = staleIfError
	if w.stored(w.stale) {
		return true
	}
	w.status.detail, w.stale = detail, nil
	w.letGo()
	return false
}

// unsatisfiable answers a client that wants nothing but what is stored (RFC 9111
// §5.2.1.7).
func (w *walk) unsatisfiable() {
	w.edge.metrics.requests.failed.Inc()
	w.problem(http.StatusGatewayTimeout, "http_request_denied", "only-if-cached: nothing stored can be used")
}

// redirect answers with the place that the site names.
func (w *walk) redirect() {
	h := new(header.Block)
	if err := h.Add("Location", w.rules.Redirect.Location); err != nil {
		w.fail(err)
		return
	}
	w.edge.metrics.requests.pass.Inc()
	w.respond(&exchange.Answer{Status: w.rules.Redirect.Status, Header: h})
}

// respond sends an answer and says whether all of it went out.
func (w *walk) respond(a *exchange.Answer) (whole bool) {
	w.secured(a)
	if w.quick && (a.Stream != nil || a.Trailer != nil) {
		w.later = true
		return false
	}
	err := w.send(a)
	if w.later = w.quick && err == exchange.ErrNotAtOnce; w.later {
		return false
	}
	if err != nil {
		w.edge.metrics.aborted.Inc()
		w.edge.log.Debug("transfer broke off", "site", w.siteName(), "err", err)
	}
	return err == nil
}

func (w *walk) siteName() string {
	if w.site == nil {
		return ""
	}
	return w.site.Name()
}

// A refusal is a request that this node will not serve.
type refusal struct {
	status int
	reason string // error type of RFC 9209 §2.3
}

var (
	refusedHost   = refusal{http.StatusMisdirectedRequest, "destination_not_found"}
	refusedLoop   = refusal{http.StatusLoopDetected, "proxy_loop_detected"}
	refusedMethod = refusal{http.StatusMethodNotAllowed, "http_request_denied"}
	refusedBad    = refusal{http.StatusBadRequest, "http_request_error"}
)

func (w *walk) refuse(why refusal, text string) {
	w.edge.metrics.requests.refused.Inc()
	w.problem(why.status, why.reason, text)
}

// fail answers a request that no parent answered. It is the one place where an error
// becomes an answer; failureOf says which.
func (w *walk) fail(err error) {
	w.edge.metrics.requests.failed.Inc()
	if w.ctx.Err() != nil {
		w.problem(http.StatusServiceUnavailable, "connection_terminated", "the client went away")
		return
	}
	f := failureOf(err)
	switch f.kind {
	case ofParent:
		w.edge.log.Warn("no parent answers", "site", w.siteName(), "error_type", f.reason, "err", err)
	case ofLimits: // there may be very many, and the metrics have them
		w.edge.log.Debug("parents are spared", "site", w.siteName(), "error_type", f.reason, "err", err)
	}
	w.again, w.above = f.after, f.above
	w.problem(f.status, f.reason, f.text)
}

// problem is an answer of our own making.
func (w *walk) problem(status int, reason, text string) {
	h := new(header.Block)
	_ = h.Add("Content-Type", "text/plain; charset=utf-8")
	_ = h.Add("Cache-Control", "no-store")
	_ = h.Add("Proxy-Status", appendList(w.above, w.edge.pseudonym+"; error="+reason))
	if w.status.node != "" {
		_ = h.Add("Cache-Status", string(w.status.append(nil)))
	}
	if w.again > 0 {
		_ = h.Add("Retry-After", strconv.Itoa(int((w.again+time.Second-1)/time.Second)))
	}
	body := []byte(strconv.Itoa(status) + " " + http.StatusText(status) + ": " + text + "\n")
	w.respond(&exchange.Answer{Status: status, Header: h, Bytes: body, Length: int64(len(body))})
}
