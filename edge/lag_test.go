package edge

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/bus/memory"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/command/follower"
	"freshet/internal/site"
)

// lagging gives the tiers' site a policy.
func (x *tiers) lagging(cache string) {
	x.t.Helper()
	text := "site: test\nhosts: ['*']\norigin:\n  url: " + x.origin.URL + "\ncache: {" + cache + "}\n"
	docs := cluster.NewDocuments(x.cluster, cluster.SitesPrefix)
	if _, err := docs.Put(x.t.Context(), "test", []byte(text), "test", "", 1); err != nil {
		x.t.Fatal(err)
	}
}

// silent waits until a node has known nothing of the log for longer than a time.
func (x *tiers) silent(n *tier, d time.Duration) {
	x.t.Helper()
	<-time.After(d)
	x.wait(n.name+" is silent", func() bool { return n.follower.Silent(time.Now()) > d })
}

func (n *tier) ask(t *testing.T, path string, header ...string) answer {
	t.Helper()
	return get(t, n.url+path, append(header, "Host: www.test")...)
}

// TestMaxLogLag: what a node does that has been cut off for longer, and that it does as
// always before and after.
func TestMaxLogLag(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy string
		status int
		says   string
		down   int    // status while the origin is down
		then   string // what it says then
	}{
		{"serve", 200, "hit; ttl=5", 200, "detail=log-lag"},
		{"revalidate", 200, "fwd=stale; fwd-status=304; stored; detail=log-lag", 200, "detail=stale-if-error"},
		{"refuse", 503, "fwd=bypass; detail=log-lag", 503, "detail=log-lag"},
	} {
		t.Run(test.policy, func(t *testing.T) {
			t.Parallel()
			x := startTiers(t)
			x.lagging("max_log_lag: 5s, when_lagging: " + test.policy)
			n := x.start(cluster.Edge, "e1", tierSecret)
			x.origin.publish("/e")
			n.ask(t, "/e")
			if a := n.ask(t, "/e"); !strings.Contains(a.header.Get("Cache-Status"), "hit") || strings.Contains(a.header.Get("Cache-Status"), "lag") {
				t.Errorf("before: %s", a.header.Get("Cache-Status"))
			}
			n.log.shut(true)
			x.silent(n, 5*time.Second)
			a := n.ask(t, "/e")
			if a.status != test.status {
				t.Errorf("status %d, want %d: %s", a.status, test.status, a.body)
			}
			wantStatus(t, a, test.says)
			if test.policy == "serve" {
				wantStatus(t, a, "detail=log-lag")
			}
			if test.policy != "refuse" {
				a = n.ask(t, "/e", "Cache-Control: only-if-cached")
				if want := map[string]int{"serve": 200, "revalidate": 504}[test.policy]; a.status != want {
					t.Errorf("only-if-cached: %d, want %d", a.status, want)
				}
			}
			x.origin.CloseClientConnections()
			x.origin.Listener.Close()
			if a = n.ask(t, "/e"); a.status != test.down {
				t.Errorf("status %d without an origin, want %d: %s", a.status, test.down, a.body)
			}
			wantStatus(t, a, test.then)
			n.log.shut(false)
			x.wait("the log is heard", func() bool { return n.follower.Silent(time.Now()) < 5*time.Second })
			a = n.ask(t, "/e")
			wantStatus(t, a, "hit")
			if strings.Contains(a.header.Get("Cache-Status"), "lag") {
				t.Errorf("after: %s", a.header.Get("Cache-Status"))
			}
		})
	}
}

// TestPurgeLease: a node that is cut off for longer uses nothing stored without its parent's
// word, so that a purge which it has not heard of holds there, too; and with nobody to give
// that word it has nothing to say.
func TestPurgeLease(t *testing.T) {
	t.Parallel()
	for _, mid := range []bool{false, true} {
		t.Run(fmt.Sprintf("mid %t", mid), func(t *testing.T) {
			t.Parallel()
			x := startTiers(t)
			x.lagging("purge_lease: 5s")
			var m *tier
			if mid {
				m = x.start(cluster.Mid, "m1", tierSecret)
			}
			n := x.start(cluster.Edge, "e1", tierSecret)
			if mid {
				x.knowsMid(n)
			}
			paths := []string{"/e", "/w", "/plain"}
			old := map[string]int{}
			for _, path := range paths {
				old[path] = x.origin.publish(path)
				n.ask(t, path)
			}
			n.log.shut(true)
			for _, path := range paths {
				x.origin.publish(path)
				clock := x.purge(path)
				if mid {
					x.applied(clock, m)
				}
				if path != "/w" {
					n.want(t, path, old[path]) // it has not heard, and its lease goes on
				}
			}
			x.silent(n, 5*time.Second)
			for range 3 {
				for _, path := range paths {
					a := n.want(t, path, old[path]+1)
					if strings.Contains(a.header.Get("Cache-Status"), "freshet-e1; hit") {
						t.Errorf("%s: %s", path, a.header.Get("Cache-Status"))
					}
				}
			}
			if mid {
				m.log.shut(true)
				x.silent(m, 5*time.Second)
				for _, path := range paths {
					x.origin.publish(path)
					n.want(t, path, old[path]+2) // the mid asks, too
				}
				m.stop()
			}
			x.origin.CloseClientConnections()
			x.origin.Listener.Close()
			for _, path := range paths {
				if a := n.ask(t, path); a.status < 500 {
					t.Errorf("%s: %d without anybody above: %s (%s)", path, a.status, a.body, a.header.Get("Cache-Status"))
				}
			}
		})
	}
}

// TestLagOf is the rule, by the second.
func TestLagOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		defer b.Close()
		b.Replace(command.FirstOf(1))
		f, err := follower.New(follower.Config{Node: "e1", Bus: b, Applier: nothing{}, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = f.Run(ctx) })
		time.Sleep(10 * time.Second)
		stop()
		wg.Wait()
		began := time.Now().Add(-f.Silent(time.Now())) // the last that was heard
		at := func(d time.Duration) time.Time { return began.Add(d) }
		const s = site.LagServe
		for _, test := range []struct {
			policy site.Cache
			after  time.Duration
			want   lag
		}{
			{site.Cache{}, time.Hour, noLag},
			{site.Cache{MaxLogLag: 5e9, WhenLagging: s}, 5 * time.Second, noLag},
			{site.Cache{MaxLogLag: 5e9, WhenLagging: s}, 5*time.Second + 1, lagServed},
			{site.Cache{MaxLogLag: 5e9, WhenLagging: site.LagRevalidate}, 6 * time.Second, lagValidated},
			{site.Cache{MaxLogLag: 5e9, WhenLagging: site.LagRefuse}, 6 * time.Second, lagRefused},
			{site.Cache{MaxLogLag: 5e9, WhenLagging: site.LagRefuse, PurgeLease: 9e9}, 6 * time.Second, lagRefused},
			{site.Cache{MaxLogLag: 5e9, WhenLagging: site.LagRefuse, PurgeLease: 9e9}, 10 * time.Second, lagLeaseEnded},
			{site.Cache{PurgeLease: 9e9}, 9 * time.Second, noLag},
			{site.Cache{PurgeLease: 9e9}, 9*time.Second + 1, lagLeaseEnded},
		} {
			if got := lagOf(&test.policy, f, at(test.after)); got != test.want {
				t.Errorf("%+v after %s: %d, want %d", test.policy, test.after, got, test.want)
			}
		}
	})
}

// nothing carries out no command.
type nothing struct{}

func (nothing) Apply(command.Seq, command.Command) error           { return nil }
func (nothing) Restart(command.Clock, command.RestartReason) error { return nil }
