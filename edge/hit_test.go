package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/exchange"
	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

// sink is a responder that drops the answer and remembers what it was.
type sink struct {
	status, bytes int
	answers       int
	extra         []byte
}

func (*sink) Inform(int, *header.Block) {}

func (s *sink) Respond(a *exchange.Answer) error {
	s.status, s.bytes, s.answers = a.Status, len(a.Bytes), s.answers+1
	s.extra = s.extra[:0]
	if a.Extra != nil {
		s.extra = append(s.extra, a.Extra.Wire()...)
	}
	return nil
}

// served is an edge that is called in place, without listeners.
func served(t testing.TB, upstream, document string) *Edge {
	t.Helper()
	return servedFrom(t, upstream, document, 64<<20)
}

// servedFrom is served with so much RAM.
func servedFrom(t testing.TB, upstream, document string, memory document.Size) *Edge {
	t.Helper()
	cache := node.Cache{Memory: memory, Upstream: upstream}
	if document != "" {
		cache.Site = filepath.Join(t.TempDir(), "site.yaml")
		if !strings.Contains(document, "hosts:") {
			document = "hosts: [h.example]\n" + document
		}
		if err := os.WriteFile(cache.Site, []byte("site: test\n"+document), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := New(node.Env{
		File: &node.File{Role: cluster.Edge, Name: "e1", Cache: cache},
		Log:  slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: telemetry.NewHealth(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.stopFills()
		e.slicing.settling.Wait()
		e.fills.Wait()
		e.client.Close()
		e.store.Close()
	})
	if _, err := e.knowledge(); err != nil {
		t.Fatal(err)
	}
	return e
}

// asks makes a request of fields as they stand on the wire.
func asks(t testing.TB, method, target string, fields ...string) *exchange.Request {
	t.Helper()
	h := new(header.Block)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if err := h.Add(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return &exchange.Request{
		Method: method, Scheme: "http", Host: "h.example", Target: target, Header: h, Proto: "HTTP/1.1",
		Remote: netip.MustParseAddrPort("192.0.2.1:1234"), Received: time.Now(),
	}
}

var (
	curlFields    = []string{"Host: h.example", "User-Agent: curl/8.14.1", "Accept: */*"}
	browserFields = []string{
		"Host: h.example",
		"Connection: keep-alive",
		`sec-ch-ua: "Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"`,
		"sec-ch-ua-mobile: ?0",
		`sec-ch-ua-platform: "Linux"`,
		"Upgrade-Insecure-Requests: 1",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
		"Sec-Fetch-Site: same-origin",
		"Sec-Fetch-Mode: navigate",
		"Sec-Fetch-User: ?1",
		"Sec-Fetch-Dest: document",
		"Referer: http://h.example/shop/index.html?from=search",
		"Accept-Encoding: gzip, deflate, br, zstd",
		"Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
		"Cookie: session=0123456789abcdef0123456789abcdef; consent=yes; _ga=GA1.1.1234567890.1234567890",
	}
)

// siteOfRules has rules of every kind that a hit meets, but regular expressions.
const siteOfRules = `
cache:
  default_lifetime: 1h
  key: {query: {mode: deny, names: ["utm_*"]}}
rules:
  - {match: {path: {prefix: /api/}}, cache: {bypass: true}}
  - match: {path: {glob: "/assets/**.js"}}
    cache: {force_lifetime: 1d}
    response_headers: {set: {X-Content-Type-Options: nosniff}, remove: [X-Powered-By]}
  - match: {path: {prefix: /assets/}, header: {Accept: "*"}}
    rewrite: {prefix: /assets/, to: /v2/}
    cors: {origins: ["https://*.example"], expose: [X-Trace, X-Cost]}
`

// hits are requests for what RAM holds, by name.
func hits(t testing.TB) map[string]struct {
	edge *Edge
	req  *exchange.Request
} {
	body := strings.Repeat("x", 1024)
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "max-age=3600")
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("ETag", `"1234"`)
		h.Set("X-Powered-By", "origin")
		if strings.Contains(r.URL.Path, "secure") {
			h.Set("Strict-Transport-Security", "max-age=1000")
		}
		if strings.Contains(r.URL.Path, "vary") {
			h.Set("Vary", "Accept-Encoding")
		}
		_, _ = w.Write([]byte(body))
	})
	up := startOriginTB(t, origin)
	lone, ruled := served(t, up, ""), served(t, up, siteOfRules)
	lone.proof = hop.NewKey("of a cluster")
	tier := asks(t, "GET", "/assets/app.js", curlFields...)
	if err := errors.Join(lone.proof.Prove(tier.Header), hop.Fence{Log: lone.table.Clock().Log, Floor: 1}.AppendTo(tier.Header)); err != nil {
		t.Fatal(err)
	}
	secure := asks(t, "GET", "/secure/app.js", browserFields...)
	secure.Scheme, lone.secure.altSvc = "https", `h3=":443"; ma=86400`
	conditional := append([]string{`If-None-Match: "1234"`}, browserFields...)
	js := append([]string{"Origin: https://shop.example"}, browserFields...)
	return map[string]struct {
		edge *Edge
		req  *exchange.Request
	}{
		"port":         {lone, onPort(asks(t, "GET", "/assets/app.js", curlFields...))},
		"tier":         {lone, tier},
		"https":        {lone, secure},
		"no https":     {lone, asks(t, "GET", "/secure/app.js", browserFields...)},
		"curl":         {lone, asks(t, "GET", "/assets/app.js", curlFields...)},
		"browser":      {lone, asks(t, "GET", "/shop/item.html?id=17&colour=blue", browserFields...)},
		"vary":         {lone, asks(t, "GET", "/vary/item.html", browserFields...)},
		"head":         {lone, asks(t, "HEAD", "/shop/item.html?id=17&colour=blue", browserFields...)},
		"rules":        {ruled, asks(t, "GET", "/shop/item.html", browserFields...)},
		"rules+query":  {ruled, asks(t, "GET", "/shop/item.html?id=17&utm_source=mail", browserFields...)},
		"rules+edits":  {ruled, asks(t, "GET", "/assets/app.js", js...)},
		"not modified": {lone, asks(t, "GET", "/shop/item.html?id=17&colour=blue", conditional...)},
	}
}

// lane serves one request again and again as a listener does: each time its fields are
// new in the same memory.
type lane struct {
	edge   *Edge
	req    *exchange.Request
	fields *header.Block
	to     *sink
}

func newLane(t testing.TB, e *Edge, req *exchange.Request) *lane {
	l := &lane{e, req, req.Header.Clone(), warm(t, e, req)}
	l.serve()
	return l
}

func (l *lane) serve() {
	l.fields.Copy(l.req.Header, nil)
	l.edge.Serve(context.Background(), l.req, l.to)
}

// TestAHitInRAMAllocatesNothing but what ristretto's sample of the keys asked for needs:
// one buffer for 64 of them.
func TestAHitInRAMAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops walks at random")
	}
	const runs = 6400
	for name, hit := range hits(t) {
		l := newLane(t, hit.edge, hit.req)
		answers := l.to.answers
		if n := testing.AllocsPerRun(100, l.serve); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		n := testing.AllocsPerRun(1, func() {
			for range runs {
				l.serve()
			}
		})
		if n > runs/64+10 {
			t.Errorf("%s: %v allocations in %d hits", name, n, runs)
		}
		if l.to.answers != answers+101+2*runs || !strings.Contains(string(l.to.extra), "freshet-e1; hit; ttl=") {
			t.Errorf("%s: %d answers, the last with %q", name, l.to.answers-answers, l.to.extra)
		}
	}
}

// logging has an edge write an access log until the test ends.
func logging(t testing.TB, e *Edge) {
	t.Helper()
	e.env.File.Log.Access = filepath.Join(t.TempDir(), "access.log")
	if err := e.openAccessLog(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.access.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAHitThatIsLoggedAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops walks at random")
	}
	for name, hit := range hits(t) {
		if hit.edge.access == nil {
			logging(t, hit.edge)
		}
		l := newLane(t, hit.edge, hit.req)
		if n := testing.AllocsPerRun(1000, l.serve); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestAStaleHitCostsLittleWhileItIsRefreshed: it does not begin what it takes to fetch.
func TestAStaleHitCostsLittleWhileItIsRefreshed(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops walks at random")
	}
	var asked atomic.Int64
	ends := make(chan struct{})
	up := startOriginTB(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=3600")
		if asked.Add(1) > 1 {
			<-ends
		}
		fmt.Fprint(w, "hello")
	}))
	e := served(t, up, "")
	t.Cleanup(func() { close(ends) })
	l := newLane(t, e, asks(t, "GET", "/a", browserFields...))
	n := testing.AllocsPerRun(1000, l.serve)
	if n > 6 || asked.Load() > 2 || !strings.Contains(string(l.to.extra), "; hit; ttl=") {
		t.Errorf("%v allocations, %d requests to the origin, %s", n, asked.Load(), l.to.extra)
	}
	t.Logf("%v allocations", n)
}

func BenchmarkServeHit(b *testing.B) { benchmarkHits(b, func(testing.TB, *Edge) {}) }

func BenchmarkServeLoggedHit(b *testing.B) { benchmarkHits(b, logging) }

func benchmarkHits(b *testing.B, prepare func(testing.TB, *Edge)) {
	prepared := make(map[*Edge]bool)
	for name, hit := range hits(b) {
		if !prepared[hit.edge] {
			prepare(b, hit.edge)
			prepared[hit.edge] = true
		}
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			l := newLane(b, hit.edge, hit.req)
			b.ReportAllocs()
			began, n := cpuTime(b), 0
			for ; b.Loop(); n++ {
				l.serve()
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(n), "cpu-ns/op") // of all threads, whoever else is busy
		})
	}
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// warm asks until the answer is a hit.
func warm(t testing.TB, e *Edge, req *exchange.Request) *sink {
	t.Helper()
	to := new(sink)
	first := req.Clone()
	first.Method = "GET"
	first.Header.Del("If-None-Match")
	for range 100 {
		e.Serve(context.Background(), first, to)
		if strings.Contains(string(to.extra), "; hit") {
			e.Serve(context.Background(), req, to)
			return to
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("no hit of %s: status %d, %s", req.Target, to.status, to.extra)
	return nil
}

// onPort has the client name the port.
func onPort(req *exchange.Request) *exchange.Request {
	req.Port = "8080"
	return req
}

func startOriginTB(t testing.TB, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
