package origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"freshet/internal/bus/memory"
	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

const (
	testToken = "a-token-for-tests-only"
	testSite  = "site: demo\nhosts: [demo.test, \"*.demo.test\"]\n"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(childMain(dir))
	}
	goleak.VerifyTestMain(m)
}

// testOrigin is a running origin over real stores and sockets.
type testOrigin struct {
	t       *testing.T
	origin  *Origin
	env     node.Env
	url     string // http://ip:port
	metrics *prometheus.Registry
	stop    func() error // ends it and returns what Run did
}

// newEnv is a node with a cluster and a bus of its own.
func newEnv(t *testing.T, data string) (node.Env, *prometheus.Registry) {
	t.Helper()
	members, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { members.Close() })
	b := memory.New()
	t.Cleanup(b.Close)
	reg := prometheus.NewRegistry()
	return node.Env{
		File: &node.File{
			Role: cluster.Origin, Name: "o1", PoP: "default", Region: "default",
			Listen: []string{"127.0.0.1:0"}, Data: data,
			Token: document.NewSecret(testToken), Drain: document.Duration(10 * time.Second),
		},
		Log:     slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Metrics: reg, Health: telemetry.NewHealth(), Cluster: members, Bus: b, Version: "test",
	}, reg
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// putSite stores a site document.
func putSite(t *testing.T, env node.Env, name, text string) {
	t.Helper()
	docs := cluster.NewDocuments(env.Cluster, cluster.SitesPrefix)
	if _, err := docs.Put(t.Context(), name, []byte(text), "test", "", cluster.AnyVersion); err != nil {
		t.Fatal(err)
	}
}

// start runs an origin with the demo site, and stops it at the end of the test.
func start(t *testing.T, change ...func(*Origin)) *testOrigin {
	t.Helper()
	env, reg := newEnv(t, t.TempDir())
	putSite(t, env, "demo", testSite)
	return startEnv(t, env, reg, change...)
}

func startEnv(t *testing.T, env node.Env, reg *prometheus.Registry, change ...func(*Origin)) *testOrigin {
	t.Helper()
	o, err := New(env)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ran error
	done := make(chan struct{})
	go func() {
		ran = o.Run(ctx)
		close(done)
	}()
	to := &testOrigin{t: t, origin: o, env: env, metrics: reg}
	to.stop = func() error {
		cancel()
		<-done
		return ran
	}
	t.Cleanup(func() {
		if err := to.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	to.url = "http://" + to.ready(done)
	return to
}

// ready waits until the origin is announced and healthy, and returns its address. (That
// the cluster has heard of its health may take a second more.)
func (to *testOrigin) ready(done <-chan struct{}) string {
	to.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() {
		select {
		case <-done: // it could not even start
			cancel()
		case <-ctx.Done():
		}
	}()
	for after := uint64(0); ; {
		nodes, err := to.env.Cluster.Nodes(ctx, after)
		if err != nil {
			to.t.Fatalf("the origin did not become ready: %v", err)
		}
		for _, n := range nodes.List {
			if n.Name == to.env.File.Name {
				to.until("the origin is healthy", func() bool { return to.env.Health.Err() == nil })
				return n.Addrs[0].String()
			}
		}
		after = nodes.Version
	}
}

// answerOf is a response with its body read.
type answerOf struct {
	*http.Response
	body string
}

// do sends a request; host "" is the origin's own, and the token is sent then. The
// header pairs may overwrite it.
func (to *testOrigin) do(method, host, path, body string, header ...string) answerOf {
	to.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, to.url+path, in)
	if err != nil {
		to.t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	} else {
		req.Header.Set("Authorization", "Bearer "+testToken)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		to.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		to.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answerOf{resp, b.String()}
}

// put puts an object of the demo site.
func (to *testOrigin) put(path, body string, header ...string) answerOf {
	to.t.Helper()
	return to.do("PUT", "", "/v1/sites/demo/objects"+path, body, header...)
}

func (a answerOf) want(t *testing.T, status int) answerOf {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d; body %s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	return a
}
