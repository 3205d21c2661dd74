package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
	"freshet/origin"
)

// origin runs an origin in the world's cluster and returns its URL.
func (w *verbsWorld) origin(t *testing.T) string {
	t.Helper()
	env := node.Env{
		File: &node.File{
			Role: cluster.Origin, Name: "o1", Listen: []string{"127.0.0.1:0"}, Data: t.TempDir(),
			Drain: document.Duration(5 * time.Second), Token: document.NewSecret(verbsToken),
		},
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: telemetry.NewHealth(),
		Cluster: w.cluster, Bus: w.bus, Version: "test",
	}
	o, err := origin.New(env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	url := ""
	eventually(t, "the distributor knows a ready origin", func() error {
		nodes, err := client.New(w.api, verbsToken).Nodes(ctx)
		for _, n := range nodes {
			if n.Role == string(cluster.Origin) && n.Ready {
				url = "http://" + n.Addrs[0]
				return nil
			}
		}
		return errors.Join(err, errors.New("it is not there"))
	})
	return url
}

// purged are the targets of all purges in the log, sorted.
func (w *verbsWorld) purged(t *testing.T) (targets []string) {
	t.Helper()
	head, err := w.bus.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if head.Last < head.First {
		return nil
	}
	r, err := w.bus.Read(t.Context(), head.Log, head.First)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		e, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, err := command.Decode(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.Scopes {
			targets = append(targets, s.Site+" "+s.Value)
		}
		if e.Seq == head.Last {
			slices.Sort(targets)
			return targets
		}
	}
}

func served(t *testing.T, origin, host, path string) string {
	t.Helper()
	req, err := http.NewRequest("GET", origin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return fmt.Sprintf("%d %v", resp.StatusCode, err)
	}
	return string(body)
}

func TestPushVerb(t *testing.T) {
	w := newVerbsWorld(t)
	site := verbFile(t, "demo.yaml", "site: demo\nhosts: [\"*.demo.example\", demo.example]\n")
	wantVerb(t, exitOK, ".*", "", "site", "apply", site)
	dir := t.TempDir()
	for name, text := range map[string]string{"index.html": "<p>", "a/index.html": "<p>a", "a/b (1).txt": "b", ".git/config": "secret"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	wantVerb(t, exitError, "", "no origin that is ready", "push", dir, "demo:/")
	origin := w.origin(t)
	w.edge(t, "e1", true)

	wantVerb(t, exitOK, "  /a/b \\(1\\).txt\n  /a/index.html\n  /index.html\nwould push to demo: 3 created, 0 replaced, 0 unchanged, 0 failed; 8 B\n", "^$",
		"push", dir, "--site", "demo", "--exclude", ".git", "--dry-run")
	if got := w.purged(t); got != nil {
		t.Fatalf("a dry run has purged %q", got)
	}
	wantVerb(t, exitOK, "pushed to demo: 3 created, 0 replaced, 0 unchanged, 0 failed; 8 B\npurged 5 URLs on 1 nodes\n  http://demo.example:8080/a/b%20\\(1\\).txt\n.*", "^$",
		"push", dir, "--site", "demo", "--exclude", ".git")
	first := []string{"demo /", "demo /a/", "demo /a/b%20(1).txt", "demo /a/index.html", "demo /index.html"}
	if got := w.purged(t); !slices.Equal(got, first) {
		t.Fatalf("purged %q", got)
	}
	if got := served(t, origin, "demo.example", "/a/"); got != "<p>a" {
		t.Fatalf("/a/ is %q", got)
	}

	// What has not changed is neither sent nor purged.
	wantVerb(t, exitOK, "pushed to demo: 0 created, 0 replaced, 3 unchanged, 0 failed; 0 B\n", "^$", "push", dir, "demo:/", "--exclude", ".git")
	file := filepath.Join(dir, "a/b (1).txt")
	if err := os.WriteFile(file, []byte("b2"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := runVerb(t, "push", dir, "demo:/", "--exclude", ".git", "--json")
	var s pushSummary
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitOK {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	if s.Site != "demo" || s.Replaced != 1 || s.Unchanged != 2 || s.Bytes != 2 || s.Purged != 1 || s.Purge == nil || !s.Purge.Complete ||
		s.Origin != origin || len(s.Files) != 3 || !slices.Equal(s.URLs, []string{"http://demo.example:8080/a/b%20(1).txt"}) {
		t.Fatalf("summary %s", out)
	}

	// One file, to a path, to a directory, and by flags; without a purge.
	wantVerb(t, exitOK, "pushed to demo: 1 created.*\n  /x.txt\n", "^$", "push", file, "demo:/x.txt", "--no-purge", "--origin", origin, "--cache-control", "no-cache")
	wantVerb(t, exitOK, "pushed .*\n  /d/b%20\\(1\\).txt\n", "^$", "push", file, "demo:/d/", "--no-purge")
	wantVerb(t, exitOK, "pushed .*\n  /e/b%20\\(1\\).txt\n", "^$", "push", file, "--site", "demo", "--prefix", "e", "--no-purge")
	if got := w.purged(t); len(got) != len(first)+1 {
		t.Fatalf("purged %q", got)
	}
	if got := served(t, origin, "www.demo.example", "/e/b%20(1).txt"); got != "b2" {
		t.Fatalf("/e/… is %q", got)
	}
}

func TestPushVerbInBatches(t *testing.T) {
	w := newVerbsWorld(t)
	site := verbFile(t, "demo.yaml", "site: demo\nhosts: [\"*.demo.example\"]\n")
	wantVerb(t, exitOK, ".*", "", "site", "apply", site)
	w.origin(t)
	w.edge(t, "e1", true)
	const n = command.MaxScopes + 10
	dir := t.TempDir()
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", i)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantVerb(t, exitOK, fmt.Sprintf("pushed to demo: %d created.*\npurged %d URLs on 1 nodes\n  http://www.demo.example:8080/0.txt\n.*", n, n), "^$", "push", dir, "demo:/")
	if got := w.purged(t); len(got) != n {
		t.Fatalf("purged %d URLs", len(got))
	}
}

func TestPushVerbThatCannot(t *testing.T) {
	w := newVerbsWorld(t)
	wantVerb(t, exitOK, ".*", "", "site", "apply", verbFile(t, "demo.yaml", "site: demo\nhosts: [demo.example]\n"))
	origin := w.origin(t)
	file := verbFile(t, "a.txt", "a")
	for _, tt := range []struct {
		name string
		code int
		err  string
		args []string
	}{
		{"nothing", exitUsage, "takes a file or a directory", nil},
		{"too much", exitUsage, "takes a file or a directory", []string{file, "demo:/", "x"}},
		{"no place", exitUsage, "say where to", []string{file}},
		{"two places", exitUsage, "not both", []string{file, "demo:/", "--site", "demo"}},
		{"not a place", exitUsage, "SITE:/PATH", []string{file, "demo"}},
		{"relative path", exitUsage, "SITE:/PATH", []string{file, "demo:x"}},
		{"bad path", exitUsage, "bad path", []string{file, "demo:/../x"}},
		{"no file", exitNotFound, "no such file", []string{file + "x", "demo:/"}},
		{"bad pattern", exitUsage, "--exclude", []string{filepath.Dir(file), "demo:/", "--exclude", "["}},
		{"bad origin", exitUsage, "--origin", []string{file, "demo:/", "--origin", "localhost"}},
		{"empty directory", exitError, "no files", []string{t.TempDir(), "demo:/"}},
		{"unknown site", exitNotFound, "freshet site apply", []string{file, "none:/"}},
		{"wrong token", exitDenied, "not authorised", []string{file, "demo:/", "--origin", origin, "--token-file", verbFile(t, "token", "0123456789abcdef")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantVerb(t, tt.code, "", tt.err, append([]string{"push"}, tt.args...)...)
		})
	}
	t.Run("link out of the directory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink(file, filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		wantVerb(t, exitError, "", "nothing was pushed.*points out of the tree", "push", dir, "demo:/")
	})
	t.Run("file that cannot be stored", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"good", strings.Repeat("ä", 20)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// A proxy that keeps one file from coming through.
		proxy := partProxy(t, origin)
		wantVerb(t, exitPartial, "failed: /ä+: no\npushed to demo: 1 created, 0 replaced, 0 unchanged, 1 failed.*", "1 of 2 files", "push", dir, "demo:/", "--origin", proxy, "--no-purge")
	})
	t.Run("node that does not apply the purge", func(t *testing.T) {
		w.edge(t, "deaf", false)
		wantVerb(t, exitPartial, "pushed to demo: 1 created.*", "deaf \\(late\\)", "push", file, "demo:/late.txt")
	})
}

// partProxy passes everything on to an origin but what is not ASCII.
func partProxy(t *testing.T, origin string) string {
	t.Helper()
	target, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "ä") {
			w.WriteHeader(http.StatusInsufficientStorage)
			io.WriteString(w, `{"detail":"no"}`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
