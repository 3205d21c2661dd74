package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/distributor"
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

const verbsToken = "correct-horse-battery"

// verbsWorld is a distributor with an edge that applies the log, or does not.
type verbsWorld struct {
	api     string
	cluster *local.Cluster
	bus     *memory.Bus
}

func newVerbsWorld(t *testing.T) *verbsWorld {
	t.Helper()
	c, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &verbsWorld{cluster: c, bus: memory.New()}
	t.Cleanup(func() { w.bus.Close(); c.Close() })
	env := node.Env{
		File: &node.File{
			Role: cluster.Distributor, Name: "d1", Listen: []string{"127.0.0.1:0"}, Admin: "127.0.0.1:9101",
			Drain: document.Duration(5 * time.Second), Token: document.NewSecret(verbsToken),
			Cluster: node.Cluster{Secret: document.NewSecret("the secret that all nodes of a test share")},
		},
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: telemetry.NewHealth(),
		Cluster: c, Bus: w.bus, Version: "test",
	}
	d, err := distributor.New(env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the distributor is ready", env.Health.Err)
	w.api = "http://" + d.Addrs()[0].String()
	t.Setenv("FRESHET_API", w.api)
	t.Setenv("FRESHET_TOKEN", verbsToken)
	t.Setenv("FRESHET_TOKEN_FILE", "")
	return w
}

func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// edge announces an edge; with follow it reports that it has applied what there is.
func (w *verbsWorld) edge(t *testing.T, name string, follow bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	announced, followed := make(chan struct{}), make(chan struct{})
	n := cluster.Node{Name: name, Role: cluster.Edge, PoP: "p1", Region: "r1", Version: "test", Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.11:8080")}}
	go func() {
		defer close(announced)
		if err := w.cluster.Announce(ctx, n, func() error { return nil }); err != nil {
			t.Error(err)
		}
	}()
	go func() {
		defer close(followed)
		for follow && ctx.Err() == nil {
			if head, err := w.bus.Head(ctx); err == nil {
				data, _ := json.Marshal(command.Progress{Node: name, Role: "edge", Log: head.Log, Applied: head.Last})
				_ = w.bus.Publish(bus.SubjectProgress+"."+name, data)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { cancel(); <-announced; <-followed })
	eventually(t, name+" is known", func() error {
		if _, out, _ := runVerb(t, "nodes"); !strings.Contains(out, name) {
			return errors.New(out)
		}
		return nil
	})
}

// verbInput is the standard input of runVerb; nil is the test's own.
var verbInput io.Reader

// runVerb runs a command line.
func runVerb(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetIn(verbInput)
	err := root.ExecuteContext(t.Context())
	var coded *codedError
	switch {
	case errors.As(err, &coded):
		code = coded.code
	case err != nil:
		code = exitError
	}
	if err != nil {
		fmt.Fprintf(&stderr, "freshet: %v\n", err)
	}
	return code, stdout.String(), stderr.String()
}

// wantVerb runs a command line and looks at what comes of it; texts are patterns.
func wantVerb(t *testing.T, code int, out, errOut string, args ...string) {
	t.Helper()
	gotCode, gotOut, gotErr := runVerb(t, args...)
	if gotCode != code || !regexp.MustCompile(`(?s)^`+out+`$`).MatchString(gotOut) || !regexp.MustCompile(`(?s)`+errOut).MatchString(gotErr) {
		t.Errorf("freshet %s: exit code %d, want %d\nout:\n%s\nerr:\n%s", strings.Join(args, " "), gotCode, code, gotOut, gotErr)
	}
}

func verbFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSiteVerbs(t *testing.T) {
	newVerbsWorld(t)
	text := "# ours\nsite: demo\nhosts: [demo.example]\n"
	good := verbFile(t, "demo.yaml", text)
	bad := verbFile(t, "bad.yaml", "site: bad\nhosts: []\ncahce: {}\n")
	clash := verbFile(t, "clash.yaml", "site: clash\nhosts: [demo.example]\n")
	wantVerb(t, exitOK, "SITE +VERSION.*\n", "", "site", "list")
	wantVerb(t, exitOK, "site demo is at version 1 now\n", "^$", "site", "apply", good, "-m", "the first")
	wantVerb(t, exitInvalid, "site demo is at version 2 now\n", `bad\.yaml:2:\d+: .*bad\.yaml:3:1: cahce.*clash\.yaml: host demo\.example.*2 of 3`, "site", "apply", bad, good, clash)
	wantVerb(t, exitNotFound, "", "nosuch.yaml", "site", "apply", "nosuch.yaml")
	wantVerb(t, exitOK, "SITE +VERSION +HOSTS.*\ndemo +2 +demo.example .*\n", "", "site", "list")
	wantVerb(t, exitOK, regexp.QuoteMeta(text), "", "site", "show", "demo", "--version", "1")
	wantVerb(t, exitNotFound, "", "version 9", "site", "show", "demo", "--version", "9")
	wantVerb(t, exitNotFound, "", "nosuch", "site", "show", "nosuch")
	wantVerb(t, exitOK, "VERSION.*\n2 .*\n1 .* the first\n", "", "site", "history", "demo")
	wantVerb(t, exitUsage, "", "--yes", "site", "delete", "demo")
	wantVerb(t, exitOK, "site demo is deleted\n", "", "site", "delete", "demo", "--yes")
	wantVerb(t, exitNotFound, "", `unknown site "demo"`, "site", "delete", "demo", "--yes")
}

func TestPurgeVerb(t *testing.T) {
	w := newVerbsWorld(t)
	site := verbFile(t, "demo.yaml", "site: demo\nhosts: [demo.example]\n")
	wantVerb(t, exitOK, ".*", "", "site", "apply", site)
	w.edge(t, "e1", true)
	wantVerb(t, exitOK, "NODE +ROLE +POP +STATE +TOOK +REASON\ne1 +edge +p1 +applied +[0-9.]+ ms +-\npurge .* at 1\\.1: applied by 1 of 1 nodes in .*s\n", "^$", "purge", "http://demo.example/a", "http://demo.example")
	wantVerb(t, exitOK, "purge .* stands in the command log at 1\\.2\n", "^$", "purge", "--site", "demo", "--no-wait")
	wantVerb(t, exitOK, ".* at 1\\.3: .*", "^$", "purge", "--all", "--confirm", "everything")
	w.edge(t, "e2", false)
	wantVerb(t, exitPartial, ".*e1 .* applied .*e2 .* late .*applied by 1 of 2 nodes.*", "1 of 2 nodes have not applied", "purge", "--site", "demo", "--timeout", "100ms")
	wantVerb(t, exitNotFound, "", "other.example.*known hosts: demo.example", "purge", "http://other.example/")
	wantVerb(t, exitNotFound, "", "known sites: demo", "purge", "--site", "shop")
}

// With --json every verb prints JSON that the client's types read.
func TestVerbsJSON(t *testing.T) {
	w := newVerbsWorld(t)
	w.edge(t, "e1", true)
	site := verbFile(t, "demo.yaml", "site: demo\nhosts: [demo.example]\n")
	tests := []struct {
		args []string
		into any
		ok   func(v any) bool
	}{
		{[]string{"site", "apply", site}, &[]client.Site{}, func(v any) bool { return (*v.(*[]client.Site))[0].Version == 1 }},
		{[]string{"site", "list"}, &[]client.Site{}, func(v any) bool { return (*v.(*[]client.Site))[0].Name == "demo" }},
		{[]string{"site", "show", "demo"}, &client.Site{}, func(v any) bool { return v.(*client.Site).Text != "" }},
		{[]string{"site", "history", "demo"}, &[]client.Site{}, func(v any) bool { return len(*v.(*[]client.Site)) == 1 }},
		{[]string{"purge", "http://demo.example/a?b&c"}, &client.Receipt{}, func(v any) bool { return v.(*client.Receipt).Scopes[0].Value == "/a?b&c" }},
		{[]string{"nodes"}, &[]client.Node{}, func(v any) bool { return len(*v.(*[]client.Node)) == 2 }},
		{[]string{"site", "delete", "demo", "--yes"}, &map[string]string{}, func(v any) bool { return (*v.(*map[string]string))["deleted"] == "demo" }},
	}
	for _, test := range tests {
		code, out, errOut := runVerb(t, append(test.args, "--json")...)
		if err := json.Unmarshal([]byte(out), test.into); code != exitOK || err != nil || errOut != "" || !test.ok(test.into) {
			t.Errorf("%q: exit code %d, %v\n%s%s", test.args, code, err, out, errOut)
		}
	}
}

func TestStatusVerb(t *testing.T) {
	w := newVerbsWorld(t)
	eventually(t, "status is ok", func() error {
		if code, out, errOut := runVerb(t, "status"); code != exitOK {
			return errors.New(out + errOut)
		}
		return nil
	})
	wantVerb(t, exitOK, "state +ok\nleader +d1 at "+w.api+"\nlog +[0-9a-f]{16}, epoch 1, last 1\\.0\nsites +0\ndistributor +1 of 1 ready\n", "^$", "status")
	w.bus.Lose()
	eventually(t, "status is degraded", func() error {
		if code, out, errOut := runVerb(t, "status"); code != exitPartial || !strings.Contains(out, "alarm") || !strings.Contains(errOut, "degraded") {
			return errors.New(out + errOut)
		}
		return nil
	})
	w.bus.Disconnect(true)
	eventually(t, "status is down", func() error {
		if code, out, errOut := runVerb(t, "status", "--json"); code != exitError || !strings.Contains(out, `"down"`) || !strings.Contains(errOut, "is down") {
			return errors.New(out + errOut)
		}
		return nil
	})
}

func TestVerbsThatCannot(t *testing.T) {
	w := newVerbsWorld(t)
	file := verbFile(t, "token", "a-token-that-is-wrong\n")
	right := verbFile(t, "right", verbsToken+"\n")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + ln.Addr().String()
	ln.Close()
	wantVerb(t, exitDenied, "", "not authorised.*FRESHET_TOKEN", "nodes", "--token-file", file)
	wantVerb(t, exitOK, ".*", "", "nodes", "--token-file", right)
	wantVerb(t, exitError, "", closed+".*refused.*--api or FRESHET_API", "nodes", "--api", closed)
	for _, args := range [][]string{
		{"nodes", "extra"}, {"status", "extra"}, {"purge"}, {"purge", "/a"}, {"purge", "--all"}, {"purge", "--all", "--confirm", "yes"},
		{"purge", "--site", "demo", "--timeout", "1h"}, {"purge", "--site", "demo", "--timeout", "x"}, {"site", "apply"}, {"site", "show"},
		{"site", "show", "a", "b"}, {"site", "history"}, {"site", "delete", "--yes"}, {"site", "nosuch"}, {"site", "list", "x"},
		{"nodes", "--api", "127.0.0.1:7070"}, {"nodes", "--nosuch"}, {"nodes", "--token-file", filepath.Join(t.TempDir(), "nosuch")},
	} {
		wantVerb(t, exitUsage, "", "freshet: ", args...)
	}
	wantVerb(t, exitNotFound, "", `^freshet: there is no such site: unknown site "nosuch"[^\n]*\n$`, "purge", "--site", "nosuch")
	wantVerb(t, exitNotFound, "", `^freshet: unknown site "nosuch"; 'freshet site list' names all\n$`, "site", "show", "nosuch")
	wantVerb(t, exitInvalid, "", `: the document is empty\n(?s:.*)/wide:1:1: hosts: is missing(?s:.*)2 of 2 documents`, "site", "apply", verbFile(t, "empty", ""), verbFile(t, "wide", "site: wide\n"))
	wantVerb(t, exitUsage, "", `did you mean purge\?`, "pruge")
	t.Setenv("FRESHET_TOKEN", "")
	wantVerb(t, exitDenied, "", "a bearer token is needed", "nodes")
	t.Setenv("FRESHET_TOKEN_FILE", right)
	wantVerb(t, exitOK, ".*", "", "nodes")
	t.Setenv("FRESHET_API", closed)
	wantVerb(t, exitError, "", closed, "nodes")
	wantVerb(t, exitOK, ".*", "", "nodes", "--api", w.api)
}

func TestSlowAPI(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) }))
	defer srv.Close()
	wantVerb(t, exitTimeout, "", "504", "nodes", "--api", srv.URL)
}

// What nodes and documents say must not steer the terminal.
func TestPlain(t *testing.T) {
	if got := plain("a\x1b[31mb\tc\u009bd ä"); got != "a?[31mb?c?d ä" {
		t.Errorf("%q", got)
	}
}
