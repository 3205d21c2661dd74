package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/internal/cluster/clustertest"
)

// TestJourneyInOneProcess is the whole way of content through the CDN, from the
// push to the edge of a stopped origin, with all nodes in this process.
func TestJourneyInOneProcess(t *testing.T) {
	t.Parallel()
	journey(t, newCDN(t, ""))
}

// TestJourneyOfProcessesOnConsul is the same with a process for each node, a real
// Consul agent, and the bus reached by its address.
func TestJourneyOfProcessesOnConsul(t *testing.T) {
	t.Parallel()
	journey(t, newCDN(t, clustertest.StartConsul(t)))
}

func journey(t *testing.T, c *testCDN) {
	tree := filepath.Join(goroot(t), "src", "net")
	files := treeFiles(t, tree)
	if len(files) < 100 {
		t.Fatalf("%s has %d files: is it the source of package net?", tree, len(files))
	}
	for _, network := range []string{"udp", "tcp"} {
		if got, err := c.resolve(network); err != nil || !slices.Equal(got, devEdges) {
			t.Fatalf("over %s DNS names %v (%v), want %v", network, got, err, devEdges)
		}
	}

	c.must("push", tree, "--site", "demo", "--prefix", "/net")
	edges, err := c.resolve("udp")
	if err != nil {
		t.Fatal(err)
	}
	served := c.metric("origin-1", "freshet_origin_requests_total", `kind="serve"`)
	for round := range 2 {
		for _, edge := range edges {
			for path, want := range files {
				got := c.get(edge, path)
				if got.status != 200 || !bytes.Equal(got.body, want) {
					t.Fatalf("round %d, edge %s: %s: status %d, %d bytes, want %d", round, edge, path, got.status, len(got.body), len(want))
				}
				if round > 0 && !strings.Contains(got.cacheStatus(), "; hit") {
					t.Fatalf("round %d, edge %s: %s: Cache-Status %q, want a hit", round, edge, path, got.cacheStatus())
				}
			}
		}
	}
	if n := c.metric("origin-1", "freshet_origin_requests_total", `kind="serve"`) - served; n != float64(len(files)) {
		t.Errorf("the origin was asked %v times for %d files through two edges", n, len(files))
	}

	// A change is served as soon as its purge is acknowledged, by both edges.
	for i := range 5 {
		body := fmt.Sprintf("version %d", i)
		file := filepath.Join(t.TempDir(), "news.txt")
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		c.must("push", file, "demo:/news.txt", "--no-purge")
		c.must("purge", "http://"+devHost+"/news.txt")
		for _, edge := range edges {
			if got := c.get(edge, "/news.txt"); string(got.body) != body {
				t.Errorf("edge %s serves %q after the purge was acknowledged, want %q", edge, got.body, body)
			}
		}
	}

	c.renews("mid-1", edges[0])

	c.stop("edge-2")
	c.named(5*time.Second, devEdges[0])
	c.start("edge-2")
	c.named(5*time.Second, devEdges...)

	c.stop("mid-1")
	fresh := filepath.Join(t.TempDir(), "fresh.txt")
	if err := os.WriteFile(fresh, []byte("past the mid"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("push", fresh, "demo:/fresh.txt")
	if got := c.get(devEdges[0], "/fresh.txt"); string(got.body) != "past the mid" {
		t.Errorf("a miss without the mid: %d %q", got.status, got.body)
	}

	c.stop("origin-1")
	for path, want := range files {
		if got := c.get(devEdges[0], path); got.status != 200 || !bytes.Equal(got.body, want) {
			t.Fatalf("without the origin: %s: status %d", path, got.status)
		}
	}
	if got := c.get(devEdges[0], "/never-asked-for"); got.status != http.StatusBadGateway {
		t.Errorf("without the origin, not cached: status %d, want 502", got.status)
	}
	c.start("origin-1")
	within(t, 10*time.Second, func() error {
		got, err := c.try(devEdges[0], "/net/http/doc.go")
		if err == nil && got.status != 200 {
			err = fmt.Errorf("status %d", got.status)
		}
		return err
	})
	c.start("mid-1")
	c.ready()
}

// goroot is where the Go toolchain lies.
func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env GOROOT: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// treeFiles reads a tree: path under /net -> content.
func treeFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files["/net/"+filepath.ToSlash(rel)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestALostLogInvalidatesEverything: a command log with another id takes the place
// of the old one. What was stored may have missed a purge, so it is fetched anew,
// and an operator sees the alarm.
func TestALostLogInvalidatesEverything(t *testing.T) {
	t.Parallel()
	c := newCDN(t, "")
	file := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(file, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("push", file, "demo:/a.txt")
	c.get(devEdges[0], "/a.txt")
	if got := c.get(devEdges[0], "/a.txt"); !strings.Contains(got.cacheStatus(), "; hit") {
		t.Fatalf("not cached: %s", got.cacheStatus())
	}
	c.stop("distributor-1")
	if got := c.get(devEdges[0], "/a.txt"); !strings.Contains(got.cacheStatus(), "; hit") {
		t.Errorf("without the distributor: Cache-Status %q, want a hit", got.cacheStatus())
	}
	if err := os.RemoveAll(filepath.Join(c.files["distributor-1"].Data, "bus")); err != nil {
		t.Fatal(err)
	}
	c.start("distributor-1")
	within(t, 30*time.Second, func() error {
		if n := c.metric("edge-1", "freshet_log_restarts_total", `reason="replaced"`); n != 1 {
			return fmt.Errorf("%v restarts for a replaced log", n)
		}
		return nil
	})
	if got := c.get(devEdges[0], "/a.txt"); strings.Contains(got.cacheStatus(), "edge-1; hit") {
		t.Errorf("served from before the log was replaced: %s", got.cacheStatus())
	}
	within(t, 10*time.Second, func() error {
		code, out := c.freshet("status")
		if code != exitPartial || !strings.Contains(out, "replaced") {
			return fmt.Errorf("status: exit code %d: %s", code, out)
		}
		return nil
	})
}
