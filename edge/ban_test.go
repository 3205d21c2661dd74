package edge

import (
	"strings"
	"testing"
	"time"

	"freshet/internal/command"
	"freshet/internal/command/predicate"
)

func ban(m predicate.Match) command.Command {
	return command.Command{Kind: command.Ban, Scopes: []command.Scope{{Kind: command.ScopeMatch, Site: "test", Match: &m}}}
}

// TestBansReachEveryTier: by path, host and the header of what is stored, hard and soft,
// also through a mid that has not heard of them.
func TestBansReachEveryTier(t *testing.T) {
	t.Parallel()
	for _, lagging := range []bool{false, true} {
		for _, soft := range []bool{false, true} {
			x, mid, e1, e2 := startTree(t)
			for _, m := range []predicate.Match{
				{Path: "/t/*"},
				{PathRE: "^/t/[a-z]$"},
				{Host: "*.test", Path: "*x"},
				{Headers: []predicate.Header{{Name: "xkey", Value: "*seven"}}},
			} {
				for _, n := range []*tier{e1, e2} {
					n.want(t, "/t/x", x.origin.all()["/t/x"])
					n.want(t, "/a", 0)
				}
				version := x.origin.publish("/t/x")
				mid.log.shut(lagging)
				c := ban(m)
				c.Soft = soft
				nodes := []*tier{mid, e1, e2}
				if lagging {
					nodes = nodes[1:]
				}
				x.applied(x.command(c), nodes...)
				e1.want(t, "/t/x", version)
				e2.want(t, "/t/x", version)
				wantStatus(t, e1.want(t, "/t/x", version), "freshet-e1; hit")
				if !lagging { // while the mid lags, the edges' fence covers all that the ban may match
					wantStatus(t, e1.want(t, "/a", 0), "freshet-e1; hit")
				}
				mid.log.shut(false)
				x.applied(x.command(invalidation("/nothing")), mid, e1, e2)
			}
			// Of another site nothing is covered.
			c := ban(predicate.Match{Path: "/*"})
			c.Scopes[0].Site = "other"
			x.applied(x.command(c), mid, e1, e2)
			wantStatus(t, e1.want(t, "/t/x", x.origin.all()["/t/x"]), "freshet-e1; hit")
		}
	}
}

// TestNothingIsStoredForAWhile: what a purge covers is fetched each time until its window
// ends; requests that come together share a fetch.
func TestNothingIsStoredForAWhile(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	for _, c := range []command.Command{
		{Kind: command.Purge, Scopes: []command.Scope{{Kind: command.ScopePrefix, Site: "test", Value: "/t/"}}},
		ban(predicate.Match{Path: "/t/*"}),
	} {
		e1.want(t, "/t/x", x.origin.all()["/t/x"])
		c.NoStore = 2
		version := x.origin.publish("/t/x")
		begun := time.Now()
		x.applied(x.command(c), mid, e1, e2)
		asked := x.origin.asked.Load()
		e1.want(t, "/t/x", version)
		a := e1.want(t, "/t/x", version)
		e2.want(t, "/t/x", version)
		if got := x.origin.asked.Load() - asked; got != 3 && time.Since(begun) < 2*time.Second {
			t.Errorf("the origin was asked %d times", got)
		}
		if s := a.header.Get("Cache-Status"); strings.Contains(s, "stored") && time.Since(begun) < 2*time.Second {
			t.Errorf("%s", s)
		}
		hold := &hold{make(chan struct{}), make(chan struct{})}
		x.origin.holds.Store(hold)
		versions := make(chan int, 4)
		for range 2 {
			go func() {
				v, _ := e1.fetchVersion("/t/x", "")
				versions <- v
			}()
			<-hold.begun
		}
		close(hold.release)
		for range 2 {
			if v := <-versions; v != version {
				t.Errorf("version %d, want %d", v, version)
			}
		}
		e1.want(t, "/a", 0)
		wantStatus(t, e1.want(t, "/a", 0), "freshet-e1; hit")
		x.wait("it is stored again", func() bool {
			a := get(t, e1.url+"/t/x", "Host: www.test")
			return strings.Contains(a.header.Get("Cache-Status"), "freshet-e1; hit")
		})
		if took := time.Since(begun); took < 2*time.Second {
			t.Errorf("it was stored after %v", took)
		}
	}
}
