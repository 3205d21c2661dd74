package edge

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet/internal/cluster"
)

// say puts another document of the tiers' site, before any node is started.
func (x *tiers) say(origin string) {
	x.t.Helper()
	docs := cluster.NewDocuments(x.cluster, cluster.SitesPrefix)
	text := "site: test\nhosts: ['*']\norigin:\n  url: " + x.origin.URL + "\n" + origin
	if _, err := docs.Put(x.t.Context(), "test", []byte(text), "test", "", cluster.AnyVersion); err != nil {
		x.t.Fatal(err)
	}
}

// TestOriginThatHangsIsShielded: an origin that hangs behind a mid gets as many requests at
// once as it may, as many wait as may; the others are told so at once, and when to come
// again. The edge does not go past the mid to the origin.
func TestOriginThatHangsIsShielded(t *testing.T) {
	const requests, queue, clients = 3, 4, 30
	x := startTiers(t)
	x.say(fmt.Sprintf("  requests: %d\n  queue: %d\n  queue_time: 1m\n", requests, queue))
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	defer let()
	var under, most atomic.Int64
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		x.origin.answer(w, r)
	})
	x.origin.serve.Store(&hang)
	x.start(cluster.Mid, "m1", tierSecret)
	e1, e2 := x.start(cluster.Edge, "e1", tierSecret), x.start(cluster.Edge, "e2", tierSecret)
	x.knowsMid(e1)
	x.knowsMid(e2)
	var refused, whole atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			n := []*tier{e1, e2}[i%2]
			a := get(t, fmt.Sprint(n.url, "/n", i), "Host: www.test")
			switch {
			case a.status == 200:
				whole.Add(1)
			case a.status == 503 && strings.Contains(a.header.Get("Proxy-Status"), "freshet-m1; error=connection_limit_reached") && a.header.Get("Retry-After") != "":
				refused.Add(1)
			default:
				t.Errorf("client %d: %d %v", i, a.status, a.header)
			}
		})
	}
	defer func() { t.Logf("%d refused, %d under way", refused.Load(), under.Load()) }()
	x.wait("the excess is refused", func() bool { return refused.Load() == clients-requests-queue && under.Load() == requests })
	let()
	all.Wait()
	if whole.Load() != requests+queue || most.Load() != requests || x.origin.asked.Load() != requests+queue {
		t.Errorf("%d answered; the origin was asked %d times, %d at once", whole.Load(), x.origin.asked.Load(), most.Load())
	}
}

// TestOriginThatIsGoneIsLeftAlone: what is stored is served stale while the origin is gone,
// anything else is refused at once after a few failures, and all is well soon after it is
// back. What is asked of it meanwhile is next to nothing.
func TestOriginThatIsGoneIsLeftAlone(t *testing.T) {
	x := startTiers(t)
	x.start(cluster.Mid, "m1", tierSecret)
	e := x.start(cluster.Edge, "e1", tierSecret)
	x.knowsMid(e)
	e.want(t, "/w", 0)
	broken := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	x.origin.serve.Store(&broken)
	before := x.origin.asked.Load()
	const flood = 300
	for i := range flood {
		if a := get(t, fmt.Sprint(e.url, "/n", i), "Host: www.test"); a.status != 502 && a.status != 503 {
			t.Fatalf("a miss: %d %v", a.status, a.header)
		}
		if i%10 == 0 {
			e.want(t, "/w", 0)
		}
	}
	asked := x.origin.asked.Load() - before
	t.Logf("%d misses cost the origin %d requests", flood, asked)
	if asked > flood/10+20 {
		t.Errorf("%d misses cost the origin %d requests", flood, asked)
	}
	well := http.HandlerFunc(x.origin.answer)
	x.origin.serve.Store(&well)
	x.wait("all is well", func() bool {
		return get(t, e.url+"/n0", "Host: www.test").status == 200
	})
	x.wait("what was stale is fresh", func() bool {
		return !strings.Contains(get(t, e.url+"/w", "Host: www.test").header.Get("Cache-Status"), staleIfError)
	})
}
