package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/internal/cluster/local"
	"freshet/internal/node"
)

// testCDN is the CDN of freshet dev, of which each node can be stopped and started
// by itself: as processes on a Consul agent, or all in this process.
type testCDN struct {
	t     *testing.T
	dev   *dev
	files map[string]*node.File
	nodes map[string]func() // running nodes, with what ends them
	run   func(f *node.File) (stop func())
}

var ctxb = context.Background()

// newCDN makes the CDN and starts all of its nodes. consul is the address of an
// agent, or "" for nodes within this process.
func newCDN(t *testing.T, consul string) *testCDN {
	t.Helper()
	c := &testCDN{t: t, dev: &dev{base: freeBase(t), data: t.TempDir(), logLevel: "warn"}, files: map[string]*node.File{}, nodes: map[string]func(){}}
	files, err := c.dev.nodeFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		c.files[f.Name] = f
	}
	if consul != "" {
		c.run = c.runProcess
		for _, f := range files {
			f.Cluster.Kind, f.Cluster.Address = "consul", consul
			text, err := f.Text()
			if err == nil {
				err = os.WriteFile(c.path(f), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	} else {
		shared, err := local.New(local.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { shared.Close() })
		c.run = func(f *node.File) func() { return c.runHere(f, shared) }
	}
	for _, f := range files {
		c.start(f.Name)
	}
	c.apply("demo", devHost)
	return c
}

func (c *testCDN) path(f *node.File) string {
	return filepath.Join(c.dev.data, "nodes", f.Name+".yaml")
}

func (c *testCDN) runProcess(f *node.File) func() {
	p := start(c.t, nil, string(f.Role), "-c", c.path(f))
	return func() {
		if code := p.terminate(); code != exitOK {
			c.t.Errorf("%s: exit code %d after SIGTERM, want 0", f.Name, code)
		}
	}
}

func (c *testCDN) runHere(f *node.File, shared *local.Cluster) func() {
	ctx, cancel := context.WithCancel(ctxb)
	done := make(chan error, 1)
	go func() { done <- runNode(ctx, nil, f, shared) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func (c *testCDN) start(name string) {
	c.nodes[name] = c.run(c.files[name])
	c.t.Cleanup(func() { c.stop(name) })
}

func (c *testCDN) stop(name string) {
	if end, ok := c.nodes[name]; ok {
		delete(c.nodes, name)
		http.DefaultClient.CloseIdleConnections()
		end()
	}
}

// apply stores a site document and waits until every node is ready.
func (c *testCDN) apply(site string, hosts ...string) {
	c.t.Helper()
	file := filepath.Join(c.dev.data, site+".yaml")
	text := fmt.Sprintf("site: %s\nhosts: [%s]\n", site, strings.Join(hosts, ", "))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	within(c.t, 30*time.Second, func() error {
		if code, out := c.freshet("site", "apply", file); code != exitOK {
			return fmt.Errorf("site apply: exit code %d: %s", code, out)
		}
		return nil
	})
	c.ready()
	for _, edge := range devEdges {
		within(c.t, 10*time.Second, func() error {
			if a := c.get(edge, "/"); a.status == http.StatusMisdirectedRequest {
				return fmt.Errorf("edge %s does not know the site yet", edge)
			}
			return nil
		})
	}
}

// ready waits until every node that runs is ready, by its own word and by the
// cluster's.
func (c *testCDN) ready() {
	c.t.Helper()
	for name := range c.nodes {
		within(c.t, 30*time.Second, func() error {
			res, err := http.Get("http://" + c.files[name].Admin + "/readyz?verbose")
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
				return fmt.Errorf("%s is not ready: %s", name, text)
			}
			return nil
		})
	}
	within(c.t, 30*time.Second, func() error {
		if code, out := c.freshet("status"); code != exitOK || strings.Contains(out, "0 of") {
			return fmt.Errorf("status: exit code %d: %s", code, out)
		}
		return nil
	})
}

// freshet runs one of the operator's verbs.
func (c *testCDN) freshet(args ...string) (int, string) {
	c.t.Helper()
	env := []string{"FRESHET_API=" + c.dev.api(), "FRESHET_TOKEN_FILE=" + filepath.Join(c.dev.data, "secrets", "token")}
	return runFreshet(c.t, env, args...)
}

// must runs a verb that has to succeed.
func (c *testCDN) must(args ...string) string {
	c.t.Helper()
	code, out := c.freshet(args...)
	if code != exitOK {
		c.t.Fatalf("freshet %s: exit code %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// response is what a client got.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (r response) cacheStatus() string { return strings.Join(r.header.Values("Cache-Status"), ", ") }

// get asks one edge, by its IP address, for a path of the demo site.
func (c *testCDN) get(edge, path string) response {
	c.t.Helper()
	r, err := c.try(edge, path)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *testCDN) try(edge, path string) (response, error) {
	req, err := http.NewRequest("GET", "http://"+c.dev.addr(edge, devEdgePort)+path, nil)
	if err != nil {
		return response{}, err
	}
	req.Host = devHost
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, body}, err
}

// resolve asks the router for the addresses of the demo site, over UDP or TCP.
func (c *testCDN) resolve(network string) ([]string, error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, c.dev.addr("127.0.0.1", devDNSPort))
	}}
	ctx, cancel := context.WithTimeout(ctxb, 2*time.Second)
	defer cancel()
	addrs, err := resolver.LookupNetIP(ctx, "ip4", devHost+".")
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	slices.Sort(list)
	return list, err
}

// named waits until DNS names exactly those edges.
func (c *testCDN) named(limit time.Duration, want ...string) {
	c.t.Helper()
	within(c.t, limit, func() error {
		got, err := c.resolve("udp")
		if err != nil || !slices.Equal(got, want) {
			return fmt.Errorf("DNS names %v (%v), want %v", got, err, want)
		}
		return nil
	})
}

// metric sums a node's metric over the series that have all of the labels given
// (`name="value"`).
func (c *testCDN) metric(name, metric string, labels ...string) float64 {
	c.t.Helper()
	res, err := http.Get("http://" + c.files[name].Admin + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var sum float64
	found := false
lines:
	for line := range strings.Lines(string(text)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(series, "{"); base != metric {
			continue
		}
		found = true
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue lines
			}
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		sum += n
	}
	if !found {
		c.t.Fatalf("%s has no metric %s", name, metric)
	}
	return sum
}

// freeBase finds a shift of the ports of freshet dev under which all are free. It
// stays below the range from which the kernel draws ports for clients.
func freeBase(t *testing.T) int {
	t.Helper()
	for range 100 {
		base := 1000 + 20*rand.IntN(1100)
		if d := (&dev{base: base}); d.free() == nil {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func (d *dev) free() error {
	var addrs []string
	for i, f := range d.nodes() {
		addrs = append(slices.Concat(addrs, f.Listen, f.Tier), d.addr("127.0.0.1", devAdminPort+i))
	}
	addrs = append(addrs, d.addr("127.0.0.1", devBusPort))
	for _, addr := range addrs {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		defer ln.Close()
	}
	pc, err := net.ListenPacket("udp", d.addr("127.0.0.1", devDNSPort))
	if err != nil {
		return err
	}
	return errors.Join(pc.Close())
}
