package edge

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/internal/command"
)

func (n *tier) jobsDone(kind command.Kind, result string) int {
	return int(testutil.ToFloat64(n.metrics.jobs.WithLabelValues(string(kind), result)))
}

// TestRefreshValidatesWhatIsHeld: an edge and a mid that hold a URL or key ask for it at
// once, together, and who does not hold it does nothing.
func TestRefreshValidatesWhatIsHeld(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	for i, scope := range []command.Scope{
		{Kind: command.ScopeURL, Site: "test", Value: "/e", Base: "https://www.test"},
		{Kind: command.ScopeKey, Site: "test", Value: "test\nwww.test/a"},
	} {
		path := []string{"/e", "/a"}[i]
		e1.want(t, path, 0)
		version := x.origin.publish(path)
		asked := x.origin.asked.Load()
		x.applied(x.command(command.Command{Kind: command.Refresh, Scopes: []command.Scope{scope}}), mid, e1, e2)
		x.wait("edge and mid have refreshed it", func() bool {
			return e1.jobsDone(command.Refresh, "done") == i+1 && e2.jobsDone(command.Refresh, "skipped") == i+1 &&
				mid.jobsDone(command.Refresh, "done")+mid.jobsDone(command.Refresh, "skipped") == i+1
		})
		wantStatus(t, e1.want(t, path, version), "freshet-e1; hit")
		if got := x.origin.asked.Load() - asked; got < 1 || got > 2 {
			t.Errorf("%s: the origin was asked %d times", path, got)
		}
	}
}

// TestPrefetchFetchesWhereItIsMeant: it makes no mark, and fills the caches on the way.
func TestPrefetchFetchesWhereItIsMeant(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	e1.want(t, "/held", 0)
	c := command.Command{Kind: command.Prefetch, For: command.Target{Role: "edge", PoP: "p"}}
	for _, path := range []string{"/new", "/held"} {
		c.Scopes = append(c.Scopes, command.Scope{Kind: command.ScopeURL, Site: "test", Value: path, Base: "http://www.test"})
	}
	x.applied(x.command(c), mid, e1, e2)
	x.wait("the edges have it", func() bool {
		return e1.jobsDone(command.Prefetch, "done") == 2 && e2.jobsDone(command.Prefetch, "done") == 2
	})
	if n := mid.jobsDone(command.Prefetch, "done"); n != 0 {
		t.Errorf("the mid did %d, it was not meant", n)
	}
	wantStatus(t, e1.want(t, "/new", 0), "freshet-e1; hit")
	wantStatus(t, e2.want(t, "/new", 0), "freshet-e2; hit")
	wantStatus(t, e2.want(t, "/held", 0), "freshet-e2; hit")
	wantAsked(t, x.origin, 2)
	c.For.PoP = "elsewhere"
	c.Scopes[0].Value = "/elsewhere"
	x.applied(x.command(c), mid, e1, e2)
	if n := len(e1.jobs) + e1.jobsDone(command.Prefetch, "done"); n != 2 {
		t.Errorf("%d jobs at a node that was not meant", n)
	}
}

// TestJobsAreBounded: what finds no room, or is of an old command, is left out, and nothing
// waits for it.
func TestJobsAreBounded(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	o := startOrigin(t, func(http.ResponseWriter, *http.Request) { <-hang })
	_, e := startLone(t, o.URL)
	t.Cleanup(func() { close(hang) })
	c := command.Command{Kind: command.Prefetch, At: time.Now().Add(-time.Hour)}
	for range 500 {
		c.Scopes = append(c.Scopes, command.Scope{Kind: command.ScopeURL, Site: "upstream", Value: "/a", Base: "http://h"})
	}
	e.enqueue(c)
	if len(e.jobs) != 0 {
		t.Error("an old command is carried out")
	}
	c.At = time.Now()
	for range maxJobs/500 + 2 {
		e.enqueue(c)
	}
	dropped := testutil.ToFloat64(e.metrics.jobs.WithLabelValues("prefetch", "dropped"))
	if dropped < 900 || len(e.jobs) > maxJobs {
		t.Errorf("%d queued, %v dropped", len(e.jobs), dropped)
	}
}
