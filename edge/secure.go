package edge

import (
	"net/http"
	"strings"

	"freshet/edge/exchange"
	"freshet/internal/certs"
	"freshet/internal/header"
)

// secure is what the walk knows of HTTPS on this node.
type secure struct {
	certs  *certs.Manager // nil where there is no HTTPS
	port   int            // under which clients reach it
	altSvc string         // Alt-Svc of answers over TCP (RFC 7838), "" without HTTP/3
}

// Fields of answers.
const (
	strictTransportSecurity = "Strict-Transport-Security"
	alternativeServices     = "Alt-Svc"
)

// upgrade answers what plain HTTP is for where a site wants HTTPS: challenges of ACME,
// and redirects.
func (w *walk) upgrade() (answered bool) {
	if w.req.Scheme != "http" || w.trusted {
		return false
	}
	if strings.HasPrefix(w.req.Target, certs.ChallengePath) {
		return w.challenge()
	}
	r := w.site.Secure(w.req, w.edge.secure.port)
	if r.Status == 0 {
		return false
	}
	w.rules.Redirect = r
	w.redirect()
	return true
}

// challenge answers who asks whether this node serves a host, on behalf of an authority
// that is to sign a certificate (RFC 8555 §8.3). One that no order here is waiting for is
// a request like any other.
func (w *walk) challenge() (answered bool) {
	if w.edge.secure.certs == nil {
		return false
	}
	path, _, _ := strings.Cut(w.req.Target, "?")
	body, ok := w.edge.secure.certs.Challenge(w.ctx, w.req.Host, path)
	if !ok {
		return false
	}
	h := new(header.Block)
	_ = h.Add("Content-Type", "text/plain")
	_ = h.Add("Cache-Control", "no-store")
	w.edge.metrics.requests.pass.Inc()
	w.respond(&exchange.Answer{Status: http.StatusOK, Header: h, Bytes: []byte(body), Length: int64(len(body))})
	return true
}

// secured adds to an answer what browsers are to remember of HTTPS: only over HTTPS
// (RFC 6797 §7.2), where the site's word stands in place of the origin's, and this node's
// on where else it can be reached. A node of ours passes the origin's on, and its clients'
// node decides.
func (w *walk) secured(a *exchange.Answer) {
	if w.trusted {
		return
	}
	https, strict := w.req.Scheme == "https", ""
	if w.site != nil {
		strict = w.site.StrictTransportSecurity()
	}
	alternative := w.edge.secure.altSvc
	if !https || strict != "" {
		w.leaveOut(a, strictTransportSecurity)
	}
	if https && alternative != "" {
		w.leaveOut(a, alternativeServices)
	}
	if w.req.Proto == "HTTP/3.0" {
		alternative = ""
	}
	if !https || strict == "" && alternative == "" {
		return
	}
	if a.Extra == nil {
		w.extra.Reset()
		a.Extra = &w.extra
	}
	if strict != "" {
		_ = a.Extra.Add(strictTransportSecurity, strict)
	}
	if alternative != "" {
		_ = a.Extra.Add(alternativeServices, alternative)
	}
}

// leaveOut takes a field out of an answer, and not where it stands: what is stored is for
// others, too.
func (w *walk) leaveOut(a *exchange.Answer, field string) {
	if a.Header == nil || !a.Header.Has(field) {
		return
	}
	w.draft.Begin(a.Header, func(name, _ string) bool { return !header.EqualName(name, field) })
	a.Header = w.draft.Block()
}
