package origin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet/internal/access"
	"freshet/internal/document"
	"freshet/internal/run"
	"freshet/internal/telemetry"
	"freshet/origin/catalog"
)

func TestNewRefuses(t *testing.T) {
	env, _ := newEnv(t, "")
	if _, err := New(env); err == nil || !strings.Contains(err.Error(), "data is not set") {
		t.Errorf("without data: %v", err)
	}
	env, _ = newEnv(t, t.TempDir())
	env.File.Token = document.NewSecret("short")
	if _, err := New(env); !errors.Is(err, access.ErrToken) {
		t.Errorf("with a short token: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	first := start(t)
	taken := strings.TrimPrefix(first.url, "http://")
	for name, tt := range map[string]struct {
		listen, data string
		want         error
	}{
		"port in use":  {taken, t.TempDir(), run.ErrAddressInUse},
		"store in use": {"127.0.0.1:0", first.env.File.Data, catalog.ErrInUse},
	} {
		t.Run(name, func(t *testing.T) {
			env, _ := newEnv(t, tt.data)
			env.File.Listen = []string{tt.listen}
			o, err := New(env)
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Run(t.Context()); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
		})
	}
	env, _ := newEnv(t, t.TempDir())
	env.File.Listen = []string{":0"}
	o, err := New(env)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "advertise") {
		t.Fatalf("without an address for the others: %v", err)
	}
}

func TestObjectsOutliveTheProcess(t *testing.T) {
	data := t.TempDir()
	env, reg := newEnv(t, data)
	putSite(t, env, "demo", testSite)
	o := startEnv(t, env, reg)
	put := o.put("/a", "content", "Surrogate-Key", "k").want(t, 201)
	if err := o.stop(); err != nil {
		t.Fatal(err)
	}
	env, reg = newEnv(t, data)
	putSite(t, env, "demo", testSite)
	o = startEnv(t, env, reg)
	got := o.do("GET", "demo.test", "/a", "").want(t, 200)
	if got.body != "content" || got.Header.Get("Etag") != put.Header.Get("Etag") || got.Header.Get("Surrogate-Key") != "k" {
		t.Fatalf("served %q %v", got.body, got.Header)
	}
}

func TestClusterSeesItReadyAndGone(t *testing.T) {
	o := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	wait := func(n int, ready bool) {
		t.Helper()
		for after := uint64(0); ; {
			nodes, err := o.env.Cluster.Nodes(ctx, after)
			if err != nil {
				t.Fatalf("%d nodes, ready %v: %v", n, ready, err)
			}
			if len(nodes.List) == n && (n == 0 || nodes.List[0].Ready == ready) {
				return
			}
			after = nodes.Version
		}
	}
	wait(1, true)
	if err := o.stop(); err != nil {
		t.Fatal(err)
	}
	wait(0, false)
	if err := o.env.Health.Err(); !errors.Is(err, telemetry.ErrNotReady) {
		t.Fatalf("health is %v after the end", err)
	}
}

func TestDrainFinishesAnUpload(t *testing.T) {
	o := start(t)
	conn := o.dial("/a.txt", "Content-Length: 8\r\n")
	defer conn.Close()
	if _, err := io.WriteString(conn, "half"); err != nil {
		t.Fatal(err)
	}
	o.wantStaged(1)
	stopped := make(chan error, 1)
	go func() { stopped <- o.stop() }()
	addr := strings.TrimPrefix(o.url, "http://")
	o.until("nothing is accepted any more", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if _, err := io.WriteString(conn, "done"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 201 || !resp.Close {
		t.Fatalf("answer %v, %v", resp, err)
	}
	resp.Body.Close()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

func TestUnknownSitesAreNotDenied(t *testing.T) {
	o := start(t)
	known := o.origin.sites.Swap(nil) // as before the cluster has answered for the first time
	for _, tt := range []struct{ host, path string }{{"demo.test", "/a"}, {"", api + "/a"}} {
		if a := o.do("GET", tt.host, tt.path, "").want(t, 503); a.Header.Get("Retry-After") == "" {
			t.Errorf("%s%s: 503 without Retry-After", tt.host, tt.path)
		}
	}
	if err := o.env.Health.Err(); !errors.Is(err, telemetry.ErrNotReady) {
		t.Errorf("health is %v", err)
	}
	o.origin.sites.Store(known)
}

func TestMetrics(t *testing.T) {
	o := start(t)
	o.put("/a", "12345").want(t, 201)
	o.put("/b", "12345").want(t, 201)
	o.put("/..", "x").want(t, 400)
	o.do("GET", "demo.test", "/a", "").want(t, 200)
	o.do("GET", "demo.test", "/none", "").want(t, 404)
	o.do("DELETE", "", api+"/b", "").want(t, 204)
	for _, tt := range []struct {
		kind, class string
		want        float64
	}{{kindPut, "2xx", 2}, {kindPut, "4xx", 1}, {kindServe, "2xx", 1}, {kindServe, "4xx", 1}, {kindDelete, "2xx", 1}} {
		// The count comes after the answer.
		o.until(fmt.Sprint(tt), func() bool { return o.counted(tt.kind, tt.class) == tt.want })
	}
	families, err := o.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch m := f.GetMetric()[0]; f.GetName() {
		case "freshet_origin_stored_bytes":
			if m.GetGauge().GetValue() != 5 {
				t.Errorf("stored bytes %v", m)
			}
		case "freshet_origin_push_duration_seconds":
			if m.GetHistogram().GetSampleCount() != 2 {
				t.Errorf("pushes %v", m)
			}
		}
	}
}
