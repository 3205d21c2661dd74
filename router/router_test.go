package router

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/run"
	"freshet/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is how fast the router must follow the cluster's news.
const soon = time.Second

// host is what the test's only site serves.
const host = "www.freshet.example"

// world is a cluster with one router.
type world struct {
	t        *testing.T
	cluster  cluster.Cluster
	docs     *cluster.Documents
	health   *telemetry.Health
	router   *Router
	registry *prometheus.Registry
	log      *logBuffer
	stop     func() error // the router; may be called twice
}

// logBuffer is what was logged, safe to read while it is written.
type logBuffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.String()
}

// newCluster is an empty cluster until the test ends.
func newCluster(t *testing.T) *local.Cluster {
	t.Helper()
	c, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// testFile is the node file of a router on a free port.
func testFile() *node.File {
	file := node.New(cluster.Router, "r1")
	file.Listen = []string{"127.0.0.1:0"}
	file.Router.TTL = document.Duration(5 * time.Second)
	file.Router.Answers = 8
	file.Router.Zones = []node.Zone{{
		Name:        "freshet.example",
		Nameservers: []node.Nameserver{{Name: "ns1.freshet.example", Addrs: []string{"127.0.0.1"}}},
	}}
	return file
}

// start runs a router on c, with one site, and without a bus.
func start(t *testing.T, c cluster.Cluster) *world {
	t.Helper()
	return startOn(t, c, nil)
}

// startOn runs a router on c and a bus, which may be nil.
func startOn(t *testing.T, c cluster.Cluster, b bus.Bus) *world {
	t.Helper()
	w := &world{t: t, cluster: c, docs: cluster.NewDocuments(c, cluster.SitesPrefix), health: telemetry.NewHealth(), log: new(logBuffer), registry: prometheus.NewRegistry()}
	w.putSite("site: www\nhosts: [" + host + "]\n")
	var err error
	w.router, err = New(node.Env{
		File:    testFile(),
		Log:     slog.New(slog.NewTextHandler(w.log, nil)),
		Metrics: w.registry,
		Health:  w.health,
		Cluster: c,
		Bus:     b,
		Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.router.Run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	w.eventually(soon, "the router is ready", func() bool { return w.health.Err() == nil })
	return w
}

func (w *world) putSite(text string) {
	w.t.Helper()
	if _, err := w.docs.Put(w.t.Context(), "www", []byte(text), "test", "test", cluster.AnyVersion); err != nil {
		w.t.Fatal(err)
	}
}

// edge announces an edge; setHealth changes what it says of itself, and withdraw
// takes it out of membership.
func (w *world) edge(name, addr string) (setHealth func(error), withdraw func()) {
	w.t.Helper()
	var mu sync.Mutex
	var sick error
	ctx, cancel := context.WithCancel(context.Background())
	entry := cluster.Node{Name: name, Role: cluster.Edge, Addrs: []netip.AddrPort{netip.MustParseAddrPort(addr)}}
	done := make(chan error, 1)
	go func() {
		done <- w.cluster.Announce(ctx, entry, func() error {
			mu.Lock()
			defer mu.Unlock()
			return sick
		})
	}()
	withdraw = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("announce %s: %v", name, err)
		}
	})
	w.t.Cleanup(withdraw)
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		sick = err
	}, withdraw
}

// eventually waits for a condition.
func (w *world) eventually(within time.Duration, what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// resolve asks the router as programs do: "ip4" or "ip6" of a name.
func (w *world) resolve(network, name string) ([]string, error) {
	w.t.Helper()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, w.router.Addrs()[0].String())
	}}
	addrs, err := resolver.LookupNetIP(w.t.Context(), network, name+".")
	var names []string
	for _, addr := range addrs {
		names = append(names, addr.Unmap().String())
	}
	slices.Sort(names)
	return names, err
}

// names waits until exactly these addresses are answered for the site.
func (w *world) names(within time.Duration, want ...string) {
	w.t.Helper()
	var got []string
	var err error
	defer func() {
		if w.t.Failed() {
			w.t.Logf("answers %v, %v; want %v", got, err, want)
		}
	}()
	w.eventually(within, "the answer", func() bool {
		got, err = w.resolve("ip4", host)
		return slices.Equal(got, want)
	})
}

func TestFollowsMembership(t *testing.T) {
	w := start(t, newCluster(t))
	if got, err := w.resolve("ip4", host); err == nil {
		t.Fatalf("answers %v before there are edges", got)
	}
	_, withdrawOne := w.edge("e1", "127.0.0.11:8080")
	w.names(soon, "127.0.0.11")
	setTwo, _ := w.edge("e2", "127.0.0.12:8080")
	w.names(soon, "127.0.0.11", "127.0.0.12")

	setTwo(errors.New("ill")) // which the cluster asks for once a second
	w.names(time.Second+soon, "127.0.0.11")
	setTwo(nil)
	w.names(time.Second+soon, "127.0.0.11", "127.0.0.12")

	withdrawOne()
	w.names(soon, "127.0.0.12")
	w.eventually(soon, "the metric", func() bool { return testutil.ToFloat64(w.router.metrics.ready) == 1 })
}

func TestPanicNamesTheLastThatWereReady(t *testing.T) {
	w := start(t, newCluster(t))
	setOne, withdrawOne := w.edge("e1", "127.0.0.11:8080")
	setTwo, withdrawTwo := w.edge("e2", "127.0.0.12:8080")
	w.names(soon, "127.0.0.11", "127.0.0.12")

	setTwo(errors.New("ill"))
	w.names(time.Second+soon, "127.0.0.11")
	setOne(errors.New("ill"))
	w.eventually(time.Second+soon, "the panic shows", func() bool { return testutil.ToFloat64(w.router.metrics.panic) == 1 })
	w.names(soon, "127.0.0.11")
	w.eventually(soon, "the log tells", func() bool { return strings.Contains(w.log.String(), "no edge is ready") })
	withdrawOne()
	withdrawTwo()
	w.eventually(soon, "membership is empty", func() bool {
		nodes, err := w.cluster.Nodes(t.Context(), 0)
		return err == nil && len(nodes.List) == 1
	})
	w.names(soon, "127.0.0.11")

	w.edge("e3", "127.0.0.13:8080")
	w.names(soon, "127.0.0.13")
	w.eventually(soon, "the end of the panic shows", func() bool {
		return testutil.ToFloat64(w.router.metrics.panic) == 0 && strings.Contains(w.log.String(), "edges are ready again")
	})
}

func TestFollowsSites(t *testing.T) {
	w := start(t, newCluster(t))
	w.edge("e1", "127.0.0.11:8080")
	w.names(soon, "127.0.0.11")
	const other = "img.elsewhere.test"
	if _, err := w.resolve("ip4", other); err == nil {
		t.Fatal("answers for a host of no site")
	}
	w.putSite("site: www\nhosts: [" + host + ", " + other + "]\n")
	w.eventually(soon, "the new host", func() bool { _, err := w.resolve("ip4", other); return err == nil })
	if got, err := w.resolve("ip4", "ns1."+other); !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("its name server has %v, %v", got, err)
	}
	if err := w.docs.Delete(t.Context(), "www", cluster.AnyVersion); err != nil {
		t.Fatal(err)
	}
	w.eventually(soon, "the host is gone", func() bool {
		_, err := w.resolve("ip4", host)
		var dnsErr *net.DNSError
		return errors.As(err, &dnsErr) && dnsErr.IsNotFound
	})
}

// cutCluster is a cluster whose news stops while it is cut.
type cutCluster struct {
	cluster.Cluster
	mu struct {
		sync.Mutex
		cut    bool
		cancel map[*context.CancelFunc]bool
	}
}

var errCut = errors.New("cluster is cut off")

func (c *cutCluster) setCut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.cut = cut
	for cancel := range c.mu.cancel {
		(*cancel)()
	}
}

// enter is the start of a call that a cut ends.
func (c *cutCluster) enter(ctx context.Context) (context.Context, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.cut {
		return nil, nil, errCut
	}
	ctx, cancel := context.WithCancel(ctx)
	if c.mu.cancel == nil {
		c.mu.cancel = make(map[*context.CancelFunc]bool)
	}
	c.mu.cancel[&cancel] = true
	return ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		cancel()
		delete(c.mu.cancel, &cancel)
	}, nil
}

func (c *cutCluster) Nodes(ctx context.Context, after uint64) (cluster.Nodes, error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return cluster.Nodes{}, err
	}
	defer leave()
	return c.Cluster.Nodes(ctx, after)
}

func (c *cutCluster) List(ctx context.Context, prefix string, after uint64) (cluster.Pairs, error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return cluster.Pairs{}, err
	}
	defer leave()
	return c.Cluster.List(ctx, prefix, after)
}

func TestKeepsWhatItKnowsWithoutTheCluster(t *testing.T) {
	c := &cutCluster{Cluster: newCluster(t)}
	w := start(t, c)
	w.edge("e1", "127.0.0.11:8080")
	_, withdraw := w.edge("e2", "127.0.0.12:8080")
	w.names(soon, "127.0.0.11", "127.0.0.12")
	c.setCut(true)
	w.eventually(soon, "the failure is counted", func() bool { return testutil.ToFloat64(w.router.metrics.errors) > 1 })
	withdraw()
	w.names(soon, "127.0.0.11", "127.0.0.12")
	if err := w.health.Err(); err != nil {
		t.Errorf("not ready without the cluster: %v", err)
	}
	c.setCut(false)
	w.names(cluster.MaxRetry+soon, "127.0.0.11")
}

func TestNotReadyBeforeItKnows(t *testing.T) {
	c := &cutCluster{Cluster: newCluster(t)}
	c.setCut(true)
	health := telemetry.NewHealth()
	r, err := New(node.Env{File: testFile(), Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: health, Cluster: c})
	if err != nil {
		t.Fatal(err)
	}
	if err := health.Err(); !errors.Is(err, telemetry.ErrNotReady) {
		t.Errorf("health is %v, want it not ready", err)
	}
	if addrs := r.Addrs(); addrs != nil {
		t.Errorf("listens on %v before Run", addrs)
	}
	r.setNodes(cluster.Nodes{Version: 1})
	if err := health.Err(); !errors.Is(err, telemetry.ErrNotReady) {
		t.Errorf("health is %v without sites, want it not ready", err)
	}
}

func TestAnnouncesItself(t *testing.T) {
	w := start(t, newCluster(t))
	find := func() (cluster.Node, bool) {
		nodes, err := w.cluster.Nodes(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes.List {
			if n.Name == "r1" {
				return n, true
			}
		}
		return cluster.Node{}, false
	}
	w.eventually(time.Second+soon, "the router is a ready member", func() bool { n, _ := find(); return n.Ready })
	n, _ := find()
	if n.Role != cluster.Router || n.Version != "test" || !slices.Equal(n.Addrs, w.router.Addrs()) {
		t.Errorf("announces %+v", n)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if n, ok := find(); ok {
		t.Errorf("still a member after the end: %+v", n)
	}
	if err := w.health.Err(); !errors.Is(err, telemetry.ErrNotReady) {
		t.Errorf("health is %v after the end, want it not ready", err)
	}
}

func TestMistakes(t *testing.T) {
	make := func(edit func(*node.File)) (*Router, error) {
		file := testFile()
		edit(file)
		return New(node.Env{File: file, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: telemetry.NewHealth(), Cluster: newCluster(t)})
	}
	if _, err := make(func(f *node.File) { f.Listen = []string{":53"} }); err == nil || !strings.Contains(err.Error(), ":53") {
		t.Errorf("listening everywhere, advertising nothing: %v", err)
	}
	if _, err := make(func(f *node.File) { f.Router.Zones[0].Nameservers = nil }); err == nil || !strings.Contains(err.Error(), "freshet.example") {
		t.Errorf("a zone without name servers: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r, err := make(func(f *node.File) { f.Listen = []string{taken.Addr().String()} })
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); !errors.Is(err, run.ErrAddressInUse) {
		t.Errorf("a port in use: %v", err)
	}
}

func TestAdvertisedAddressesAreTheNameServers(t *testing.T) {
	file := testFile()
	file.Listen, file.Advertise = []string{":0"}, []string{"192.0.2.53:53"}
	c := newCluster(t)
	r, err := New(node.Env{File: file, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: telemetry.NewHealth(), Cluster: c})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for after := uint64(0); ; {
		nodes, err := c.Nodes(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		after = nodes.Version
		if len(nodes.List) == 1 {
			if want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}; !slices.Equal(nodes.List[0].Addrs, want) {
				t.Errorf("announces %v, want %v", nodes.List[0].Addrs, want)
			}
			return
		}
	}
}
