package edge

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet/edge/response"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/document"
	"freshet/internal/node"
)

func onDisk(dir string) node.Cache {
	return node.Cache{Memory: 16 << 20, Disk: []node.Disk{{Dir: dir, Size: document.Size(64 << 20)}}}
}

// persistent is an edge of a cluster whose disk outlives it.
type persistent struct {
	*tiers
	*tier
	dir string
}

func startPersistent(t *testing.T) *persistent {
	t.Helper()
	p := &persistent{tiers: startTiers(t), dir: t.TempDir()}
	return p.begin()
}

func (p *persistent) begin() *persistent {
	p.t.Helper()
	p.tier = p.startWith(cluster.Edge, "e1", tierSecret, onDisk(p.dir))
	return p
}

// restart ends the process as it should be ended and begins another.
func (p *persistent) restart() {
	p.t.Helper()
	p.stop()
	p.begin()
}

// kill begins another process with what the disk holds at this moment, as after kill
// -9: what the one before does at its end comes too late.
func (p *persistent) kill() {
	p.t.Helper()
	was := p.dir
	p.dir = p.t.TempDir()
	if err := os.CopyFS(p.dir, os.DirFS(was)); err != nil {
		p.t.Fatal(err)
	}
	p.stop()
	p.begin()
}

func (p *persistent) wantHit(path string, version int) {
	p.t.Helper()
	if a := p.want(p.t, path, version); !strings.Contains(a.header.Get("Cache-Status"), "hit") {
		p.t.Errorf("%s: %s, want a hit", path, a.header.Get("Cache-Status"))
	}
}

// TestWhatIsStoredSurvivesARestart, and what makes it untrue does, too.
func TestWhatIsStoredSurvivesARestart(t *testing.T) {
	t.Parallel()
	p := startPersistent(t)
	for name, end := range map[string]func(){"stopped": p.restart, "killed": p.kill} {
		t.Run(name, func(t *testing.T) {
			var versions [8]int
			path := func(i int) string { return fmt.Sprintf("/%s-%d", name, i) }
			for i := range versions {
				versions[i] = p.origin.publish(path(i))
				p.want(t, path(i), versions[i])
			}
			p.origin.publish(path(0)) // but nobody says so
			p.origin.publish(path(1))
			p.applied(p.purge(path(1)), p.tier)
			p.origin.publish(path(2))
			if a := do(t, "POST", p.url+path(2), nil, "Host: www.test"); a.status != 200 {
				t.Fatalf("POST: %d", a.status)
			}
			end()
			p.wantHit(path(0), versions[0])
			p.want(t, path(1), versions[1]+1)
			p.want(t, path(2), versions[2]+1)
			p.wantHit(path(3), versions[3])

			// Of what has been fetched anew the same is true.
			end()
			p.wantHit(path(0), versions[0])
			p.wantHit(path(1), versions[1]+1)
			p.wantHit(path(2), versions[2]+1)
		})
	}
}

func TestWhatHappensWhileANodeIsDownIsKnownOnceItIsReady(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		happens func(p *persistent)
		hit     bool // of what was not purged
	}{
		"a purge":        {func(p *persistent) { p.purge("/a") }, true},
		"a purge of all": {func(p *persistent) { p.purge("") }, false},
		"a purge, and the log no longer reaches back to it": {func(p *persistent) {
			p.bus.Truncate(p.purge("/a").Seq + 1)
		}, false},
		"another log": {func(p *persistent) { p.bus.Replace(command.FirstOf(2)) }, false},
		"the log is another one with the same sequences": {func(p *persistent) {
			p.bus.Replace(command.FirstOf(1))
			p.purge("/c")
			p.purge("/c")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPersistent(t)
			p.applied(p.purge("/z"), p.tier)
			a, b := p.origin.publish("/a"), p.origin.publish("/b")
			p.want(t, "/a", a)
			p.want(t, "/b", b)
			p.stop()
			p.origin.publish("/a")
			if !tc.hit {
				p.origin.publish("/b")
				b++
			}
			tc.happens(p)
			p.begin()
			p.want(t, "/a", a+1)
			p.want(t, "/b", b)
			if a := p.want(t, "/b", b); !strings.Contains(a.header.Get("Cache-Status"), "hit") {
				t.Errorf("the second time: %s", a.header.Get("Cache-Status"))
			}
		})
	}
}

// TestCommandsWaitForTheSites: which responses a purge covers, given while the node was
// down, follows from the site's document, which has to be there first.
func TestCommandsWaitForTheSites(t *testing.T) {
	t.Parallel()
	p := startPersistent(t)
	docs := cluster.NewDocuments(p.cluster, cluster.SitesPrefix)
	site := "site: test\nhosts: ['*']\norigin:\n  url: " + p.origin.URL + "\ncache: {key: {query: {mode: none}}}\n"
	if _, err := docs.Put(t.Context(), "test", []byte(site), "test", "", 1); err != nil {
		t.Fatal(err)
	}
	p.restart()
	a := p.origin.publish("/a")
	p.want(t, "/a?b", a)
	p.wantHit("/a?c", a)
	p.stop()
	p.origin.publish("/a")
	p.purge("/a?d")
	p.begin()
	p.want(t, "/a?e", a+1)
}

func TestStoredWithoutItsMarksIsDead(t *testing.T) {
	t.Parallel()
	p := startPersistent(t)
	a := p.origin.publish("/a")
	p.want(t, "/a", a)
	p.stop()
	if err := os.RemoveAll(filepath.Join(p.dir, "marks")); err != nil {
		t.Fatal(err)
	}
	p.origin.publish("/a")
	p.begin()
	p.want(t, "/a", a+1)
}

// TestRandomRestarts: no answer is older than what was purged, or changed by an unsafe
// request, before it was asked for; whenever and however the node was ended.
func TestRandomRestarts(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	p := startPersistent(t)
	least := make(map[string]int) // versions that may be served, at least
	hits, restarts := 0, 0
	for step := range 300 {
		path := fmt.Sprintf("/%d", rng.IntN(12))
		switch n := rng.IntN(40); {
		case n < 3:
			p.origin.publish(path)
		case n < 6:
			v := p.origin.publish(path)
			p.applied(p.purge(path), p.tier)
			least[path] = v
		case n < 8:
			v := p.origin.publish(path)
			do(t, "POST", p.url+path, nil, "Host: www.test")
			least[path] = v
		case n == 8:
			p.stop()
			v := p.origin.publish(path)
			p.purge(path)
			least[path] = v
			p.begin()
			restarts++
		case n == 9 && rng.IntN(2) == 0:
			p.restart()
			restarts++
		case n == 10 && rng.IntN(2) == 0:
			p.kill()
			restarts++
		default:
			a := get(t, p.url+path, "Host: www.test")
			if v := a.version(); v < least[path] {
				t.Fatalf("seed %d, step %d: %s: version %d, want at least %d (%s)", seed, step, path, v, least[path], a.header.Get("Cache-Status"))
			}
			if strings.Contains(a.header.Get("Cache-Status"), "hit") {
				hits++
			}
		}
	}
	if hits < 20 || restarts < 3 {
		t.Errorf("seed %d: %d hits over %d restarts show nothing", seed, hits, restarts)
	}
}

// TestALoneNodeKeepsItsLog: what it has stored stays true over a restart, as long as
// the same keys mean the same content.
func TestALoneNodeKeepsItsLog(t *testing.T) {
	t.Parallel()
	v := startVersions(t)
	other := startVersions(t)
	other.publish("/a")
	other.publish("/a")
	dir := t.TempDir()
	document := func(text string) string {
		file := filepath.Join(t.TempDir(), "site.yaml")
		if err := os.WriteFile(file, []byte("site: test\nhosts: ['*']\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	plain := document("")
	first := v.publish("/a")
	for _, step := range []struct {
		name           string
		upstream, file string
		before         func(url string)
		version        int
	}{
		{"at first", v.URL, plain, nil, first},
		{"again", v.URL, plain, func(string) { v.publish("/a") }, first},
		{"with other lifetimes", v.URL, document("cache: {stale_if_error: 1h}"), nil, first},
		{"with another key", v.URL, document("cache: {key: {device: true}}"), nil, first + 1},
		{"as at first", v.URL, plain, func(string) { v.publish("/a") }, first + 2},
		{"from another origin", other.URL, plain, nil, 2},
		{"after an unsafe request", other.URL, plain, func(url string) {
			other.publish("/a")
			do(t, "POST", url+"/a", nil, "Host: www.test")
		}, 3},
		{"and that is kept", other.URL, plain, func(string) { other.publish("/a") }, 3},
	} {
		t.Run(step.name, func(t *testing.T) {
			c := onDisk(dir)
			c.Upstream, c.Site = step.upstream, step.file
			url, _ := startLoneFile(t, c) // until the end of the step
			if step.before != nil {
				step.before(url)
			}
			if a := get(t, url+"/a", "Host: www.test"); a.version() != step.version {
				t.Errorf("version %d, want %d (%s)", a.version(), step.version, a.header.Get("Cache-Status"))
			}
		})
	}
}

// TestHashesStay holds what purges and keys are compared by: stored responses bear
// them over an upgrade. Whoever changes one raises keysVersion.
func TestHashesStay(t *testing.T) {
	url, e := startLone(t, startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
	}).URL)
	get(t, url+"/a?b=c", "Host: www.test")
	const version, key = 2, "upstream\nwww.test/a?b=c"
	r := e.store.Get(response.NewKey(key))
	if r == nil {
		t.Fatalf("nothing is stored under %q", key)
	}
	var scopes []string
	for _, s := range r.Scopes {
		scopes = append(scopes, fmt.Sprintf("%016x", uint64(s)))
	}
	if got, want := strings.Join(scopes, " "), "bb3b23fe4ad30508 079c198d335052e1 0e1479a48b5fcf12 f50079aef87a7ddd 78cdc4e339f2f5d6"; got != want || keysVersion != version {
		t.Errorf("scopes %s in version %d, were %s in %d", got, keysVersion, want, version)
	}
}
