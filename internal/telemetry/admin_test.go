package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

func newTestAdmin(t *testing.T) (*Admin, *Health) {
	t.Helper()
	health := NewHealth()
	return NewAdmin(AdminConfig{
		Registry: NewRegistry("edge", "e1", "test"),
		Health:   health,
		Log:      slog.New(slog.DiscardHandler),
	}), health
}

// ask sends one request to a's handler as if it had arrived at the address local.
func ask(a *Admin, local net.IP, r *http.Request) *httptest.ResponseRecorder {
	ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: local, Port: 9101}))
	w := httptest.NewRecorder()
	a.handler().ServeHTTP(w, r.WithContext(ctx))
	return w
}

func TestAdminPages(t *testing.T) {
	a, health := newTestAdmin(t)
	health.Check("cluster", func() error { return nil })
	a.Handle("GET /debug/sites", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "demo")
	}))
	tests := []struct {
		path string
		code int
		has  string
	}{
		{"/livez", 200, "ok\n"},
		{"/healthz", 200, "ok\n"},
		{"/readyz", 200, "ready\n"},
		{"/readyz?verbose", 200, "[+] cluster: ok\nready\n"},
		{"/metrics", 200, `freshet_build_info{node="e1",role="edge",version="test"} 1`},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine?debug=1", 200, "goroutine profile:"},
		{"/debug/pprof/cmdline", 200, "test"},
		{"/debug/sites", 200, "demo"},
		{"/", 200, `<a href="/debug/sites">`},
		{"/nothing", 404, ""},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			w := ask(a, net.IPv4(127, 0, 0, 1), httptest.NewRequest("GET", "http://127.0.0.1:9101"+test.path, nil))
			if w.Code != test.code || !strings.Contains(w.Body.String(), test.has) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, test.code, test.has)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q", got)
			}
		})
	}
}

func TestAdminNotReady(t *testing.T) {
	a, health := newTestAdmin(t)
	health.Check("cluster", func() error { return nil })
	health.Check("log", func() error { return errors.New("no bus\nno log") })
	tests := []struct{ path, body string }{
		{"/readyz", "[-] log: no bus; no log\nnot ready\n"},
		{"/readyz?verbose", "[+] cluster: ok\n[-] log: no bus; no log\nnot ready\n"},
	}
	for _, test := range tests {
		w := ask(a, net.IPv4(127, 0, 0, 1), httptest.NewRequest("GET", "http://127.0.0.1"+test.path, nil))
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != test.body {
			t.Errorf("%s: %d %q, want 503 %q", test.path, w.Code, w.Body, test.body)
		}
	}
	if w := ask(a, net.IPv4(127, 0, 0, 1), httptest.NewRequest("GET", "http://127.0.0.1/livez", nil)); w.Code != 200 {
		t.Errorf("/livez: %d, want 200: a node that is not ready is alive", w.Code)
	}
}

// TestAPageIsAddedWhileItServes: a node answers while its role is still opening what it
// stands on.
func TestAPageIsAddedWhileItServes(t *testing.T) {
	a, _ := newTestAdmin(t)
	get := func(path string) *httptest.ResponseRecorder {
		return ask(a, net.IPv4(127, 0, 0, 1), httptest.NewRequest("GET", "http://127.0.0.1"+path, nil))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 100 {
			get("/")
		}
	})
	a.Handle("GET /late", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("here")) }))
	wg.Wait()
	if w := get("/late"); w.Body.String() != "here" || !strings.Contains(get("/").Body.String(), `<a href="/late">`) {
		t.Errorf("%d %s, and the index is %s", w.Code, w.Body, get("/").Body)
	}
}

func TestAWarningLeavesTheNodeReady(t *testing.T) {
	a, health := newTestAdmin(t)
	health.Warn("disk", func() error { return errors.New("out of service") })
	w := ask(a, net.IPv4(127, 0, 0, 1), httptest.NewRequest("GET", "http://127.0.0.1/readyz", nil))
	if want := "[!] disk: out of service\nready\n"; w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%d %q, want 200 %q", w.Code, w.Body, want)
	}
	if err := health.Err(); err != nil {
		t.Errorf("not ready because of a warning: %v", err)
	}
}

func TestAdminHosts(t *testing.T) {
	loopback, lan := net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 7)
	tests := []struct {
		name, host string
		local      net.IP
		code       int
	}{
		{"address", "127.0.0.1:9101", loopback, 200},
		{"another loopback address", "127.0.0.11", loopback, 200},
		{"IPv6 with port", "[::1]:9101", net.IPv6loopback, 200},
		{"IPv6 without port", "[::1]", net.IPv6loopback, 200},
		{"localhost", "localhost:9101", loopback, 200},
		{"localhost in capitals", "LOCALHOST", loopback, 200},
		{"rebound name", "evil.example:9101", loopback, 421},
		{"rebound name over IPv6", "evil.example", net.IPv6loopback, 421},
		{"name that begins like localhost", "localhost.evil.example", loopback, 421},
		{"name that begins like an address", "127.0.0.1.evil.example", loopback, 421},
		{"no host", "", loopback, 421},
		{"name on the network", "e1.cdn.example:9101", lan, 200},
	}
	a, _ := newTestAdmin(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://x/livez", nil)
			r.Host = test.host
			if w := ask(a, test.local, r); w.Code != test.code {
				t.Errorf("host %q at %s: %d, want %d", test.host, test.local, w.Code, test.code)
			}
		})
	}
}

func TestAdminCrossSiteWrite(t *testing.T) {
	a, _ := newTestAdmin(t)
	a.Handle("POST /debug/change", http.HandlerFunc(serveLive))
	for site, code := range map[string]int{"cross-site": 403, "same-origin": 200} {
		r := httptest.NewRequest("POST", "http://127.0.0.1/debug/change", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		if w := ask(a, net.IPv4(127, 0, 0, 1), r); w.Code != code {
			t.Errorf("%s: %d, want %d", site, w.Code, code)
		}
	}
}

func TestAdminServe(t *testing.T) {
	a, _ := newTestAdmin(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx, ln) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func(host string) int {
		t.Helper()
		r, _ := http.NewRequest("GET", "http://"+ln.Addr().String()+"/readyz", nil)
		r.Host = host
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode
	}
	if code := get("localhost"); code != 200 {
		t.Errorf("as localhost: %d, want 200", code)
	}
	if code := get("evil.example"); code != 421 {
		t.Errorf("as a foreign name: %d, want 421", code)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("still accepts after Serve returned")
	}
}
