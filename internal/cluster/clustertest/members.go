package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/cluster"
)

func members(t *testing.T, h Harness) {
	tests := map[string]func(*testing.T, fixture){
		"announced node is seen as it is": seenAsItIs,
		"list is sorted and complete":     sortedAndComplete,
		"health is followed":              healthFollowed,
		"unready from the start":          unreadyFromTheStart,
		"withdrawn when ctx ends":         withdrawn,
		"watch blocks and wakes":          nodesWatch,
		"prefixes are apart":              nodesApart,
		"invalid nodes are refused":       invalidNodes,
		"close ends a watch":              closeEndsWatch,
	}
	if h.Cut != nil {
		tests["silent death"] = silentDeath
	}
	parts(t, h, tests)
}

func healthy() error { return nil }

func edge(name string) cluster.Node {
	return cluster.Node{
		Name: name, Role: cluster.Edge, PoP: "fra1", Region: "eu",
		Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.11:8080")},
		Admin: "127.0.0.1:9101", Version: "1.2.3",
	}
}

// announce keeps a node known until the returned task is stopped.
func announce(t *testing.T, c cluster.Cluster, node cluster.Node, health func() error) *task {
	t.Helper()
	return start(t, func(ctx context.Context) error { return c.Announce(ctx, node, health) })
}

// awaitNodes watches until cond holds.
func awaitNodes(t *testing.T, c cluster.Cluster, what string, cond func([]cluster.Node) bool) cluster.Nodes {
	t.Helper()
	ctx := within(t)
	var nodes cluster.Nodes
	for {
		next, err := c.Nodes(ctx, nodes.Version)
		if err != nil {
			t.Fatalf("waiting until %s: %v; last seen: %+v", what, err, nodes.List)
		}
		if nodes = next; cond(nodes.List) {
			return nodes
		}
	}
}

// is tells whether name is there and ready as said, with reason in its Reason.
func is(name string, ready bool, reason string) func([]cluster.Node) bool {
	return func(nodes []cluster.Node) bool {
		return slices.ContainsFunc(nodes, func(n cluster.Node) bool {
			return n.Name == name && n.Ready == ready && strings.Contains(n.Reason, reason)
		})
	}
}

func seenAsItIs(t *testing.T, f fixture) {
	c := f.open(t)
	node := edge("e1")
	node.Role, node.Tier = cluster.Mid, 16
	for i := range 15 {
		node.Addrs = append(node.Addrs, netip.MustParseAddrPort(fmt.Sprintf("[2001:db8:1111:2222:3333:4444:5555:%x]:65535", 0x6660+i)))
	}
	node.TierAddrs = slices.Clone(node.Addrs)
	announce(t, c, node, healthy)
	nodes := awaitNodes(t, f.open(t), "e1 is ready", is("e1", true, ""))
	node.Ready = true
	if want := []cluster.Node{node}; !reflect.DeepEqual(nodes.List, want) {
		t.Errorf("nodes\n%+v, want\n%+v", nodes.List, want)
	}
}

func sortedAndComplete(t *testing.T, f fixture) {
	c := f.open(t)
	names := []string{"e2", "d1", "e1", "m1", "r1"}
	for i, role := range []cluster.Role{cluster.Edge, cluster.Distributor, cluster.Edge, cluster.Mid, cluster.Router} {
		node := edge(names[i])
		node.Role = role
		announce(t, c, node, healthy)
	}
	nodes := awaitNodes(t, c, "five nodes are ready", func(list []cluster.Node) bool {
		return len(list) == 5 && !slices.ContainsFunc(list, func(n cluster.Node) bool { return !n.Ready })
	})
	var got []string
	for _, n := range nodes.List {
		got = append(got, n.Name+" "+string(n.Role))
	}
	if want := []string{"d1 distributor", "e1 edge", "e2 edge", "m1 mid", "r1 router"}; !slices.Equal(got, want) {
		t.Errorf("nodes %q, want %q", got, want)
	}
}

func healthFollowed(t *testing.T, f fixture) {
	c := f.open(t)
	var sick atomic.Bool
	announce(t, c, edge("e1"), func() error {
		if sick.Load() {
			return errors.New("disk: full")
		}
		return nil
	})
	awaitNodes(t, c, "e1 is ready", is("e1", true, ""))
	sick.Store(true)
	awaitNodes(t, c, "e1 is not ready", is("e1", false, "disk: full"))
	sick.Store(false)
	awaitNodes(t, c, "e1 is ready again", is("e1", true, ""))
}

func unreadyFromTheStart(t *testing.T, f fixture) {
	c := f.open(t)
	announce(t, c, edge("e1"), func() error { return errors.New("log: not yet replayed") })
	awaitNodes(t, c, "e1 says why it is not ready", is("e1", false, "log: not yet replayed"))
}

func withdrawn(t *testing.T, f fixture) {
	c := f.open(t)
	e1 := announce(t, c, edge("e1"), healthy)
	announce(t, c, edge("e2"), healthy)
	awaitNodes(t, c, "e1 is ready", is("e1", true, ""))
	awaitNodes(t, c, "e2 is ready", is("e2", true, ""))
	must(t, e1.stop(t))
	awaitNodes(t, c, "only e2 is there", func(list []cluster.Node) bool { return len(list) == 1 && list[0].Name == "e2" })
	announce(t, c, edge("e1"), healthy)
	awaitNodes(t, c, "e1 is back", is("e1", true, ""))
}

func nodesWatch(t *testing.T, f fixture) {
	c := f.open(t)
	ctx := within(t)
	empty, err := c.Nodes(ctx, 0)
	must(t, err)
	if empty.Version == 0 || len(empty.List) != 0 {
		t.Fatalf("nothing announced: %+v", empty)
	}
	again, err := c.Nodes(ctx, 0)
	must(t, err)
	if again.Version != empty.Version {
		t.Errorf("the same list has versions %d and %d", empty.Version, again.Version)
	}
	short, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	_, err = c.Nodes(short, empty.Version)
	mustBe(t, err, context.DeadlineExceeded)

	woken := start(t, func(ctx context.Context) error {
		nodes, err := c.Nodes(ctx, empty.Version)
		if err == nil && len(nodes.List) == 0 {
			err = errors.New("woken by nothing")
		}
		return err
	})
	announce(t, c, edge("e1"), healthy)
	must(t, woken.wait(t))
	nodes := awaitNodes(t, c, "e1 is ready", is("e1", true, ""))
	if nodes.Version == empty.Version {
		t.Error("another list has the same version")
	}
}

func nodesApart(t *testing.T, f fixture) {
	c, other := f.open(t), f.Open(t, f.prefix+"-x")
	announce(t, c, edge("e1"), healthy)
	announce(t, other, edge("e2"), healthy)
	awaitNodes(t, c, "e1 is ready, alone", func(list []cluster.Node) bool { return len(list) == 1 && is("e1", true, "")(list) })
	awaitNodes(t, other, "e2 is ready, alone", func(list []cluster.Node) bool { return len(list) == 1 && is("e2", true, "")(list) })
}

func invalidNodes(t *testing.T, f fixture) {
	c := f.open(t)
	tests := map[string]func(*cluster.Node){
		"no name":           func(n *cluster.Node) { n.Name = "" },
		"upper case":        func(n *cluster.Node) { n.Name = "E1" },
		"slash":             func(n *cluster.Node) { n.Name = "a/b" },
		"long name":         func(n *cluster.Node) { n.Name = strings.Repeat("a", 64) },
		"unknown role":      func(n *cluster.Node) { n.Role = "cache" },
		"long pop":          func(n *cluster.Node) { n.PoP = strings.Repeat("a", 300) },
		"control sequence":  func(n *cluster.Node) { n.Region = "\x1b[0m" },
		"missing address":   func(n *cluster.Node) { n.Addrs = append(n.Addrs, netip.AddrPort{}) },
		"missing tier addr": func(n *cluster.Node) { n.TierAddrs = append(n.TierAddrs, netip.AddrPort{}) },
		"tier of an edge":   func(n *cluster.Node) { n.Tier = 1 },
		"tier too high":     func(n *cluster.Node) { n.Role, n.Tier = cluster.Mid, 17 },
		"many addresses":    func(n *cluster.Node) { n.Addrs = slices.Repeat(n.Addrs, 17) },
	}
	for name, spoil := range tests {
		node := edge("e1")
		spoil(&node)
		if err := c.Announce(within(t), node, healthy); !errors.Is(err, cluster.ErrInvalid) {
			t.Errorf("%s: error %v, want %v", name, err, cluster.ErrInvalid)
		}
	}
}

func closeEndsWatch(t *testing.T, f fixture) {
	c := f.open(t)
	nodes, err := c.Nodes(within(t), 0)
	must(t, err)
	pairs, err := c.List(within(t), "", 0)
	must(t, err)
	blocked := start(t, func(ctx context.Context) error {
		_, err := c.Nodes(ctx, nodes.Version)
		return err
	})
	listed := start(t, func(ctx context.Context) error {
		_, err := c.List(ctx, "", pairs.Version)
		return err
	})
	time.Sleep(quiet) // either way of it is right, but this one shall be seen as well
	must(t, c.Close())
	mustBe(t, blocked.wait(t), cluster.ErrClosed)
	mustBe(t, listed.wait(t), cluster.ErrClosed)
	_, err = c.Get(within(t), "a")
	mustBe(t, err, cluster.ErrClosed)
}

func silentDeath(t *testing.T, f fixture) {
	dying, c := f.open(t), f.open(t)
	announce(t, dying, edge("e1"), healthy)
	awaitNodes(t, c, "e1 is ready", is("e1", true, ""))
	f.Cut(t, dying)
	cut := time.Now()
	awaitNodes(t, c, "e1 is not ready", is("e1", false, ""))
	if took := time.Since(cut); took > cluster.HealthTTL+time.Second {
		t.Errorf("a silent node counted as ready for %v", took)
	}
	// Another process takes its place.
	announce(t, c, edge("e1"), healthy)
	awaitNodes(t, c, "e1 is ready again", is("e1", true, ""))
}
