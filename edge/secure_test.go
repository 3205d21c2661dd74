package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go/http3"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

// securedEdge is an edge that speaks HTTPS.
type securedEdge struct {
	plain, secure string // host:port
	trust         *tls.Config
}

// startSecured runs an edge without a cluster that signs its own certificates, with a
// site document for every host.
func startSecured(t *testing.T, upstream, text string) *securedEdge {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "site.yaml")
	if err := os.WriteFile(file, []byte("site: test\nhosts: ['*']\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := new(securedEdge)
	f := node.New(cluster.Edge, "e1")
	f.Listen, f.Drain = []string{"127.0.0.1:0"}, document.Duration(5*time.Second)
	f.Cache.Memory, f.Cache.Upstream, f.Cache.Site = 64<<20, upstream, file
	f.HTTPS.Listen, f.HTTPS.SelfSigned, f.HTTPS.Dir = []string{"127.0.0.1:0"}, true, dir
	where := newWhereabouts()
	e, err := New(node.Env{File: f, Log: slog.New(where), Metrics: prometheus.NewRegistry(), Health: telemetry.NewHealth()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("edge: %v", err)
		}
	})
	s.plain, s.secure = where.wait(t, done, true)
	var pem []byte
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if pem, err = os.ReadFile(filepath.Join(dir, "ca.crt")); err == nil { // it listens already
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	s.trust = &tls.Config{RootCAs: x509.NewCertPool()}
	if !s.trust.RootCAs.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the CA's file")
	}
	return s
}

// clients are one of each protocol over TLS.
func (s *securedEdge) clients(t *testing.T) map[string]http.RoundTripper {
	one := &http.Transport{TLSClientConfig: s.trust.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	two := &http.Transport{TLSClientConfig: s.trust.Clone(), ForceAttemptHTTP2: true}
	three := &http3.Transport{TLSClientConfig: s.trust.Clone()}
	t.Cleanup(func() {
		one.CloseIdleConnections()
		two.CloseIdleConnections()
		three.Close()
	})
	return map[string]http.RoundTripper{"HTTP/1.1": one, "HTTP/2.0": two, "HTTP/3.0": three}
}

func askVia(t *testing.T, via http.RoundTripper, method, url string) (res *http.Response, body string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err = via.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func strict(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Strict-Transport-Security", "max-age=1")
	w.Header().Set("Alt-Svc", `h3=":1"`)
	fmt.Fprint(w, r.URL.Path)
}

// TestOneCacheAnswersOverEveryProtocol proves it with what says so in the answers, and
// that each is told what is for it.
func TestOneCacheAnswersOverEveryProtocol(t *testing.T) {
	o := startOrigin(t, strict)
	s := startSecured(t, o.URL, "https: {hsts: 1h}\n")
	_, port, _ := net.SplitHostPort(s.secure)
	for protocol, client := range s.clients(t) {
		for range 2 {
			res, body := askVia(t, client, "GET", "https://"+s.secure+"/x")
			if res.Proto != protocol || res.StatusCode != 200 || body != "/x" {
				t.Errorf("%s: %s %d %q", protocol, res.Proto, res.StatusCode, body)
			}
			if got := res.Header["Strict-Transport-Security"]; len(got) != 1 || got[0] != "max-age=3600" {
				t.Errorf("%s: Strict-Transport-Security %q", protocol, got)
			}
			want := `h3=":` + port + `"; ma=86400`
			if protocol == "HTTP/3.0" {
				want = ""
			}
			if got := strings.Join(res.Header["Alt-Svc"], "|"); got != want {
				t.Errorf("%s: Alt-Svc %q, want %q", protocol, got, want)
			}
		}
	}
	if n := o.asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
	plain := new(http.Transport)
	defer plain.CloseIdleConnections()
	for _, how := range []string{"fwd=uri-miss", "hit"} { // under a wildcard the port is part of the key
		res, _ := askVia(t, plain, "GET", "http://"+s.plain+"/x")
		if res.StatusCode != 200 || res.Header.Get("Strict-Transport-Security") != "" || res.Header.Get("Alt-Svc") != `h3=":1"` || !strings.Contains(res.Header.Get("Cache-Status"), how) {
			t.Errorf("over plain HTTP, %s: %d %v", how, res.StatusCode, res.Header)
		}
	}
}

func TestTheOriginsWordOnHTTPSCountsWhereTheSiteSaysNothing(t *testing.T) {
	o := startOrigin(t, strict)
	s := startSecured(t, o.URL, "")
	for protocol, client := range s.clients(t) {
		if res, _ := askVia(t, client, "GET", "https://"+s.secure+"/x"); res.Header.Get("Strict-Transport-Security") != "max-age=1" {
			t.Errorf("%s: %v", protocol, res.Header)
		}
	}
}

func TestClientsOfPlainHTTPAreSentToHTTPS(t *testing.T) {
	o := startOrigin(t, strict)
	s := startSecured(t, o.URL, "https: {redirect: true}\n")
	plain := new(http.Transport)
	defer plain.CloseIdleConnections()
	for method, status := range map[string]int{"GET": 301, "HEAD": 301, "POST": 308, "DELETE": 308} {
		res, _ := askVia(t, plain, method, "http://"+s.plain+"/x?y=%2f")
		if res.StatusCode != status || res.Header.Get("Location") != "https://"+s.secure+"/x?y=%2f" {
			t.Errorf("%s: %d to %q", method, res.StatusCode, res.Header.Get("Location"))
		}
	}
	if n := o.asked.Load(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	// An authority asks over plain HTTP, and is to be answered there.
	if res, body := askVia(t, plain, "GET", "http://"+s.plain+"/.well-known/acme-challenge/x"); res.StatusCode != 200 || body != "/.well-known/acme-challenge/x" {
		t.Errorf("a challenge is answered with %d %q", res.StatusCode, body)
	}
	for protocol, client := range s.clients(t) {
		if res, _ := askVia(t, client, "GET", "https://"+s.secure+"/x"); res.StatusCode != 200 {
			t.Errorf("%s: %d", protocol, res.StatusCode)
		}
	}
}

func TestWhatIsSaidOfHTTPSAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops walks at random")
	}
	up := startOriginTB(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(w, "hello")
	}))
	e := served(t, up, "https: {redirect: true, hsts: 365d, hsts_include_subdomains: true, hsts_preload: true}\n")
	e.secure.altSvc, e.secure.port = `h3=":443"; ma=86400`, 443
	req := asks(t, "GET", "/x", curlFields...)
	req.Scheme = "https"
	l := newLane(t, e, req)
	if n := testing.AllocsPerRun(100, l.serve); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if extra := string(l.to.extra); !strings.Contains(extra, "Alt-Svc: h3=") || !strings.Contains(extra, "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload") {
		t.Errorf("fields %q", extra)
	}
}
