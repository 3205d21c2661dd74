package edge

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/command"
)

// scopesOf are scopes of each kind that cover a path of letter t, and none that covers /a.
func scopesOf(path string) map[string]command.Scope {
	tag := func(value string) command.Scope {
		return command.Scope{Kind: command.ScopeTag, Site: "test", Value: value}
	}
	return map[string]command.Scope{
		"url":               {Kind: command.ScopeURL, Site: "test", Value: path},
		"key":               {Kind: command.ScopeKey, Site: "test", Value: "test\nwww.test" + path},
		"prefix":            {Kind: command.ScopePrefix, Site: "test", Value: "/t/deep/"},
		"wider prefix":      {Kind: command.ScopePrefix, Site: "test", Value: "/t/"},
		"of Surrogate-Key":  tag("two"),
		"of Cache-Tag":      tag("four and more"),
		"of xkey":           tag("seven"),
		"of Cache-Groups":   tag("eight"),
		"of too many, each": tag("whatever"),
	}
}

// TestEveryScopeReachesEveryTier: a purge, and an invalidation, of each kind of scope ends
// what a mid and an edge hold of what it covers, and of nothing else.
func TestEveryScopeReachesEveryTier(t *testing.T) {
	t.Parallel()
	for _, kind := range []command.Kind{command.Purge, command.Invalidate} {
		x, mid, e1, e2 := startTree(t)
		for name, scope := range scopesOf("/t/deep/x") {
			path := "/t/deep/x"
			if name == "of too many, each" {
				path = "/m"
			}
			for _, n := range []*tier{e1, e2} {
				n.want(t, path, x.origin.all()[path])
				n.want(t, "/a", 0)
			}
			version := x.origin.publish(path)
			x.applied(x.command(command.Command{Kind: kind, Scopes: []command.Scope{scope}}), mid, e1, e2)
			asked := x.origin.asked.Load()
			e1.want(t, path, version)
			wantStatus(t, e2.want(t, path, version), "freshet-m1; hit")
			wantStatus(t, e1.want(t, "/a", 0), "freshet-e1; hit")
			if got := x.origin.asked.Load() - asked; got != 1 {
				t.Errorf("%s, %s: the origin was asked %d times", kind, name, got)
			}
		}
		for _, scope := range []command.Scope{{Kind: command.ScopeSite, Site: "test"}, {Kind: command.ScopeAll}} {
			version := x.origin.publish("/a")
			x.applied(x.command(command.Command{Kind: kind, Scopes: []command.Scope{scope}}), mid, e1, e2)
			e1.want(t, "/a", version)
			e2.want(t, "/a", version)
		}
	}
}

// TestSurrogateKeysStayBetweenTiers: clients do not see them, nodes of ours do.
func TestSurrogateKeysStayBetweenTiers(t *testing.T) {
	t.Parallel()
	_, _, e1, _ := startTree(t)
	for range 2 {
		a := e1.want(t, "/t/x", 0)
		for _, name := range []string{"Surrogate-Key", "Cache-Tag", "Xkey"} {
			if v := a.header.Values(name); v != nil {
				t.Errorf("the client got %s: %q", name, v)
			}
		}
		if a.header.Get("Cache-Groups") == "" {
			t.Error("Cache-Groups, which are for every cache, are gone")
		}
	}
}

func invalidation(path string) command.Command {
	return command.Command{Kind: command.Invalidate, Scopes: []command.Scope{{Kind: command.ScopeURL, Site: "test", Value: path}}}
}

// TestInvalidatedContentIsValidated: by its entity-tag where it has one, so that its body
// need not come again; after that it is as fresh as it was.
func TestInvalidatedContentIsValidated(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	e1.want(t, "/e", 0)
	e2.want(t, "/e", 0)
	x.applied(x.command(invalidation("/e")), mid, e1, e2)
	wantStatus(t, e1.want(t, "/e", 0), "freshet-e1; fwd=stale; fwd-status=304; stored")
	wantStatus(t, e2.want(t, "/e", 0), "freshet-e2; fwd=stale; fwd-status=304; stored") // by the mid's word
	wantStatus(t, e1.want(t, "/e", 0), "freshet-e1; hit")
	wantStatus(t, e2.want(t, "/e", 0), "freshet-e2; hit")
	wantAsked(t, x.origin, 2)
}

// TestInvalidatedContentIsServedWithinItsWindow: stale at once, and new after one fetch
// behind the client's back.
func TestInvalidatedContentIsServedWithinItsWindow(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	e1.want(t, "/s", 0)
	e2.want(t, "/s", 0)
	version := x.origin.publish("/s")
	x.applied(x.command(invalidation("/s")), mid, e1, e2)
	if a := e1.want(t, "/s", 0); !strings.Contains(a.header.Get("Cache-Status"), "freshet-e1; hit; ttl=-") && !strings.Contains(a.header.Get("Cache-Status"), "freshet-e1; hit; ttl=0") {
		t.Errorf("%s", a.header.Get("Cache-Status"))
	}
	x.wait("the edge has refreshed it", func() bool {
		v, _ := e1.fetchVersion("/s", "")
		return v == version
	})
	e1.want(t, "/s", version)
	e2.fetchVersion("/s", "")
	x.wait("the other edge, too", func() bool {
		v, _ := e2.fetchVersion("/s", "")
		return v == version
	})
	wantAsked(t, x.origin, 2)
}

// TestInvalidationThatTheMidHasNotHeardOf: the edge's fence has the mid validate what it
// believes to be fresh.
func TestInvalidationThatTheMidHasNotHeardOf(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/a", "/e", "/t/x"} {
		x, mid, e1, e2 := startTree(t)
		e1.want(t, path, 0)
		e2.want(t, path, 0)
		mid.log.shut(true)
		version := x.origin.publish(path)
		c := invalidation(path)
		if path == "/t/x" { // the edges know by the copies that they hold that the key covers it
			c.Scopes[0] = command.Scope{Kind: command.ScopeTag, Site: "test", Value: "one"}
		}
		x.applied(x.command(c), e1, e2)
		e1.want(t, path, version)
		e2.want(t, path, version)
		wantStatus(t, e1.want(t, path, version), "freshet-e1; hit")
		wantAsked(t, x.origin, 2)
		mid.log.shut(false)
	}
}

// TestTagOfAnEmptyEdge: an edge that holds nothing learns by what it gets that a mark
// covers it, and asks again.
func TestTagOfAnEmptyEdge(t *testing.T) {
	t.Parallel()
	for _, kind := range []command.Kind{command.Purge, command.Invalidate} {
		x, mid, e1, e2 := startTree(t)
		e1.want(t, "/t/x", 0)
		mid.log.shut(true)
		version := x.origin.publish("/t/x")
		x.applied(x.command(command.Command{Kind: kind, Scopes: []command.Scope{{Kind: command.ScopeTag, Site: "test", Value: "two"}}}), e1, e2)
		e2.want(t, "/t/x", version)
		e1.want(t, "/t/x", version)
		mid.log.shut(false)
	}
}

// TestInvalidatedContentWhileTheOriginIsDown is served within stale-if-error, by an edge
// that holds it and through a mid that does; not so what was purged.
func TestInvalidatedContentWhileTheOriginIsDown(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	e1.want(t, "/e", 0)
	e1.want(t, "/e/purged", 0)
	e2.want(t, "/e", 0)
	e3 := x.start(cluster.Edge, "e3", tierSecret)
	x.knowsMid(e3)
	x.applied(x.command(invalidation("/e")), mid, e1, e2, e3)
	x.applied(x.purge("/e/purged"), mid, e1, e2, e3)
	var down http.HandlerFunc = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	up := x.origin.serve.Swap(&down)
	for _, n := range []*tier{e1, e2, e3} {
		n.want(t, "/e", 0)
		if v, status := n.fetchVersion("/e/purged", ""); v != -1 {
			t.Errorf("%s: what was purged is served: %s", n.name, status)
		}
	}
	x.origin.serve.Store(up)
	version := x.origin.publish("/e")
	for _, n := range []*tier{e1, e2, e3} {
		x.wait(n.name+" asks for it again", func() bool { // it spares its parents for a moment
			v, _ := n.fetchVersion("/e", "")
			return v == version
		})
		wantStatus(t, n.want(t, "/e", version), n.pseudonym+"; hit")
	}
}

// TestAKeyIsOfAllItsVariants: a purge of a key as an explanation shows it covers every
// variant, and what is found by all queries that mean the same.
func TestAKeyIsOfAllItsVariants(t *testing.T) {
	t.Parallel()
	x, mid, e1, _ := startTree(t)
	kinds := []string{"1", "2"}
	for _, kind := range kinds {
		if v, status := e1.fetchVersion("/x", kind); v != 0 {
			t.Fatal(status)
		}
	}
	version := x.origin.publish("/x")
	key := explainLater(t, e1.Edge, 0, url.Values{"url": {"http://www.test/x"}}).Key
	x.applied(x.command(command.Command{
		Kind: command.Purge, Scopes: []command.Scope{{Kind: command.ScopeKey, Site: "test", Value: key}},
	}), mid, e1)
	for _, kind := range kinds {
		if v, status := e1.fetchVersion("/x", kind); v != version {
			t.Errorf("variant %s: version %d, want %d: %s", kind, v, version, status)
		}
	}
}

func TestAKeyIsOfAllQueriesThatMeanTheSame(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("No-Vary-Search", `params=("utm")`)
		fmt.Fprint(w, n.Add(1))
	})
	at, e := startLone(t, o.URL)
	for _, query := range []string{"?a=1&utm=1", "?a=1&utm=2"} {
		if body := get(t, at+"/p"+query).body; body != "1" {
			t.Fatalf("%s: %s", query, body)
		}
	}
	key := explainNow(t, e, at+"/p?a=1&utm=3").Key
	if err := e.Apply(e.table.Clock().Seq+1, command.Command{
		ID: "1", Kind: command.Purge, At: time.Now(), Scopes: []command.Scope{{Kind: command.ScopeKey, Site: "upstream", Value: key}},
	}); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"?a=1&utm=1", "?a=1&utm=2"} {
		if body := get(t, at+"/p"+query).body; body != "2" {
			t.Errorf("%s after the purge of %q: %s", query, key, body)
		}
	}
}

// TestInvalidatedSlicesAreValidatedTogether: an unchanged content in slices is validated by
// one 304, and of a changed one every byte is new, ranges included.
func TestInvalidatedSlicesAreValidatedTogether(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	var sent atomic.Int64
	text := func(v int64) string { return strings.Repeat(fmt.Sprintf("%07d\n", v), 3<<20/8+77) }
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		v := version.Load()
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, v))
		http.ServeContent(counting{w, &sent}, r, "", time.Time{}, strings.NewReader(text(v)))
	})
	at, e := startLone(t, o.URL)
	invalidate := func() {
		if err := e.Apply(e.table.Clock().Seq+1, command.Command{
			ID: "1", Kind: command.Invalidate, At: time.Now(), Scopes: []command.Scope{{Kind: command.ScopeURL, Site: "upstream", Value: "/l"}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for step := range int64(3) {
		if a := get(t, at+"/l"); a.body != text(step) {
			t.Fatalf("version %d: %d bytes, status %d", step, len(a.body), a.status)
		}
		before := sent.Load()
		invalidate()
		if a := get(t, at+"/l", "Range: bytes=2097152-2097159"); a.body != fmt.Sprintf("%07d\n", step) || a.status != 206 {
			t.Errorf("version %d: %d %q", step, a.status, a.body)
		}
		if a := get(t, at+"/l"); a.body != text(step) {
			t.Errorf("version %d, validated: %d bytes, status %d", step, len(a.body), a.status)
		}
		if n := sent.Load() - before; n != 0 {
			t.Errorf("version %d: the origin sent %d bytes again", step, n)
		}
		version.Add(1)
		invalidate()
		if a := get(t, at+"/l", "Range: bytes=2097152-2097159"); a.body != fmt.Sprintf("%07d\n", step+1) || a.status != 206 {
			t.Errorf("version %d: %d %q", step+1, a.status, a.body)
		}
	}
}

// counting counts the bytes of bodies.
type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}
