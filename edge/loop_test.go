package edge

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet/internal/node"
)

// TestEdgesThatPointAtEachOther: a request goes once around, and ends as a 508; so does each
// of many at once.
func TestEdgesThatPointAtEachOther(t *testing.T) {
	t.Parallel()
	named := func(name string) func(*node.File) { return func(f *node.File) { f.Name = name } }
	var to atomic.Pointer[url.URL] // the second, which is not there when the first is told of it
	between := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		httputil.NewSingleHostReverseProxy(to.Load()).ServeHTTP(w, r)
	})
	one, first := startLoneFile(t, node.Cache{Memory: 64 << 20, Upstream: between.URL}, named("one"))
	two, second := startLoneFile(t, node.Cache{Memory: 64 << 20, Upstream: one}, named("two"))
	target, err := url.Parse(two)
	if err != nil {
		t.Fatal(err)
	}
	to.Store(target)
	for _, method := range []string{"GET", "POST"} {
		before := first.counts().Requests + second.counts().Requests
		a := do(t, method, one+"/a", nil)
		if a.status != http.StatusLoopDetected || !strings.Contains(strings.Join(a.header.Values("Proxy-Status"), ", "), "error=proxy_loop_detected") {
			t.Errorf("%s: %d, %v", method, a.status, a.header)
		}
		if n := first.counts().Requests + second.counts().Requests - before; n != 3 {
			t.Errorf("%s is %d requests at the two, want 3", method, n)
		}
	}
	before := second.counts().Requests
	const clients = 100
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			if a := get(t, one+"/b"); a.status != http.StatusLoopDetected {
				t.Errorf("%d", a.status)
			}
		})
	}
	all.Wait()
	if n := second.counts().Requests - before; n > clients {
		t.Errorf("%d clients are %d requests at the other", clients, n)
	} else {
		t.Logf("%d clients are %d requests at the other", clients, n)
	}
}

// TestPassageOfStrangers: what a client says of where its request has been is passed on, as
// the next one may know itself in it, and means nothing here: unless it names this node, in
// any case and with any parameters.
func TestPassageOfStrangers(t *testing.T) {
	t.Parallel()
	var seen http.Header
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		cached("no-store", "x")(w, r)
	})
	e1, _ := startLone(t, o.URL)
	for _, loop := range []string{"freshet-e1", "Freshet-E1; a=b", "x, freshet-e1;q", "x ,\tfreshet-e1 "} {
		if a := get(t, e1+"/a", "CDN-Loop: "+loop); a.status != http.StatusLoopDetected {
			t.Errorf("%q: %d", loop, a.status)
		}
	}
	if n := o.asked.Load(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	for _, loop := range []string{"freshet-e2", "freshet-e10, e1", "xfreshet-e1", `a; b="freshet-e1"`} {
		a := get(t, e1+"/a", "CDN-Loop: "+loop, "Via: 1.1 freshet-e1, 1.0 other", "X-Forwarded-For: 192.0.2.7, 10.0.0.1",
			"X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test", "Forwarded: for=192.0.2.7", "X-Real-Ip: 192.0.2.7",
			"Freshet-Hop: 00", "Freshet-Stale: only", "Freshet-Client: 192.0.2.9")
		if a.status != 200 {
			t.Fatalf("%q: %d", loop, a.status)
		}
		if got, want := seen.Get("CDN-Loop"), loop+", freshet-e1"; got != want {
			t.Errorf("the origin sees CDN-Loop %q, want %q", got, want)
		}
		if got := seen.Get("Via"); got != "1.1 freshet-e1, 1.0 other, 1.1 freshet-e1" {
			t.Errorf("the origin sees Via %q", got)
		}
		for name, values := range seen {
			if strings.HasPrefix(name, "Freshet-") {
				t.Errorf("the origin sees %s: %s", name, values)
			}
			if strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip" {
				t.Logf("the origin sees %s: %s", name, values)
			}
		}
	}
}
