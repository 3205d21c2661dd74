package edge

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/bus/memory"
	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
	"freshet/internal/command"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

// silent is a cluster that tells of some things only when it is let.
type silent struct {
	*local.Cluster
	sites, members chan struct{}
}

func (s *silent) List(ctx context.Context, prefix string, after uint64) (cluster.Pairs, error) {
	if prefix == cluster.SitesCurrent {
		select {
		case <-s.sites:
		case <-ctx.Done():
			return cluster.Pairs{}, ctx.Err()
		}
	}
	return s.Cluster.List(ctx, prefix, after)
}

func (s *silent) Nodes(ctx context.Context, after uint64) (cluster.Nodes, error) {
	select {
	case <-s.members:
	case <-ctx.Done():
		return cluster.Nodes{}, ctx.Err()
	}
	return s.Cluster.Nodes(ctx, after)
}

// TestReadyOnceItCanServe: an edge says what it lacks, one thing after the other, and is not
// ready before it lacks nothing, nor when it drains.
func TestReadyOnceItCanServe(t *testing.T) {
	t.Parallel()
	own, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := &silent{own, make(chan struct{}), make(chan struct{})}
	b := memory.New()
	t.Cleanup(func() { b.Close(); own.Close() })
	health := telemetry.NewHealth()
	e, err := New(node.Env{
		File: &node.File{
			Role: cluster.Edge, Name: "e1", PoP: "p", Region: "r", Listen: []string{"127.0.0.1:0"}, Admin: "127.0.0.1:1",
			Drain: document.Duration(5 * time.Second), Cluster: node.Cluster{Secret: document.NewSecret(tierSecret)}, Cache: node.Cache{Memory: 1 << 20},
		},
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: health, Cluster: c, Bus: b,
	})
	if err != nil {
		t.Fatal(err)
	}
	lacks := func(want ...string) {
		t.Helper()
		var got []string
		defer func() {
			if t.Failed() {
				t.Logf("it lacks %q, want %q", got, want)
			}
		}()
		waitFor(t, func() bool {
			got = nil
			for _, r := range health.Results() {
				if r.Err != nil && !r.Warning {
					got = append(got, r.Name)
				}
			}
			slices.Sort(got)
			return slices.Equal(got, want)
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	lacks("command log", "listeners", "members", "sites")
	lacks("command log", "members", "sites") // clients are accepted, and told, if that lasts
	close(c.members)
	lacks("command log", "sites")
	close(c.sites)
	lacks("command log")
	b.Replace(command.FirstOf(1))
	lacks()
	nodes, err := c.Nodes(ctx, 0)
	if err != nil || len(nodes.List) != 1 {
		t.Fatalf("members: %v, %v", nodes.List, err)
	}
	url := "http://" + nodes.List[0].Addrs[0].String()
	if a := get(t, url+"/", "Host: no.site"); a.status != http.StatusMisdirectedRequest {
		t.Errorf("a ready edge answers %d", a.status)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := health.Err(); err == nil || !strings.Contains(err.Error(), "draining") {
		t.Errorf("after its end: %v", err)
	}
}
