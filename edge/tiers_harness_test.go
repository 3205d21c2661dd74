package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/upstream"
	"freshet/internal/bus"
	"freshet/internal/bus/memory"
	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
	"freshet/internal/command"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

const tierSecret = "the secret that the tiers of a test share"

// logView is one node's view of the log that all share. While it is shut the node is
// cut off from the log: nothing is delivered, and its head cannot be had.
type logView struct {
	bus.Bus
	mu   sync.Mutex
	open chan struct{} // closed while the view is open
}

func newLogView(b bus.Bus) *logView {
	v := &logView{Bus: b, open: make(chan struct{})}
	close(v.open)
	return v
}

func (v *logView) gate() chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.open
}

func (v *logView) isShut() bool {
	select {
	case <-v.gate():
		return false
	default:
		return true
	}
}

// shut cuts the node off from the log, or lets it hear it again.
func (v *logView) shut(shut bool) {
	if was := v.isShut(); was == shut {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if shut {
		v.open = make(chan struct{})
	} else {
		close(v.open)
	}
}

var errShut = errors.New("cut off from the log by the test")

func (v *logView) Head(ctx context.Context) (bus.Head, error) {
	if v.isShut() {
		return bus.Head{}, errShut
	}
	return v.Bus.Head(ctx)
}

func (v *logView) Read(ctx context.Context, log command.LogID, from command.Seq) (bus.Reader, error) {
	if v.isShut() {
		return nil, errShut
	}
	r, err := v.Bus.Read(ctx, log, from)
	if err != nil {
		return nil, err
	}
	return viewReader{r, v}, nil
}

type viewReader struct {
	bus.Reader
	view *logView
}

// Next holds back what it has read while the view is shut.
func (r viewReader) Next(ctx context.Context) (bus.Entry, error) {
	e, err := r.Reader.Next(ctx)
	for r.view.isShut() {
		select {
		case <-r.view.gate():
		case <-ctx.Done():
			return bus.Entry{}, ctx.Err()
		}
	}
	return e, err
}

// tier is one running node.
type tier struct {
	*Edge
	name, url string
	log       *logView
	stop      func()
}

// tiers are an origin, a mid and edges over real sockets, on one cluster and one log.
type tiers struct {
	t       *testing.T
	origin  *versions
	cluster *local.Cluster
	bus     *memory.Bus
	ca      string // directory of the nodes' CA; "" for nodes without identities
}

func startTiers(t *testing.T) *tiers {
	t.Helper()
	x := &tiers{t: t, origin: startVersions(t), bus: memory.New()}
	var err error
	if x.cluster, err = local.New(local.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		x.bus.Close()
		x.cluster.Close()
	})
	x.bus.Replace(command.FirstOf(1))
	site := "site: test\nhosts: ['*']\norigin:\n  url: " + x.origin.URL + "\n"
	docs := cluster.NewDocuments(x.cluster, cluster.SitesPrefix)
	if _, err := docs.Put(t.Context(), "test", []byte(site), "test", "", 0); err != nil {
		t.Fatal(err)
	}
	return x
}

// start runs a node until it is ready: it knows the site, and the head of the log.
func (x *tiers) start(role cluster.Role, name, secret string) *tier {
	x.t.Helper()
	return x.startWith(role, name, secret, node.Cache{Memory: 64 << 20})
}

func (x *tiers) startWith(role cluster.Role, name, secret string, cache node.Cache) *tier {
	x.t.Helper()
	view := newLogView(x.bus)
	health := telemetry.NewHealth()
	env := node.Env{
		File: &node.File{
			Role: role, Name: name, PoP: "p", Region: "r", Listen: []string{"127.0.0.1:0"},
			Admin: "127.0.0.1:1", Drain: document.Duration(5 * time.Second),
			Cluster: node.Cluster{Secret: document.NewSecret(secret)}, Cache: cache,
		},
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: health,
		Cluster: x.cluster, Bus: view,
	}
	if x.ca != "" {
		identified(x.t, x.ca, &env)
	}
	e, err := New(env)
	if err != nil {
		x.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			x.t.Errorf("%s: %v", name, err)
		}
	})
	x.t.Cleanup(stop)
	n := &tier{Edge: e, name: name, log: view, stop: stop}
	looking, found := context.WithTimeout(x.t.Context(), patience)
	defer found()
	err = cluster.WatchNodes(looking, x.cluster, e.log, func(nodes cluster.Nodes) {
		for _, m := range nodes.List {
			if m.Name == name && m.Ready {
				n.url = "http://" + m.Addrs[0].String()
				found()
			}
		}
	})
	if n.url == "" {
		x.t.Fatalf("%s does not get ready: %v, %v", name, err, health.Err())
	}
	return n
}

// knowsMid waits until a node has a mid for its parent.
func (x *tiers) knowsMid(n *tier) {
	x.t.Helper()
	x.wait(n.name+" knows the mid", func() bool {
		for _, p := range n.parents.For(n.sites.Load().snapshot.ByName("test"), upstream.Question{Key: "k"}) {
			if p.Name == "m1" {
				return true
			}
		}
		return false
	})
}

func (x *tiers) wait(what string, done func() bool) {
	x.t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			x.t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// purge appends a purge of a path, of all where it is "".
func (x *tiers) purge(path string) command.Clock {
	x.t.Helper()
	scope := command.Scope{Kind: command.ScopeURL, Site: "test", Value: path}
	if path == "" {
		scope = command.Scope{Kind: command.ScopeAll}
	}
	return x.command(command.Command{Kind: command.Purge, Scopes: []command.Scope{scope}})
}

// command appends a command.
func (x *tiers) command(c command.Command) command.Clock {
	x.t.Helper()
	c.ID, c.At = command.NewID(), time.Now()
	data, err := command.Encode(c)
	if err != nil {
		x.t.Fatal(err)
	}
	head, err := x.bus.Head(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	seq, err := x.bus.Append(x.t.Context(), data, head.Last)
	if err != nil {
		x.t.Fatal(err)
	}
	return command.Clock{Log: head.Log, Seq: seq}
}

// applied waits until the nodes have applied the log up to clock.
func (x *tiers) applied(clock command.Clock, nodes ...*tier) {
	x.t.Helper()
	for _, n := range nodes {
		x.wait(n.name+" has applied "+clock.String(), func() bool { return !n.table.Clock().Before(clock) })
	}
}

// versions is an origin that answers each path with the number of its version.
type versions struct {
	*origin
	mu struct {
		sync.Mutex
		of map[string]int
	}
	holds atomic.Pointer[hold]
	seen  chan http.Header // of requests, where there is room
}

// hold makes the origin wait within a body, after its first half.
type hold struct{ begun, release chan struct{} }

func startVersions(t *testing.T) *versions {
	v := &versions{seen: make(chan http.Header, 1)}
	v.mu.of = make(map[string]int)
	v.origin = startOrigin(t, v.answer)
	return v
}

// publish gives a path its next version.
func (v *versions) publish(path string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.of[path]++
	return v.mu.of[path]
}

func (v *versions) all() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.mu.of)
}

// answer is twice the number of the version, in two writes. What the first letter of
// the path says is how it may be cached.
func (v *versions) answer(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	n := strconv.Itoa(v.mu.of[r.URL.Path])
	v.mu.Unlock()
	select {
	case v.seen <- r.Header.Clone():
	default:
	}
	h := w.Header()
	h.Set("Freshet-True", "log=0000000000000001, born=9999999999999999, asof=9999999999999999")
	h.Set("Freshet-Other", "of the origin")
	switch r.URL.Path[1] {
	case 'v': // by an entity-tag each time
		h.Set("Cache-Control", "max-age=0")
		h.Set("ETag", `"`+n+`"`)
		if r.Header.Get("If-None-Match") == `"`+n+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	case 'w': // stale while it is revalidated
		h.Set("Cache-Control", "max-age=0, stale-while-revalidate=600, stale-if-error=600")
		h.Set("ETag", `"`+n+`"`)
	case 'e': // with an entity-tag, by which it can be validated early
		h.Set("Cache-Control", "max-age=600, stale-if-error=600")
		h.Set("ETag", `"`+n+`"`)
		if r.Header.Get("If-None-Match") == `"`+n+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	case 's': // may be served stale for a while
		h.Set("Cache-Control", "max-age=600, stale-while-revalidate=600")
	case 't': // with surrogate keys
		h.Set("Cache-Control", "max-age=600")
		h.Set("Surrogate-Key", "one two")
		h.Set("Cache-Tag", "three, four and more")
		h.Set("xkey", "five,six seven")
		h.Set("Cache-Groups", `"eight"`)
	case 'm': // with more than are told apart
		h.Set("Cache-Control", "max-age=600")
		h.Set("Surrogate-Key", strings.Repeat("k", 2000))
	case 'x': // in variants
		h.Set("Cache-Control", "max-age=600")
		h.Set("Vary", "X-Kind")
	default:
		h.Set("Cache-Control", "max-age=600")
	}
	h.Set("Content-Length", strconv.Itoa(2*len(n)+1))
	fmt.Fprint(w, n+" ")
	_ = http.NewResponseController(w).Flush()
	if hold := v.holds.Swap(nil); hold != nil {
		close(hold.begun)
		<-hold.release
	}
	fmt.Fprint(w, n)
}

// version is the version in an answer's body; -1 if that is not one version whole.
func (a answer) version() int {
	one, two, _ := strings.Cut(a.body, " ")
	n, err := strconv.Atoi(one)
	if err != nil || one != two || a.status != 200 {
		return -1
	}
	return n
}

func (n *tier) want(t *testing.T, path string, version int) answer {
	t.Helper()
	a := get(t, n.url+path, "Host: www.test")
	if got := a.version(); got != version {
		t.Errorf("%s%s: version %d (%d %q, %s), want %d", n.name, path, got, a.status, a.body, a.header.Get("Cache-Status"), version)
	}
	return a
}

// fetchVersion is a request off the test's goroutine: the version, -1 for none.
func (n *tier) fetchVersion(path, kind string) (int, string) {
	req, err := http.NewRequest("GET", n.url+path, nil)
	if err != nil {
		return -1, err.Error()
	}
	req.Host = "www.test" // the tiers share a key only if all clients ask for one host
	req.Header.Set("X-Kind", kind)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return -1, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return -1, err.Error()
	}
	a := answer{res.StatusCode, res.Header, string(body)}
	return a.version(), fmt.Sprintf("%d %q, %s", a.status, a.body, a.header.Get("Cache-Status"))
}
