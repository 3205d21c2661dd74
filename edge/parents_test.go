package edge

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"freshet/edge/upstream"
	"freshet/internal/cluster"
	"freshet/internal/node"
	"freshet/internal/site"
)

// describe gives the site of the tiers another origin section, and waits until the nodes
// know it.
func (x *tiers) describe(origin string, nodes ...*tier) {
	x.t.Helper()
	text := []byte("site: test\nhosts: ['*']\norigin: " + origin + "\n")
	want, err := site.Parse("f", text)
	if err != nil {
		x.t.Fatal(err)
	}
	docs := cluster.NewDocuments(x.cluster, cluster.SitesPrefix)
	if _, err := docs.Put(x.t.Context(), "test", text, "test", "", cluster.AnyVersion); err != nil {
		x.t.Fatal(err)
	}
	for _, n := range nodes {
		x.wait(n.name+" knows the site", func() bool {
			doc := n.sites.Load().snapshot.ByName("test")
			return doc != nil && reflect.DeepEqual(doc.Origin, want.Origin)
		})
	}
}

// asks waits until a node has those parents, in any order, for a key.
func (x *tiers) asks(n *tier, want ...string) {
	x.t.Helper()
	x.wait(fmt.Sprintf("%s asks %v", n.name, want), func() bool {
		parents := n.parents.For(n.sites.Load().snapshot.ByName("test"), upstream.Question{Key: "k", Pass: true})
		got := make(map[string]bool)
		for _, p := range parents {
			got[p.Name] = true
		}
		for _, name := range want {
			if !got[name] {
				return false
			}
		}
		return len(parents) == len(want)
	})
}

// answered is how many requests a node has answered, of any kind.
func (n *tier) answered() uint64 {
	r := &n.metrics.requests
	return r.hit.sum() + r.stale.sum() + r.miss.sum() + r.pass.sum() + r.refused.sum() + r.failed.sum()
}

// TestThreeTiers: an edge asks the lowest tier, that the next, and only the last the origin;
// when a tier is gone the one above it takes its place.
func TestThreeTiers(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	authority := strings.TrimPrefix(x.origin.URL, "http://")
	two := x.startWith(cluster.Mid, "m2", tierSecret, node.Cache{Memory: 64 << 20, Tier: 2})
	one := x.startWith(cluster.Mid, "m1", tierSecret, node.Cache{Memory: 64 << 20, Tier: 1})
	e1, e2 := x.start(cluster.Edge, "e1", tierSecret), x.start(cluster.Edge, "e2", tierSecret)
	x.asks(two, authority)
	x.asks(one, "m2", authority)
	x.asks(e1, "m1", "m2", authority)
	x.asks(e2, "m1", "m2", authority)
	wantStatus(t, e1.want(t, "/a", 0), "freshet-m2; fwd=uri-miss; fwd-status=200; stored, freshet-m1; fwd=uri-miss; fwd-status=200; stored, freshet-e1; fwd=uri-miss")
	wantStatus(t, e2.want(t, "/a", 0), "freshet-m1; hit")
	wantAsked(t, x.origin, 1)
	// A purge reaches down through all of them.
	x.origin.publish("/a")
	x.applied(x.purge("/a"), e1, e2, one, two)
	wantStatus(t, e2.want(t, "/a", 1), "freshet-m2; fwd=")
	wantAsked(t, x.origin, 2)
	one.stop()
	x.asks(e1, "m2", authority)
	wantStatus(t, e1.want(t, "/b", 0), "freshet-m2; fwd=uri-miss; fwd-status=200; stored, freshet-e1;")
	two.stop()
	wantStatus(t, e1.want(t, "/c", 0), "freshet-e1; fwd=uri-miss; fwd-status=200; stored")
}

// TestSiblings: three edges of a PoP ask the mid once for each key, by the edge that is the
// key's home, however they are asked; purges hold, and the PoP gets along without the home.
func TestSiblings(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	mid := x.start(cluster.Mid, "m1", tierSecret)
	var edges []*tier
	for _, name := range []string{"e1", "e2", "e3"} {
		edges = append(edges, x.startWith(cluster.Edge, name, tierSecret, node.Cache{Memory: 64 << 20, Siblings: true}))
	}
	for _, e := range edges {
		x.knowsMid(e)
		x.wait(e.name+" knows its siblings", func() bool {
			siblings := make(map[string]bool)
			for i := range 100 {
				for _, p := range e.parents.For(e.sites.Load().snapshot.ByName("test"), upstream.Question{Key: fmt.Sprint(i)}) {
					if p.Kind == upstream.Sibling {
						siblings[p.Name] = true
					}
				}
			}
			return len(siblings) == 2
		})
	}
	const keys = 40
	before := mid.answered()
	var all sync.WaitGroup
	for i := range keys {
		for _, e := range edges {
			for range 2 { // at the same time, and again
				all.Go(func() {
					if v, what := e.fetchVersion(fmt.Sprintf("/a%d", i), ""); v != 0 {
						t.Errorf("%s: %s", e.name, what)
					}
				})
			}
		}
	}
	all.Wait()
	for i := range keys {
		for _, e := range edges {
			wantStatus(t, e.want(t, fmt.Sprintf("/a%d", i), 0), "freshet-"+e.name+"; hit")
		}
	}
	if got := mid.answered() - before; got != keys {
		t.Errorf("the mid was asked %d times for %d keys", got, keys)
	}
	wantAsked(t, x.origin, keys)
	x.origin.publish("/a1")
	x.applied(x.purge("/a1"), edges[0], edges[1], edges[2], mid)
	for _, e := range edges {
		e.want(t, "/a1", 1)
	}
	wantAsked(t, x.origin, keys+1)
	edges[2].stop()
	for i := range keys { // of which a third had its home there
		for _, e := range edges[:2] {
			e.want(t, fmt.Sprintf("/b%d", i), 0)
		}
	}
	wantAsked(t, x.origin, 2*keys+1)
}

// TestStaticParents: a node that names its parents asks them, and not the cluster's mids.
func TestStaticParents(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	m1, m2 := x.start(cluster.Mid, "m1", tierSecret), x.start(cluster.Mid, "m2", tierSecret)
	e := x.startWith(cluster.Edge, "e1", tierSecret, node.Cache{Memory: 64 << 20, Parents: []string{m2.url}})
	x.asks(e, strings.TrimPrefix(m2.url, "http://"), strings.TrimPrefix(x.origin.URL, "http://"))
	for i := range 10 {
		wantStatus(t, e.want(t, fmt.Sprintf("/a%d", i), 0), "freshet-m2; fwd=uri-miss; fwd-status=200; stored, freshet-e1;")
	}
	if n := m1.answered(); n != 0 {
		t.Errorf("the mid that is not named was asked %d times", n)
	}
	m2.stop()
	wantStatus(t, e.want(t, "/b", 0), "freshet-e1; fwd=uri-miss; fwd-status=200; stored") // the origin is left
}

// fromAddr posts from an address of this machine's loopback, and returns the answer.
func fromAddr(t *testing.T, client, url string, fields ...string) answer {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, addr)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// TestAffinityThroughAMid: the mid, which chooses the server, knows the client from the edge;
// a stranger is not believed, and the cookie is the edge's to set.
func TestAffinityThroughAMid(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	var servers []string
	for _, name := range []string{"a", "b", "c", "d"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for field := range r.Header {
				if strings.HasPrefix(field, "Freshet-") || field == "Cookie" {
					t.Errorf("the origin gets %s: %s", field, r.Header.Get(field))
				}
			}
			fmt.Fprint(w, name)
		}))
		t.Cleanup(s.Close)
		servers = append(servers, "{url: '"+s.URL+"'}")
	}
	pool := "servers: [" + strings.Join(servers, ", ") + "]"
	x.describe("{"+pool+", affinity: address}", mid, e1, e2)
	homes := make(map[string]bool)
	var lone string // the server of a client that asks the mid itself
	for i := range 20 {
		client := fmt.Sprintf("127.0.1.%d", i+1)
		var want string
		for n := range 6 {
			e := []*tier{e1, e2}[n%2]
			a := fromAddr(t, client, fmt.Sprintf("%s/p%d", e.url, n))
			if want == "" {
				want = a.body
			}
			if a.status != 200 || a.body != want {
				t.Fatalf("%s by %s: %d %s, before it was %s", client, e.name, a.status, a.body, want)
			}
		}
		homes[want] = true
		a := fromAddr(t, "127.0.2.1", mid.url+"/p", "Freshet-Client", client)
		if lone == "" {
			lone = a.body
		}
		if a.body != lone {
			t.Errorf("a stranger who says that it is %s is believed", client)
		}
	}
	if len(homes) < 2 {
		t.Errorf("all clients are bound to %v", homes)
	}

	x.describe("{"+pool+", affinity: cookie}", mid, e1, e2)
	homes = make(map[string]bool)
	for range 20 {
		first := fromAddr(t, "127.0.0.1", e1.url+"/p")
		cookies := first.header.Values("Set-Cookie")
		if len(cookies) != 1 || !strings.HasPrefix(cookies[0], "freshet-origin=") || first.header.Get("Freshet-Affinity") != "" {
			t.Fatalf("the edge answers with %v", first.header)
		}
		cookie, _, _ := strings.Cut(cookies[0], ";")
		homes[first.body] = true
		for n := range 4 {
			e := []*tier{e1, e2}[n%2]
			if a := fromAddr(t, "127.0.0.1", e.url+"/q", "Cookie", cookie); a.body != first.body || a.header.Get("Set-Cookie") != "" {
				t.Errorf("bound to %s, %s answers by %s with %q", first.body, e.name, a.body, a.header.Get("Set-Cookie"))
			}
		}
	}
	if len(homes) < 2 {
		t.Errorf("all clients are bound to %v", homes)
	}
}

// TestSecretsOfTheCluster: the origin of a site is asked from when its secrets are there, with
// new ones from when they change, and not any more once one is gone.
func TestSecretsOfTheCluster(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	e := x.start(cluster.Edge, "e1", tierSecret)
	b := startBackend(t, "b")
	secrets, err := cluster.NewSecrets(x.cluster, []byte(tierSecret))
	if err != nil {
		t.Fatal(err)
	}
	x.describe("{url: '"+b.URL+"', s3: {region: r, access_key: id, secret_key: key}}", e)
	want := func(what string, status int, credential string) {
		t.Helper()
		x.wait(what, func() bool {
			a := get(t, e.url+"/p", "Host: www.test")
			return a.status == status && (credential == "" || strings.Contains(b.last.Load().Header.Get("Authorization"), "Credential="+credential+"/"))
		})
	}
	want("the origin is not asked without secrets", 500, "")
	if b.asked.Load() != 0 {
		t.Error("the origin was asked without secrets")
	}
	for name, value := range map[string]string{"site/id": "one", "site/key": "k"} {
		if _, err := secrets.Put(t.Context(), name, []byte(value), cluster.Any); err != nil {
			t.Fatal(err)
		}
	}
	want("the origin is asked", 200, "one")
	if _, err := secrets.Put(t.Context(), "site/id", []byte("two"), cluster.Any); err != nil {
		t.Fatal(err)
	}
	want("the new key is used", 200, "two")
	// A store that has lost its data is not believed.
	for _, name := range []string{"site/id", "site/key"} {
		if err := x.cluster.Delete(t.Context(), "secrets/"+name, cluster.Any); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := secrets.Put(t.Context(), "site/id", []byte("three"), cluster.Any); err != nil {
		t.Fatal(err)
	}
	want("the key that the store has lost is kept", 200, "three")
	if err := secrets.Delete(t.Context(), "site/key"); err != nil {
		t.Fatal(err)
	}
	want("the origin is not asked any more", 500, "")
	if err := e.env.Health.Err(); err != nil {
		t.Errorf("the node is not ready: %v", err)
	}
}
