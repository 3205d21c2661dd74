package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin is an origin under a test's control, on a real socket.
type origin struct {
	*httptest.Server
	asked atomic.Int64
	serve atomic.Pointer[http.HandlerFunc]
}

func startOrigin(t *testing.T, h http.HandlerFunc) *origin {
	o := &origin{}
	o.serve.Store(&h)
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		(*o.serve.Load())(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

// startLone runs an edge without a cluster in front of upstream and returns its
// URL and the edge.
func startLone(t *testing.T, upstream string) (string, *Edge) {
	t.Helper()
	return startLoneFile(t, node.Cache{Memory: 64 << 20, Upstream: upstream})
}

// startLoneSite is startLone with a site document, which is for every host unless it
// says so itself.
func startLoneSite(t *testing.T, upstream, document string) (string, *Edge) {
	t.Helper()
	if !strings.Contains(document, "hosts:") {
		document = "hosts: ['*']\n" + document
	}
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte("site: test\n"+document), 0o600); err != nil {
		t.Fatal(err)
	}
	return startLoneFile(t, node.Cache{Memory: 64 << 20, Upstream: upstream, Site: file})
}

func startLoneFile(t *testing.T, cache node.Cache, change ...func(*node.File)) (string, *Edge) {
	t.Helper()
	file := &node.File{
		Role: cluster.Edge, Name: "e1", Listen: []string{"127.0.0.1:0"}, Drain: document.Duration(5 * time.Second),
		Cache: cache,
	}
	for _, c := range change {
		c(file)
	}
	where := newWhereabouts()
	e, err := New(node.Env{
		File: file, Log: slog.New(where), Metrics: prometheus.NewRegistry(), Health: telemetry.NewHealth(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("edge: %v", err)
		}
	})
	addr, _ := where.wait(t, done, false)
	return "http://" + addr, e
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

func get(t testing.TB, url string, header ...string) answer {
	t.Helper()
	return do(t, "GET", url, nil, header...)
}

func do(t testing.TB, method, url string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

func cached(maxAge string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", maxAge)
		fmt.Fprint(w, body)
	}
}

func wantStatus(t *testing.T, a answer, part string) {
	t.Helper()
	if got := a.header.Get("Cache-Status"); !strings.Contains(got, part) {
		t.Errorf("Cache-Status %q, want %q in it", got, part)
	}
}

func TestMissThenHit(t *testing.T) {
	o := startOrigin(t, cached("max-age=60", "hello"))
	url, _ := startLone(t, o.URL)
	first, second := get(t, url+"/a?b=c"), get(t, url+"/a?b=c")
	if first.body != "hello" || second.body != "hello" {
		t.Errorf("bodies %q and %q", first.body, second.body)
	}
	wantStatus(t, first, "freshet-e1; fwd=uri-miss; fwd-status=200; stored")
	wantStatus(t, second, "freshet-e1; hit; ttl=")
	if second.header.Get("Age") == "" || second.header.Get("Via") != "1.1 freshet-e1" || second.header.Get("Date") == "" {
		t.Errorf("header of the hit: %v", second.header)
	}
	if other := get(t, url+"/a?b=d"); !strings.Contains(other.header.Get("Cache-Status"), "uri-miss") {
		t.Error("another query is the same key")
	}
	head := do(t, "HEAD", url+"/a?b=c", nil)
	if head.status != 200 || head.header.Get("Content-Length") != "5" || head.body != "" {
		t.Errorf("HEAD of a hit: %+v", head)
	}
	if n := o.asked.Load(); n != 2 {
		t.Errorf("the origin was asked %d times, want 2", n)
	}
}

func TestTargetReachesTheOriginAsSent(t *testing.T) {
	targets := make(chan string, 10)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) { targets <- r.RequestURI })
	url, _ := startLone(t, o.URL)
	addr := strings.TrimPrefix(url, "http://")
	for _, target := range []string{"/", "/a%2Fb", "/a/../b", "/?", "/a?", "/%7E?x=%20&y", "/a;b=c", "/ü", "//a", "//a/b?c", "//", "///%2F"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target)
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if got := <-targets; got != target {
			t.Errorf("sent %q, the origin got %q", target, got)
		}
	}
}

func TestConcurrentMissesBecomeOneFetchAndStream(t *testing.T) {
	const clients = 100
	release := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "first")
		w.(http.Flusher).Flush()
		<-release
		fmt.Fprint(w, "-last")
	})
	url, _ := startLone(t, o.URL)
	var wg, firstBytes sync.WaitGroup
	firstBytes.Add(clients)
	for range clients {
		wg.Go(func() {
			res, err := http.Get(url + "/cold")
			if err != nil {
				t.Error(err)
				firstBytes.Done()
				return
			}
			defer res.Body.Close()
			head := make([]byte, 5)
			_, err = io.ReadFull(res.Body, head)
			firstBytes.Done() // before the origin has sent the rest
			rest, err2 := io.ReadAll(res.Body)
			if err = errors.Join(err, err2); err != nil || string(head)+string(rest) != "first-last" {
				t.Errorf("got %q%q, %v", head, rest, err)
			}
		})
	}
	firstBytes.Wait()
	close(release)
	wg.Wait()
	if n := o.asked.Load(); n != 1 {
		t.Errorf("%d requests at the origin for %d clients, want 1", n, clients)
	}
}

func TestALeaderThatGoesAwayEndsNothing(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		cached("max-age=60", "hello")(w, r)
	})
	url, _ := startLone(t, o.URL)
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", url+"/a", nil)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
			res.Body.Close()
		}
	}()
	waitFor(t, func() bool { return o.asked.Load() == 1 })
	follower := make(chan answer)
	go func() { follower <- get(t, url+"/a") }()
	cancel()
	<-gone
	close(release)
	if a := <-follower; a.body != "hello" {
		t.Errorf("follower got %+v", a)
	}
	if n := o.asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// patience bounds what a test waits for. It tells what never comes from what comes late on
// a machine that has much else to do, and says nothing of how fast anything has to be.
const patience = time.Minute

// long: seeded tests run all of their share; see share.
var long = os.Getenv("FRESHET_TEST_LONG") != ""

// share is how much of a seeded test is run: all with FRESHET_TEST_LONG, else few.
func share(few, all int) int {
	if long {
		return all
	}
	return few
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain", patience)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func TestUncacheableIsNeverShared(t *testing.T) {
	var n atomic.Int64
	for _, tc := range []struct{ name, cc, cookie string }{
		{"private", "private, max-age=60", ""},
		{"no-store", "no-store", ""},
		{"set-cookie", "max-age=60", "id=1"},
		{"no-cache", "no-cache", ""},
		{"says nothing", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				if tc.cc != "" {
					w.Header().Set("Cache-Control", tc.cc)
				}
				if tc.cookie != "" {
					w.Header().Set("Set-Cookie", tc.cookie)
				}
				fmt.Fprint(w, n.Add(1))
			})
			url, _ := startLone(t, o.URL)
			var mu sync.Mutex
			seen := map[string]bool{}
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					a := get(t, url+"/mine")
					mu.Lock()
					defer mu.Unlock()
					if seen[a.body] {
						t.Errorf("body %s went to two clients", a.body)
					}
					seen[a.body] = true
				})
			}
			wg.Wait()
		})
	}
}

func TestStaleWhileRevalidate(t *testing.T) {
	o := startOrigin(t, cached("max-age=0, stale-while-revalidate=600", "old"))
	url, _ := startLone(t, o.URL)
	get(t, url+"/a")
	fresh := cached("max-age=60", "new")
	o.serve.Store(&fresh)
	stale := get(t, url+"/a")
	if stale.body != "old" {
		t.Errorf("got %q, want the stale body at once", stale.body)
	}
	wantStatus(t, stale, "hit; ttl=")
	wantStatus(t, stale, "detail=stale-while-revalidate")
	waitFor(t, func() bool { return get(t, url+"/a").body == "new" })
	if n := o.asked.Load(); n != 2 {
		t.Errorf("the origin was asked %d times, want 2", n)
	}
}

func TestStaleIfError(t *testing.T) {
	o := startOrigin(t, cached("max-age=0, stale-if-error=600", "kept"))
	url, _ := startLone(t, o.URL)
	get(t, url+"/a")
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
	o.serve.Store(&broken)
	if a := get(t, url+"/a"); a.status != 200 || a.body != "kept" {
		t.Errorf("origin answers 503: got %d %q", a.status, a.body)
	}
	o.Close()
	a := get(t, url+"/a")
	if a.status != 200 || a.body != "kept" {
		t.Errorf("origin is gone: got %d %q", a.status, a.body)
	}
	wantStatus(t, a, "fwd=stale; detail=stale-if-error")
	if a := get(t, url+"/never"); a.status != 502 || !strings.Contains(a.header.Get("Proxy-Status"), "error=connection_refused") {
		t.Errorf("nothing cached and origin gone: %+v", a)
	}
}

func TestABrokenTransferIsSeenAndNotStored(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	url, _ := startLone(t, o.URL)
	// The break may come before the head has left: then the answer is an error of ours.
	if res, err := http.Get(url + "/a"); err == nil {
		if text, err := io.ReadAll(res.Body); err == nil && res.StatusCode != http.StatusBadGateway {
			t.Errorf("a broken transfer looks whole: %d %q", res.StatusCode, text)
		}
		res.Body.Close()
	}
	whole := cached("max-age=60", "whole")
	o.serve.Store(&whole)
	if a := get(t, url+"/a"); a.body != "whole" {
		t.Errorf("after the break: %+v", a)
	}
}

func TestVariantsAreKeptApart(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		fmt.Fprint(w, "in "+r.Header.Get("Accept-Language"))
	})
	url, _ := startLone(t, o.URL)
	var wg sync.WaitGroup
	for i := range 40 {
		lang := []string{"de", "fr"}[i%2]
		wg.Go(func() {
			if a := get(t, url+"/a", "Accept-Language: "+lang); a.body != "in "+lang {
				t.Errorf("%s got %q", lang, a.body)
			}
		})
	}
	wg.Wait()
	asked := o.asked.Load()
	for _, lang := range []string{"de", "fr"} {
		if a := get(t, url+"/a", "Accept-Language: "+lang); a.body != "in "+lang || !strings.Contains(a.header.Get("Cache-Status"), "; hit") {
			t.Errorf("%s: %q, %s", lang, a.body, a.header.Get("Cache-Status"))
		}
	}
	if o.asked.Load() != asked {
		t.Error("a stored variant was fetched again")
	}
}

func TestLargeBodiesStreamInBoundedMemory(t *testing.T) {
	const size = 12 << 20 // above what a store of 64 MiB keeps of one response
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		src := rand.NewChaCha8([32]byte{1})
		_, _ = io.Copy(w, io.LimitReader(src, size))
	})
	url, _ := startLone(t, o.URL)
	want := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(want)
	for _, path := range []string{"/known", "/unknown"} {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if a := get(t, url+path); !bytes.Equal([]byte(a.body), want) {
					t.Errorf("%s: %d bytes differ from the origin's", path, len(a.body))
				}
			})
		}
		wg.Wait()
	}
}

func TestPassedMethodsReachTheOriginWithTheirBody(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-Mine"), body)
	})
	url, _ := startLone(t, o.URL)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		a := do(t, method, url+"/a", strings.NewReader("payload"), "X-Mine: 1")
		if want := method + " 1 payload"; a.status != 201 || a.body != want {
			t.Errorf("%s: %d %q, want %q", method, a.status, a.body, want)
		}
		wantStatus(t, a, "fwd=method")
	}
}

func TestWhatTheKeyDoesNotCoverIsNotPassedOn(t *testing.T) {
	got := make(chan http.Header, 1)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) { got <- r.Header.Clone() })
	url, _ := startLone(t, o.URL)
	get(t, url+"/a", "X-Forwarded-Host: evil", "X-Original-URL: /admin", "If-None-Match: \"x\"",
		"Freshet-Hop: forged", "Freshet-Fence: hard=1", "Accept-Language: de")
	h := <-got
	for _, name := range []string{"X-Forwarded-Host", "X-Original-URL", "If-None-Match", "Freshet-Hop", "Freshet-Fence"} {
		if h.Get(name) != "" {
			t.Errorf("%s reached the origin", name)
		}
	}
	if h.Get("Accept-Language") != "de" || h.Get("CDN-Loop") != "freshet-e1" || !strings.Contains(h.Get("Via"), "freshet-e1") {
		t.Errorf("the origin got %v", h)
	}
}

// A field that Connection names goes no further than this hop, so it must not choose
// a variant that others get: the origin has never seen it.
func TestWhatConnectionNamesShapesNothing(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		fmt.Fprintf(w, "in %q", r.Header.Get("Accept-Language"))
	})
	url, _ := startLone(t, o.URL)
	get(t, url+"/a", "Accept-Language: de", "Connection: Accept-Language")
	if a := get(t, url+"/a", "Accept-Language: de"); a.body != `in "de"` {
		t.Errorf("got the answer %s to a request that lost its language", a.body)
	}
}

func TestLoopsAndStrangeRequestsAreRefused(t *testing.T) {
	o := startOrigin(t, cached("max-age=60", "x"))
	url, _ := startLone(t, o.URL)
	if a := get(t, url+"/a", "CDN-Loop: other, freshet-e1"); a.status != http.StatusLoopDetected {
		t.Errorf("loop: %d", a.status)
	}
	if a := do(t, "TRACE", url+"/a", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("TRACE: %d", a.status)
	}
	if a := get(t, url+"/a", "Host: a b"); a.status != http.StatusBadRequest {
		t.Errorf("malformed host: %d", a.status)
	}
	if n := o.asked.Load(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestABadAnswerIsA502AndNeverStored(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for i := range 3000 {
			w.Header().Add("X-Many", strconv.Itoa(i))
		}
	})
	url, _ := startLone(t, o.URL)
	a := get(t, url+"/a")
	if a.status != http.StatusBadGateway || !strings.Contains(a.header.Get("Proxy-Status"), "freshet-e1; error=") {
		t.Errorf("got %d, %v", a.status, a.header)
	}
}
