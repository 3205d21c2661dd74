package publish

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
	"freshet/origin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testToken = "a-token-for-tests-only"

// startOrigin runs a real origin, with its stores and sockets, that has the site
// demo and one whose content comes from elsewhere. It returns the origin's URL.
func startOrigin(t *testing.T) string {
	t.Helper()
	members, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { members.Close() })
	docs := cluster.NewDocuments(members, cluster.SitesPrefix)
	for name, text := range map[string]string{
		"demo":    "site: demo\nhosts: [demo.test]\n",
		"outside": "site: outside\nhosts: [outside.test]\norigin:\n  url: http://127.0.0.1:1\n",
	} {
		if _, err := docs.Put(t.Context(), name, []byte(text), "test", "", cluster.AnyVersion); err != nil {
			t.Fatal(err)
		}
	}
	o, err := origin.New(node.Env{
		File: &node.File{
			Role: cluster.Origin, Name: "origin", Listen: []string{"127.0.0.1:0"}, Data: t.TempDir(),
			Token: document.NewSecret(testToken), Drain: document.Duration(5 * time.Second),
		},
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Health: telemetry.NewHealth(), Cluster: members, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run the origin: %v", err)
		}
	})
	wait, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	for after := uint64(0); ; {
		nodes, err := members.Nodes(wait, after)
		if err != nil {
			t.Fatalf("the origin did not become ready: %v", err)
		}
		if len(nodes.List) == 1 && nodes.List[0].Ready {
			return "http://" + nodes.List[0].Addrs[0].String()
		}
		after = nodes.Version
	}
}

func newPublisher(t *testing.T, cfg Config) *Publisher {
	t.Helper()
	if cfg.Token == "" {
		cfg.Token = testToken
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// tree writes files, name to content, and returns their directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func openTree(t *testing.T, dir, prefix string, exclude ...string) *Source {
	t.Helper()
	s, err := OpenTree(dir, prefix, exclude)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
