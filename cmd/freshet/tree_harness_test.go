package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/cluster/clustertest"
	"freshet/internal/document"
	"freshet/internal/node"
)

// treeLong asks for the tests of the tree at their full length, in which the times that are
// promised are held against the clock.
var treeLong = os.Getenv("FRESHET_TEST_LONG") != ""

// treeShare is a duration of the full test, or a short one.
func treeShare(full, short time.Duration) time.Duration {
	if treeLong {
		return full
	}
	return short
}

// tree is a CDN of processes on a real Consul agent: edges, mids and an origin outside.
type tree struct {
	*testCDN
	agent  *clustertest.Agent
	origin *treeOrigin
	edges  []string // names
	mids   []string
	procs  map[string]*process
	plan   treePlan
	logs   string // directory of the mids' access logs
}

// treeHost is the host of the site of a tree.
const treeHost = "tree." + devZone

// treePlan says what a tree is made of.
type treePlan struct {
	edges, mids int
	router      bool
	ownOrigin   bool   // an origin of the cluster as well
	origin      string // lines of the site document's origin section, besides url
	originIP    string // of the outside origin, if not 127.0.0.1

	begin  func(*tree)                // called before node files are written
	tune   func(*node.File)           // changes node files before they are written
	within func(node string) []string // a command that starts a node's in a network of its own
}

// newTree starts a tree and waits until it serves.
func newTree(t *testing.T, plan treePlan) *tree {
	t.Helper()
	if !treeLong {
		t.Parallel()
	}
	tr := &tree{
		testCDN: &testCDN{t: t, dev: &dev{data: t.TempDir(), logLevel: "info"}, files: map[string]*node.File{}, nodes: map[string]func(){}},
		agent:   clustertest.NewAgent(t), origin: newTreeOrigin(t, plan.originIP), plan: plan, procs: map[string]*process{}, logs: t.TempDir(),
	}
	tr.dev.base = freeTreeBase(t, plan)
	if plan.begin != nil {
		plan.begin(tr)
	}
	tr.write(plan)
	tr.start("distributor-1")
	within(t, 30*time.Second, func() error { return dials(tr.files["distributor-1"].Bus.Listen) })
	for name := range tr.files {
		if name != "distributor-1" {
			tr.start(name)
		}
	}
	tr.site(plan.origin)
	tr.ready()
	for _, edge := range tr.edges {
		within(t, 20*time.Second, func() error {
			if s := tr.one(edge, "/l/warm"); s.err != nil || s.status != http.StatusOK {
				return fmt.Errorf("%s: %d %v %s", edge, s.status, s.err, s.chain)
			}
			return nil
		})
	}
	return tr
}

// write makes the node files of freshet dev, with as many edges and mids as are wanted.
func (tr *tree) write(plan treePlan) {
	tr.t.Helper()
	files, err := tr.dev.nodeFiles()
	if err != nil {
		tr.t.Fatal(err)
	}
	admin := devAdminPort
	add := func(like *node.File, name, ip string, port int) {
		f := *like
		f.Name, f.HTTPS = name, node.HTTPS{}
		f.Data = filepath.Join(tr.dev.data, name)
		f.Listen = []string{tr.dev.addr(ip, port)}
		f.Admin = tr.dev.addr("127.0.0.1", admin)
		f.Cluster.Kind, f.Cluster.Address = "consul", tr.agent.Address()
		f.Drain = document.Duration(2 * time.Second)
		if f.Role == cluster.Mid {
			f.Log.Access = tr.accessLog(name)
			f.Tier = []string{tr.dev.addr(ip, devTierPort)}
		}
		if f.Identity, err = tr.dev.identity(&f); err != nil {
			tr.t.Fatal(err)
		}
		if plan.tune != nil {
			plan.tune(&f)
		}
		admin++
		text, err := f.Text()
		if err == nil {
			err = os.WriteFile(tr.path(&f), text, 0o600)
		}
		if err == nil {
			tr.files[name], err = readNodeFile(tr.path(&f))
		}
		if err != nil {
			tr.t.Fatal(err)
		}
	}
	for _, f := range files {
		switch {
		case f.Role == cluster.Distributor:
			add(f, f.Name, "127.0.0.1", devAPIPort)
		case f.Role == cluster.Origin && plan.ownOrigin:
			add(f, f.Name, "127.0.0.1", devOriginPort)
		case f.Role == cluster.Router && plan.router:
			add(f, f.Name, "127.0.0.1", devDNSPort)
		case f.Role == cluster.Mid:
			for i := range plan.mids {
				tr.mids = append(tr.mids, fmt.Sprint("mid-", i+1))
				add(f, tr.mids[i], treeIP(cluster.Mid, i), devMidPort)
			}
		case f.Name == "edge-1":
			for i := range plan.edges {
				tr.edges = append(tr.edges, fmt.Sprint("edge-", i+1))
				add(f, tr.edges[i], treeIP(cluster.Edge, i), devEdgePort)
			}
		}
	}
}

// treeIP is the address of the i-th edge or mid, each of which has one of its own.
func treeIP(role cluster.Role, i int) string {
	if role == cluster.Mid {
		return fmt.Sprint("127.0.0.", 21+i)
	}
	return fmt.Sprint("127.0.0.", 11+i)
}

func freeTreeBase(t *testing.T, plan treePlan) int {
	t.Helper()
	for range 100 {
		base := freeBase(t)
		d := &dev{base: base}
		var addrs []string
		for i := range plan.edges {
			addrs = append(addrs, d.addr(treeIP(cluster.Edge, i), devEdgePort))
		}
		for i := range plan.mids {
			addrs = append(addrs, d.addr(treeIP(cluster.Mid, i), devMidPort), d.addr(treeIP(cluster.Mid, i), devTierPort))
		}
		for i := range plan.edges + plan.mids + 3 {
			addrs = append(addrs, d.addr("127.0.0.1", devAdminPort+i))
		}
		free := true
		for _, addr := range addrs {
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				free = false
				break
			}
			_ = ln.Close()
		}
		if free {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// start starts a node, which is killed at the end of the test.
func (tr *tree) start(name string) {
	f := tr.files[name]
	var before []string
	if tr.plan.within != nil {
		before = tr.plan.within(name)
	}
	p := startBy(tr.t, before, nil, string(f.Role), "-c", tr.path(f))
	tr.procs[name] = p
	tr.nodes[name] = func() {
		if code := p.terminate(); code != exitOK {
			tr.t.Errorf("%s: exit code %d after SIGTERM, want 0", name, code)
		}
	}
}

// kill ends a node as kill -9 does.
func (tr *tree) kill(name string) {
	tr.t.Helper()
	delete(tr.nodes, name)
	if err := tr.procs[name].cmd.Process.Signal(syscall.SIGKILL); err != nil {
		tr.t.Fatal(err)
	}
	<-tr.procs[name].exited
}

// site stores the site document: origin is what its origin section says besides the URL.
func (tr *tree) site(origin string) {
	tr.t.Helper()
	file := filepath.Join(tr.dev.data, "tree.yaml")
	text := fmt.Sprintf("site: tree\nhosts: [%s]\norigin:\n  url: %s\n%s", treeHost, tr.origin.url(), origin)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tr.t.Fatal(err)
	}
	within(tr.t, 30*time.Second, func() error {
		if code, out := tr.freshet("site", "apply", file); code != exitOK {
			return fmt.Errorf("site apply: exit code %d: %s", code, out)
		}
		return nil
	})
}

// addrs are the addresses of the edges.
func (tr *tree) addrs() []string {
	var addrs []string
	for _, name := range tr.edges {
		addrs = append(addrs, tr.files[name].Listen[0])
	}
	return addrs
}

// resolve asks the router for the addresses of the site.
func (tr *tree) resolve() ([]string, error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", tr.dev.addr("127.0.0.1", devDNSPort))
	}}
	ctx, cancel := context.WithTimeout(tr.t.Context(), 2*time.Second)
	defer cancel()
	addrs, err := resolver.LookupHost(ctx, treeHost+".")
	slices.Sort(addrs)
	return addrs, err
}

// load begins a load on all edges.
func (tr *tree) load(l *treeLoad) *treeLoad {
	l.addrs, l.host = tr.addrs(), treeHost
	return l.start(tr.t)
}

// one asks an edge once, over a connection of its own.
func (tr *tree) one(edge, path string) sample {
	transport := &http.Transport{DisableKeepAlives: true}
	l := &treeLoad{t: tr.t, addrs: []string{tr.files[edge].Listen[0]}, host: treeHost, path: func(int) string { return path }}
	return l.ask(&http.Client{Transport: transport, Timeout: 30 * time.Second}, 0, 0)
}

// warm has every edge store every key.
func (tr *tree) warm(keys int, path func(int) string) {
	tr.t.Helper()
	var edges sync.WaitGroup
	for i := range tr.edges {
		edges.Go(func() {
			l := &treeLoad{t: tr.t, addrs: tr.addrs(), host: treeHost, path: path}
			client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
			defer client.CloseIdleConnections()
			for key := range keys {
				if s := l.ask(client, i, key); s.err != nil || s.status != http.StatusOK {
					tr.t.Errorf("%s, key %d: %d %v %s", tr.edges[i], key, s.status, s.err, s.chain)
				}
			}
		})
	}
	edges.Wait()
}

// isReady asks a node whether it is ready.
func (tr *tree) isReady(name string) error {
	res, err := http.Get("http://" + tr.files[name].Admin + "/readyz?verbose")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is not ready: %s", name, text)
	}
	return nil
}

func dials(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (tr *tree) accessLog(mid string) string { return filepath.Join(tr.logs, mid+".log") }

// midRequests are how often each mid was asked for each path between two moments, by the
// mids' own access logs.
func (tr *tree) midRequests(from, to time.Time) map[string]map[string]int {
	tr.t.Helper()
	asked := make(map[string]map[string]int)
	for _, mid := range tr.mids {
		text, err := os.ReadFile(tr.accessLog(mid))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			tr.t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var entry struct {
				Time   time.Time
				Target string
			}
			if err := json.Unmarshal(line, &entry); err != nil {
				continue // the last one of a mid that was killed
			}
			if entry.Time.Before(from) || !entry.Time.Before(to) || !strings.HasPrefix(entry.Target, "/") {
				continue
			}
			if asked[entry.Target] == nil {
				asked[entry.Target] = make(map[string]int)
			}
			asked[entry.Target][mid]++
		}
	}
	return asked
}

// treeRate is the rate of the full test, or a low one.
func treeRate(full, short float64) float64 {
	if treeLong {
		return full
	}
	return short
}
