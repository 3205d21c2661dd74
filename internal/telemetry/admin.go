package telemetry

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"freshet/internal/run"
)

// Limits of the admin listener.
const (
	adminHeadTimeout  = 5 * time.Second  // until a request's head is there
	adminReadTimeout  = 30 * time.Second // until its body is
	adminWriteTimeout = 30 * time.Second // until the answer is sent; profiles extend it by their length
	adminIdleTimeout  = 90 * time.Second // between the requests of a connection; above a usual scrape interval
	adminHeadBytes    = 16 << 10
	adminDrain        = 2 * time.Second // for a scrape under way when the node ends
	scrapesAtOnce     = 4
	scrapeTimeout     = 20 * time.Second
)

// AdminConfig is what an Admin shows. All of it is needed.
type AdminConfig struct {
	Registry *prometheus.Registry
	Health   *Health
	Log      *slog.Logger
}

// Admin is the listener for operators and their machines: /livez (alias /healthz),
// /readyz, /metrics, /debug/pprof/ and what the roles add. It asks for no token and
// belongs on loopback or a private network.
//
// A request that arrives over loopback must name an IP address or localhost as its
// host: otherwise any web page that the operator opens could have its own name
// resolve to 127.0.0.1 and read the node's profiles (DNS rebinding).
type Admin struct {
	log *slog.Logger
	mux *http.ServeMux
	mu  struct {
		sync.Mutex
		index []string // paths on the index page
	}
}

// NewAdmin makes an Admin; it serves nothing yet.
func NewAdmin(cfg AdminConfig) *Admin {
	a := &Admin{log: cfg.Log, mux: http.NewServeMux()}
	a.mux.HandleFunc("GET /{$}", a.serveIndex)
	a.Handle("GET /livez", http.HandlerFunc(serveLive))
	a.mux.HandleFunc("GET /healthz", serveLive)
	a.Handle("GET /readyz", readyHandler(cfg.Health))
	a.Handle("GET /metrics", promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(cfg.Log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError, // one bad metric must not hide the others
		MaxRequestsInFlight: scrapesAtOnce,
		Timeout:             scrapeTimeout,
		EnableOpenMetrics:   true,
	}))
	a.Handle("GET /debug/pprof/", http.HandlerFunc(pprof.Index))
	a.mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	a.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	a.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	a.mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	a.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return a
}

// Handle adds a page at pattern (as of http.ServeMux, with or without a method)
// and lists it on the index, also while the Admin serves. It panics on a pattern
// that is malformed or taken.
func (a *Admin) Handle(pattern string, h http.Handler) {
	a.mux.Handle(pattern, h)
	_, path, ok := strings.Cut(pattern, " ")
	if !ok {
		path = pattern
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.index = append(a.mu.index, path)
}

// Serve answers on ln, which it closes, until ctx ends and requests under way have
// finished (for at most two seconds).
func (a *Admin) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: adminHeadTimeout,
		ReadTimeout:       adminReadTimeout,
		WriteTimeout:      adminWriteTimeout,
		IdleTimeout:       adminIdleTimeout,
		MaxHeaderBytes:    adminHeadBytes,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	err := run.HTTP("admin", srv, ln, adminDrain).Run(ctx)
	if errors.Is(err, run.ErrDrainTimeout) {
		return nil // somebody's profile; no client of the node was cut
	}
	return err
}

// handler is the mux behind what protects an unauthenticated listener from the
// operator's own browser.
func (a *Admin) handler() http.Handler {
	guarded := http.NewCrossOriginProtection().Handler(a.mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		if overLoopback(r) && !localHost(r.Host) {
			http.Error(w, fmt.Sprintf("host %q is refused: use the address or localhost", r.Host), http.StatusMisdirectedRequest)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// overLoopback tells whether the request came to an address that only this machine
// can reach.
func overLoopback(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return local != nil && local.IP.IsLoopback()
}

// localHost tells whether a Host header is one that a foreign name cannot be: an IP
// address or localhost, with or without a port.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func (a *Admin) serveIndex(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	var b strings.Builder
	b.WriteString("<!doctype html><title>Freshet node</title><ul>\n")
	a.mu.Lock()
	index := slices.Clone(a.mu.index)
	a.mu.Unlock()
	for _, path := range index {
		p := html.EscapeString(path)
		fmt.Fprintf(&b, "<li><a href=\"%s\">%s</a>\n", p, p)
	}
	b.WriteString("<li><a href=\"/readyz?verbose\">/readyz?verbose</a>\n</ul>\n")
	w.Write([]byte(b.String()))
}

// serveLive answers whenever the process can answer at all.
func serveLive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("ok\n"))
}

// readyHandler answers 200 when every probe is content, or warns, else 503; with a line
// for each that is not. With ?verbose the others have a line too.
func readyHandler(health *Health) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verbose := r.URL.Query().Has("verbose")
		var b strings.Builder
		code, verdict := http.StatusOK, "ready"
		for _, result := range health.Results() {
			switch {
			case result.Err != nil && result.Warning:
				fmt.Fprintf(&b, "[!] %s: %s\n", result.Name, strings.ReplaceAll(result.Err.Error(), "\n", "; "))
			case result.Err != nil:
				code, verdict = http.StatusServiceUnavailable, "not ready"
				fmt.Fprintf(&b, "[-] %s: %s\n", result.Name, strings.ReplaceAll(result.Err.Error(), "\n", "; "))
			case verbose:
				fmt.Fprintf(&b, "[+] %s: ok\n", result.Name)
			}
		}
		b.WriteString(verdict + "\n")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		w.Write([]byte(b.String()))
	})
}
