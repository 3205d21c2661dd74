package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/cluster"
	"freshet/internal/header"
	"freshet/internal/hop"
)

// breaks ends the connection without an answer.
func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// set changes what an origin answers.
func (o *origin) set(h http.HandlerFunc) { o.serve.Store(&h) }

// TestTroubleLastsLonger each time, from 1 s to 6 s, and begins anew after a quiet time.
func TestTroubleLastsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all troubles
		key := response.NewKey("k").Sum
		truth := &response.Response{}
		begin := func() time.Duration {
			all.begin(key, time.Now(), truth, errUntrue)
			return time.Until(all.of(key).until)
		}
		wants := func(wait time.Duration) {
			t.Helper()
			if got := begin(); got < wait*3/4 || got > min(wait*5/4, maxTrouble) {
				t.Errorf("lasts %s, want about %s", got, wait)
			}
			before := all.of(key)
			if wait > 0 && begin() != time.Until(before.until) {
				t.Error("a second failure within it makes it longer")
			}
			if all.id(key) == before.id && wait > 0 {
				t.Error("it cannot be told from the one before")
			}
			time.Sleep(time.Until(before.until))
		}
		for range 2 {
			for _, wait := range []time.Duration{0, 1, 2, 4, 6, 6, 6} {
				wants(wait * time.Second)
			}
			time.Sleep(quietTrouble + time.Second)
		}
		begin()
		all.end(key)
		wants(0)
		for i := range 3 * troubleShards * maxTroubles {
			all.begin(response.NewKey(fmt.Sprint(i)).Sum, time.Now(), truth, nil)
		}
		for i := range all.shards {
			if n := len(all.shards[i].of); n > maxTroubles {
				t.Errorf("%d keys in a shard", n)
			}
		}
	})
}

// TestAStormOnADeadOriginIsOneRequestEachInterval: many requests for a key that the origin
// does not answer, with and without no-cache.
func TestAStormOnADeadOriginIsOneRequestEachInterval(t *testing.T) {
	t.Parallel()
	o := startOrigin(t, breaks)
	e := served(t, o.URL, "")
	now := time.Now()
	e.now = func() time.Time { return now }
	serve := func(target string, fields ...string) answer {
		s := new(noting)
		e.Serve(t.Context(), asks(t, "GET", target, append(fields, "Host: h.example")...), s)
		return s.answer
	}
	storm := func(want int64) {
		t.Helper()
		before := o.asked.Load()
		for i := range 50 {
			var fields []string
			if i%2 == 0 {
				fields = []string{"Cache-Control: no-cache"}
			}
			a := serve("/a", fields...)
			if a.status != 502 || a.header.Get("Proxy-Status") != "freshet-e1; error=connection_terminated" {
				t.Fatalf("%d, %s", a.status, a.header)
			}
			if i > 3 {
				wantStatus(t, a, "; detail=remembered-error")
				if a.header.Get("Retry-After") == "" {
					t.Error("it does not say when to come again")
				}
			}
		}
		if got := o.asked.Load() - before; got != want {
			t.Errorf("%d requests at the origin, want %d", got, want)
		}
	}
	storm(2)
	storm(0)
	now = now.Add(2 * firstTrouble)
	storm(1)
	if a := serve("/b"); a.status != 502 || o.asked.Load() != 4 {
		t.Errorf("another key: %d, after %d requests", a.status, o.asked.Load())
	}
	o.set(cached("max-age=60", "hello"))
	if a := serve("/a"); a.status != 502 {
		t.Error("the origin is not spared")
	}
	now = now.Add(maxTrouble)
	if a := serve("/a"); a.status != 200 {
		t.Errorf("it is not asked again: %d", a.status)
	}
	wantStatus(t, serve("/a"), "hit")
}

// noting is a responder that notes the answer.
type noting struct{ answer }

func (*noting) Inform(int, *header.Block) {}

func (n *noting) Respond(a *exchange.Answer) error {
	n.answer = answer{a.Status, http.Header{}, string(a.Bytes)}
	for _, h := range []*header.Block{a.Header, a.Extra} {
		if h != nil {
			for name, value := range h.All() {
				n.header.Add(name, strings.Clone(value))
			}
		}
	}
	if a.Stream == nil {
		return nil
	}
	body, err := io.ReadAll(a.Stream)
	n.body = string(body)
	return err
}

// TestPurgeEndsTrouble: what was remembered says nothing of what is there after a purge.
func TestPurgeEndsTrouble(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	e := x.start(cluster.Edge, "e1", tierSecret)
	answers := x.origin.serve.Load()
	x.origin.set(breaks)
	for range 5 {
		if a := get(t, e.url+"/a", "Host: www.test"); a.status != 502 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	x.origin.serve.Store(answers)
	version := x.origin.publish("/a")
	if a := get(t, e.url+"/a", "Host: www.test"); a.status != 502 {
		t.Fatalf("not remembered: %d", a.status)
	}
	x.applied(x.purge("/other"), e)
	if a := get(t, e.url+"/a", "Host: www.test"); a.status != 502 {
		t.Fatalf("ended by the purge of another path: %d", a.status)
	}
	x.applied(x.purge("/a"), e)
	e.want(t, "/a", version)
}

// TestAFailedFetchIsTriedOnceMore by one of a thousand who waited for it, for all of them.
func TestAFailedFetchIsTriedOnceMore(t *testing.T) {
	t.Parallel()
	for name, recovers := range map[string]bool{"recovers": true, "stays dead": false} {
		t.Run(name, func(t *testing.T) {
			followers := share(200, 1000)
			release := make(chan struct{})
			var asked atomic.Int64
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				switch n := asked.Add(1); {
				case n == 1:
					<-release
					breaks(w, r)
				case recovers:
					cached("max-age=60", "hello")(w, r)
				default:
					breaks(w, r)
				}
			})
			url, e := startLone(t, o.URL)
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: -1}}
			defer client.CloseIdleConnections()
			var answered, failed atomic.Int64
			var wg sync.WaitGroup
			ask := func() {
				res, err := client.Get(url + "/a")
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				if res.StatusCode == 200 {
					answered.Add(1)
				} else {
					failed.Add(1)
				}
			}
			wg.Go(ask)
			waitFor(t, func() bool { return asked.Load() == 1 })
			for range followers {
				wg.Go(ask)
			}
			waitFor(t, func() bool { return e.counts().InFlight == int64(followers)+1 })
			close(release)
			wg.Wait()
			t.Logf("%d clients: %d answered, %d failed, %d requests at the origin", followers+1, answered.Load(), failed.Load(), asked.Load())
			if n := asked.Load(); n != 2 {
				t.Errorf("%d requests at the origin, want 2", n)
			}
			if recovers && failed.Load() > 1 || !recovers && answered.Load() != 0 {
				t.Errorf("%d answered, %d failed", answered.Load(), failed.Load())
			}
		})
	}
}

// TestStaleWithoutAskingWhileTheOriginIsDead: once that is known nobody waits for it.
func TestStaleWithoutAskingWhileTheOriginIsDead(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]http.HandlerFunc{
		"no answer": breaks,
		"errors":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
	} {
		t.Run(name, func(t *testing.T) {
			o := startOrigin(t, forErrors("hello"))
			url, _ := startLone(t, o.URL)
			get(t, url+"/a")
			o.set(dead)
			before := o.asked.Load()
			for range 30 {
				a := get(t, url+"/a")
				if a.body != "hello" {
					t.Fatalf("%d %q", a.status, a.body)
				}
				wantStatus(t, a, "detail=stale-if-error")
			}
			if n := o.asked.Load() - before; n < 1 || n > 3 {
				t.Errorf("the origin was asked %d times, want twice", n)
			}
		})
	}
}

// TestWhatIsForOneClientIsNotRemembered: that one gets no answer says nothing of another.
func TestWhatIsForOneClientIsNotRemembered(t *testing.T) {
	t.Parallel()
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("x") == "" && r.Header.Get("Accept") == "break" {
			breaks(w, r)
		}
		cached("private", "yours")(w, r)
	})
	url, _ := startLone(t, o.URL)
	get(t, url+"/a") // which tells that answers are for one
	for range 5 {
		if a := get(t, url+"/a", "Accept: break"); a.status != 502 {
			t.Fatalf("%d", a.status)
		}
	}
	if a := get(t, url+"/a"); a.body != "yours" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// mids starts two mids and an edge whose parents they are.
func twoMids(t *testing.T) (x *tiers, edge, m1, m2 *tier) {
	t.Helper()
	x = startTiers(t)
	m1, m2 = x.start(cluster.Mid, "m1", tierSecret), x.start(cluster.Mid, "m2", tierSecret)
	edge = x.start(cluster.Edge, "e1", tierSecret)
	x.wait("the edge knows both mids", func() bool {
		n := 0
		for _, p := range edge.parents.For(edge.sites.Load().snapshot.ByName("test"), upstream.Question{Key: "k"}) {
			if p.Kind == upstream.Mid {
				n++
			}
		}
		return n == 2
	})
	return x, edge, m1, m2
}

// forErrors is content that is stale at once, and may be used for long if there is nobody.
func forErrors(body string) http.HandlerFunc { return cached("max-age=0, stale-if-error=600", body) }

// TestStaleFromTheTierAbove: an edge that has nothing gets what its mid has, stale, when the
// origin is away, and knows it for stale: it is as old as it is, and asked for again.
func TestStaleFromTheTierAbove(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	x.origin.set(forErrors("1 1"))
	e1.want(t, "/w", 1) // the mid has it now
	x.origin.set(breaks)
	<-time.After(1100 * time.Millisecond) // ages are whole seconds
	for range 3 {
		a := e2.want(t, "/w", 1)
		if a.header.Get("Age") == "" || a.header.Get("Age") == "0" {
			t.Errorf("its age is %q", a.header.Get("Age"))
		}
	}
	asked := x.origin.asked.Load()
	for range 20 {
		a := e2.want(t, "/w", 1)
		wantStatus(t, a, "stale-if-error")
		if strings.Contains(a.header.Get("Cache-Status"), "freshet-e2; hit") {
			t.Error("it counts as fresh at the edge")
		}
	}
	if n := x.origin.asked.Load() - asked; n > 1 {
		t.Errorf("20 requests are %d at the origin", n)
	}
	// A purge beats it, on every tier.
	x.applied(x.purge("/w"), mid, e1, e2)
	if a := get(t, e2.url+"/w", "Host: www.test"); a.status < 500 {
		t.Errorf("after the purge: %d %q", a.status, a.body)
	}
	x.origin.set(forErrors("2 2"))
	x.applied(x.purge("/w"), mid, e1, e2)
	e2.want(t, "/w", 2)
}

// TestStaleFromATierThatWasNotAsked: the edge has nothing, the tier that it asks finds
// nobody, and another one, which it would not have asked, holds the key. It is asked once.
func TestStaleFromATierThatWasNotAsked(t *testing.T) {
	t.Parallel()
	x, edge, m1, m2 := twoMids(t)
	const version = 1
	x.origin.set(forErrors("1 1"))
	m2.want(t, "/w", version)
	x.origin.set(breaks)
	get := func(stale bool, of *tier) answer {
		header := []string{"Host: www.test"}
		if stale {
			header = append(header, hop.StaleField+": only", hop.ProofField+": "+tierProof(t))
		}
		return get(t, of.url+"/w", header...)
	}
	// What a tier says that is asked for what it holds alone.
	asked := x.origin.asked.Load()
	if a := get(true, m2); a.version() != version || a.header.Get(hop.TrueField) == "" {
		t.Errorf("m2 holds it, and answers %d %q", a.status, a.body)
	}
	if a := get(true, m1); a.status != 504 {
		t.Errorf("m1 holds nothing, and answers %d %q", a.status, a.body)
	}
	if n := x.origin.asked.Load() - asked; n != 0 {
		t.Errorf("they asked the origin %d times", n)
	}
	f := lastResortOf(t, edge, "/w")
	for _, tc := range []struct {
		asked []string
		want  int
	}{{[]string{"m1"}, 200}, {[]string{"m2"}, 0}, {[]string{"m1", "m2"}, 0}} {
		if got := f(tc.asked...); got != tc.want {
			t.Errorf("after %q were asked: %d, want %d", tc.asked, got, tc.want)
		}
	}
	x.applied(x.purge("/w"), m1, m2, edge)
	if got := f("m1"); got != 0 {
		t.Errorf("after the purge: %d", got)
	}
	if a := get(true, m2); a.status != 504 {
		t.Errorf("after the purge m2 answers %d %q", a.status, a.body)
	}
}

// tierProof is the proof of a node of the tests' cluster.
func tierProof(t *testing.T) string {
	t.Helper()
	h := new(header.Block)
	if err := hop.NewKey(tierSecret).Prove(h); err != nil {
		t.Fatal(err)
	}
	return h.Get(hop.ProofField)
}

// TestStaleBeyondATierThatIsLeftAlone: that a tier is left alone, and so was not asked, does
// not keep another one from being asked for what is stale.
func TestStaleBeyondATierThatIsLeftAlone(t *testing.T) {
	t.Parallel()
	x, edge, _, m2 := twoMids(t)
	x.origin.set(forErrors("1 1"))
	m2.want(t, "/w", 1)
	x.origin.set(breaks)
	gone := upstream.Parent{Name: "gone", URL: "http://127.0.0.1:1", Kind: upstream.Mid}
	if got := lastResortOf(t, edge, "/w", gone)("m1", "m2"); got != 0 {
		t.Fatalf("who is not there answers %d", got)
	}
	x.wait("nobody asks who is not there", func() bool {
		lastResortOf(t, edge, "/w", gone)("m1", "m2")
		return edge.client.State(gone, "test").Breaker == "open"
	})
	if got := lastResortOf(t, edge, "/w", gone)("m1"); got != 200 {
		t.Errorf("m2 holds it, and the answer is %d", got)
	}
}

// lastResortOf calls lastResort as a fetch of path does after the parents named were asked
// in vain, with others before those there are; 0 is no answer.
func lastResortOf(t *testing.T, edge *tier, path string, before ...upstream.Parent) func(asked ...string) int {
	return func(names ...string) int {
		t.Helper()
		w := new(walk)
		req := asks(t, "GET", path, "Host: www.test")
		req.Host = "www.test"
		w.enlist(edge.Edge, t.Context(), req, nil)
		if _, text := w.admit(); text != "" {
			t.Fatal(text)
		}
		fence, f := w.demand(1), w.fill("GET")
		request := func(upstream.Parent) (upstream.Request, error) {
			return upstream.Request{
				Key: f.key.Text, Method: "GET", Host: f.rules.Authority, Target: f.rules.Target, Header: f.rules.FillHeader(f.req),
			}, nil
		}
		var asked sync.Map
		for _, name := range names {
			asked.Store(name, true)
		}
		parents := append(slices.Clone(before), edge.parents.For(f.doc, f.question())...)
		reply, err := f.lastResort(context.Background(), parents, &asked, fence, upstream.ErrUnreachable, request)
		if err != nil {
			return 0
		}
		reply.Body.Close()
		return reply.Status
	}
}
