package origin

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"freshet/internal/site"
	"freshet/origin/depot"
)

// handler answers the requests of all listeners.
type handler struct {
	log     *slog.Logger
	store   *depot.Depot
	metrics *metrics
	limits  limits
	sites   func() *site.Snapshot // nil while they are unknown
	own     map[string]bool       // host:port of this origin, beside the connection's own
	api     http.Handler
	slots   chan struct{} // one for each upload under way
}

func newHandler(o *Origin, store *depot.Depot, addrs []netip.AddrPort) *handler {
	h := &handler{
		log: o.env.Log, store: store, metrics: o.metrics, limits: o.limits,
		sites: o.sites.Load,
		own:   make(map[string]bool),
		slots: make(chan struct{}, o.limits.uploads),
	}
	for _, addr := range addrs {
		h.own[addr.String()] = true
	}
	h.api = o.verifier.Require(http.HandlerFunc(h.serveAPI))
	return h
}

// ServeHTTP tells sites and the push API apart.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := newAnswer(w, h.limits.idle)
	if r.ContentLength != 0 {
		// Whoever answers without reading the body must not have net/http wait for it.
		_ = a.control.SetReadDeadline(time.Now().Add(h.limits.idle))
	}
	kind := kindServe
	defer func() { h.metrics.request(kind, a.status) }()

	if h.isOwn(r) {
		kind = apiKind(r.Method)
		h.api.ServeHTTP(a, r)
		return
	}
	sites := h.sites()
	if sites == nil {
		h.fail(a, r, errSitesUnknown)
		return
	}
	doc := sites.ByHost(hostname(r.Host))
	switch {
	case doc != nil:
		h.serveSite(a, r, doc)
	case strings.HasPrefix(r.URL.Path, apiRoot):
		kind = apiKind(r.Method)
		h.api.ServeHTTP(a, r)
	default:
		// A mid may have heard of a new site before us: this must not look like an
		// answer about the content, nor ask for a token.
		kind = kindOther
		h.fail(a, r, fmt.Errorf("%w %s", errNoHost, hostname(r.Host)))
	}
}

// isOwn reports whether the Host is this origin's own address.
func (h *handler) isOwn(r *http.Request) bool {
	host := r.Host
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "80")
	}
	if h.own[host] {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.String() == host
}

// hostname is a Host header without its port, in lower case.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

func apiKind(method string) string {
	switch method {
	case http.MethodPut:
		return kindPut
	case http.MethodDelete:
		return kindDelete
	case http.MethodGet, http.MethodHead:
		return kindRead
	}
	return kindOther
}

// notAllowed answers 405.
func (h *handler) notAllowed(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	h.fail(w, r, fmt.Errorf("%w: %s; use one of %s", errMethod, r.Method, allow))
}
