package distributor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"freshet/distributor/client"
	"freshet/internal/bus"
	"freshet/internal/bus/memory"
	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
	"freshet/internal/command"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "correct-horse-battery"

const clusterSecret = "the secret that all nodes of a test share"

// patience bounds every wait for something that must come.
const patience = 20 * time.Second

// world is a cluster and a bus for the nodes of a test.
type world struct {
	t       *testing.T
	cluster *local.Cluster
	bus     *memory.Bus
	other   bus.Bus // in place of bus, for distributors
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cluster: c, bus: memory.New()}
	t.Cleanup(func() {
		w.bus.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// running is a distributor that runs.
type running struct {
	*Distributor
	name   string
	client *client.Client
	stop   func() // ends it and waits
}

// env is what a distributor of the test stands on.
func (w *world) env(name string) node.Env {
	return node.Env{
		File: &node.File{
			Role: cluster.Distributor, Name: name, PoP: "p1", Region: "r1",
			Listen: []string{"127.0.0.1:0"}, Admin: "127.0.0.1:9101",
			Drain: document.Duration(5 * time.Second), Token: document.NewSecret(token),
			Cluster: node.Cluster{Secret: document.NewSecret(clusterSecret)},
		},
		Log:     slog.New(slog.NewTextHandler(logWriter{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: prometheus.NewRegistry(), Health: telemetry.NewHealth(),
		Cluster: w.cluster, Bus: w.bus, Version: "test",
	}
}

// start runs a distributor until the test ends.
func (w *world) start(name string) *running {
	w.t.Helper()
	env := w.env(name)
	if w.other != nil {
		env.Bus = w.other
	}
	return w.startIn(env)
}

// startIn runs a distributor that stands on env.
func (w *world) startIn(env node.Env) *running {
	w.t.Helper()
	name := env.File.Name
	d, err := New(env)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	r := &running{Distributor: d, name: name}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("distributor %s: %v", name, err)
		}
		if r.client != nil {
			r.client.Close()
		}
	})
	w.t.Cleanup(r.stop)
	eventually(w.t, "distributor "+name+" is ready", func() error { return env.Health.Err() })
	r.client = client.New("http://"+d.Addrs()[0].String(), token)
	r.client.By = "tester"
	return r
}

// logWriter passes logs to the test's output.
type logWriter struct{ t *testing.T }

func (l logWriter) Write(b []byte) (int, error) {
	if os.Getenv("FRESHET_TEST_LOG") != "" {
		fmt.Fprintf(os.Stderr, "%s: %s", l.t.Name(), b)
	}
	return len(b), nil
}

// eventually waits until ok returns nil.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// member is a node of the CDN as the distributor sees it.
type member struct {
	w    *world
	name string
	role cluster.Role
	mu   sync.Mutex
	sick error
}

// join announces a node until the test ends, or leave is called.
func (w *world) join(role cluster.Role, name string) (m *member, leave func()) {
	m = &member{w: w, name: name, role: role}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	n := cluster.Node{Name: name, Role: role, PoP: "p1", Region: "r1", Version: "test", Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080")}}
	go func() {
		defer close(done)
		if err := w.cluster.Announce(ctx, n, m.health); err != nil {
			w.t.Errorf("announce %s: %v", name, err)
		}
	}()
	leave = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(leave)
	return m, leave
}

func (m *member) health() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sick
}

func (m *member) fall(sick error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sick = sick
}

// report publishes progress as the node's follower would.
func (m *member) report(c command.Clock, alarm string) {
	m.w.t.Helper()
	data, err := json.Marshal(command.Progress{Node: m.name, Role: string(m.role), Log: c.Log, Applied: c.Seq, At: time.Now(), Alarm: alarm})
	if err != nil {
		m.w.t.Fatal(err)
	}
	if err := m.w.bus.Publish(bus.SubjectProgress+"."+m.name, data); err != nil {
		m.w.t.Error(err)
	}
}

// leave publishes the last report of a node.
func (m *member) leave() {
	m.w.t.Helper()
	data, err := json.Marshal(command.Progress{Node: m.name, Role: string(m.role), At: time.Now(), Left: true})
	if err != nil {
		m.w.t.Fatal(err)
	}
	if err := m.w.bus.Publish(bus.SubjectProgress+"."+m.name, data); err != nil {
		m.w.t.Error(err)
	}
}

// follow makes a node apply the log from its beginning until the test ends.
func (m *member) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			m.read(ctx)
			_ = sleep(ctx, 5*time.Millisecond)
		}
	}()
	m.w.t.Cleanup(func() { cancel(); <-done })
}

// read applies one log until it ends.
func (m *member) read(ctx context.Context) {
	head, err := m.w.bus.Head(ctx)
	if err != nil {
		return
	}
	r, err := m.w.bus.Read(ctx, head.Log, head.First)
	if err != nil {
		return
	}
	defer r.Close()
	m.report(command.Clock{Log: head.Log, Seq: head.First - 1}, "")
	for {
		e, err := r.Next(ctx)
		if err != nil {
			return
		}
		m.report(command.Clock{Log: head.Log, Seq: e.Seq}, "")
	}
}

// knows waits until the distributor sees the members.
func (r *running) knows(t *testing.T, names ...string) {
	t.Helper()
	eventually(t, "members are known", func() error {
		nodes, err := r.client.Nodes(t.Context())
		if err != nil {
			return err
		}
		have := map[string]bool{}
		for _, n := range nodes {
			have[n.Name] = n.Ready
		}
		for _, name := range names {
			if !have[name] {
				return fmt.Errorf("%s is missing or not ready", name)
			}
		}
		return nil
	})
}

const demoSite = `site: demo
hosts: [demo.example, "*.demo.example"]
`

// apply stores a site document.
func (r *running) apply(t *testing.T, text string) client.Site {
	t.Helper()
	s, err := r.client.Apply(t.Context(), client.ApplyRequest{File: "demo.yaml", Text: []byte(text), Message: "first", Expect: client.AnyVersion})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// records reads the whole log.
func (w *world) records(t *testing.T) []command.Command {
	t.Helper()
	head, err := w.bus.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reader, err := w.bus.Read(t.Context(), head.Log, head.First)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var all []command.Command
	for seq := head.First; seq <= head.Last; seq++ {
		e, err := reader.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != seq {
			t.Fatalf("record %s where %s should be", e.Seq, seq)
		}
		c, err := command.Decode(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// wantError checks the API's error.
func wantError(t *testing.T, err error, status int, words ...string) {
	t.Helper()
	e, ok := err.(*client.Error)
	if !ok {
		t.Fatalf("error is %T %v, want one of the API with status %d", err, err, status)
	}
	if e.Status != status {
		t.Errorf("status %d, want %d: %v", e.Status, status, e)
	}
	for _, word := range words {
		if !strings.Contains(e.Error(), word) {
			t.Errorf("error does not say %q: %s", word, e)
		}
	}
}
