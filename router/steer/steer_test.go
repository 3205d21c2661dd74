package steer

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"freshet/internal/cluster"
	"freshet/internal/site"
)

// member is an edge with the addresses, ready or not.
func member(name string, ready bool, addrs ...string) cluster.Node {
	node := cluster.Node{Name: name, Role: cluster.Edge, Ready: ready}
	for _, addr := range addrs {
		node.Addrs = append(node.Addrs, netip.AddrPortFrom(netip.MustParseAddr(addr), 80))
	}
	return node
}

func members(nodes ...cluster.Node) cluster.Nodes { return cluster.Nodes{List: nodes} }

// named is the names of the edges that an answer of any length may hold, sorted.
func named(s *Snapshot) []string {
	var names []string
	for _, family := range []Family{IPv4, IPv6} {
		for _, edge := range s.Steer(Query{Site: &site.Document{Site: "s"}, Family: family, Answers: 1000}) {
			if !slices.Contains(names, edge.Name) {
				names = append(names, edge.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func TestSnapshot(t *testing.T) {
	a, b := member("a", true, "192.0.2.1"), member("b", true, "192.0.2.2")
	aDown, bDown := member("a", false, "192.0.2.1"), member("b", false, "192.0.2.2")
	tests := []struct {
		name  string
		news  []cluster.Nodes
		want  []string
		ready int
		panic bool
	}{
		{"nothing is known", []cluster.Nodes{members()}, nil, 0, false},
		{"none was ever ready", []cluster.Nodes{members(aDown)}, nil, 0, false},
		{"both are ready", []cluster.Nodes{members(a, b)}, []string{"a", "b"}, 2, false},
		{"one is not ready", []cluster.Nodes{members(a, b), members(a, bDown)}, []string{"a"}, 1, false},
		{"one has withdrawn", []cluster.Nodes{members(a, b), members(b)}, []string{"b"}, 1, false},
		{"none is ready", []cluster.Nodes{members(a, b), members(aDown, bDown)}, []string{"a", "b"}, 0, true},
		{"one after the other is not ready", []cluster.Nodes{members(a, b), members(a, bDown), members(aDown, bDown)}, []string{"a"}, 0, true},
		{"one withdraws while the other is not ready", []cluster.Nodes{members(a, b), members(bDown)}, []string{"b"}, 0, true},
		{"membership is empty", []cluster.Nodes{members(a, b), members()}, []string{"a", "b"}, 0, true},
		{"membership is empty, and again", []cluster.Nodes{members(a, b), members(), members()}, []string{"a", "b"}, 0, true},
		{"the withdrawn is not named in a panic", []cluster.Nodes{members(a, b), members(b), members()}, []string{"b"}, 0, true},
		{"only strangers are members", []cluster.Nodes{members(a), members(bDown)}, []string{"a"}, 0, true},
		{"one recovers", []cluster.Nodes{members(a, b), members(aDown, bDown), members(aDown, b)}, []string{"b"}, 1, false},
		{"another role", []cluster.Nodes{members(cluster.Node{Name: "m", Role: cluster.Mid, Ready: true, Addrs: a.Addrs})}, nil, 0, false},
		{"no address", []cluster.Nodes{members(member("a", true))}, nil, 0, false},
		{"addresses that no client reaches", []cluster.Nodes{members(member("a", true, "0.0.0.0", "::", "224.0.0.1", "fe80::1%eth0"))}, nil, 0, false},
		{"the same address", []cluster.Nodes{members(a, member("b", true, "192.0.2.1"))}, []string{"a"}, 2, false},
		{"the same address, one not ready", []cluster.Nodes{members(aDown, member("b", true, "192.0.2.1"))}, []string{"b"}, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s *Snapshot
			for _, nodes := range tt.news {
				s = NewSnapshot(s, nodes)
			}
			if got := named(s); !slices.Equal(got, tt.want) {
				t.Errorf("names %v, want %v", got, tt.want)
			}
			if s.Ready() != tt.ready || s.Panic() != tt.panic {
				t.Errorf("ready %d, panic %v, want %d, %v", s.Ready(), s.Panic(), tt.ready, tt.panic)
			}
		})
	}
}

func TestPanicNamesPresentAddress(t *testing.T) {
	s := NewSnapshot(nil, members(member("a", true, "192.0.2.1")))
	s = NewSnapshot(s, members(member("a", false, "192.0.2.7")))
	got := s.Steer(Query{Site: &site.Document{Site: "s"}, Answers: 1})
	if len(got) != 1 || got[0].Addr(IPv4) != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("names %v, want a at 192.0.2.7", got)
	}
}

func TestFamilies(t *testing.T) {
	s := NewSnapshot(nil, members(
		member("four", true, "192.0.2.1", "192.0.2.9"),
		member("mapped", true, "::ffff:192.0.2.2"),
		member("six", true, "2001:db8::1"),
		member("both", true, "2001:db8::2", "192.0.2.3"),
	))
	for family, want := range map[Family][]string{
		IPv4: {"192.0.2.1", "192.0.2.2", "192.0.2.3"},
		IPv6: {"2001:db8::1", "2001:db8::2"},
	} {
		var got []string
		for _, edge := range s.Steer(Query{Site: &site.Document{Site: "s"}, Family: family, Answers: 8}) {
			got = append(got, edge.Addr(family).String())
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("family %d: %v, want %v", family, got, want)
		}
	}
}

// fleet is n ready edges.
func fleet(n int) cluster.Nodes {
	var nodes cluster.Nodes
	for i := range n {
		nodes.List = append(nodes.List, member(fmt.Sprintf("edge-%d", i), true, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)))
	}
	return nodes
}

func TestSitesPreferDifferentEdges(t *testing.T) {
	s := NewSnapshot(nil, fleet(10))
	first := make(map[string]int)
	for i := range 1000 {
		first[s.Steer(Query{Site: &site.Document{Site: fmt.Sprintf("site-%d", i)}, Answers: 2})[0].Name]++
	}
	for i := range 10 {
		if n := first[fmt.Sprintf("edge-%d", i)]; n < 60 || n > 140 {
			t.Errorf("edge-%d is preferred by %d of 1000 sites, want about 100", i, n)
		}
	}
}

func TestTurnsSpreadClients(t *testing.T) {
	s := NewSnapshot(nil, fleet(10))
	doc := &site.Document{Site: "s"}
	first := make(map[string]int)
	for turn := range uint64(30) {
		edges := s.Steer(Query{Site: doc, Answers: 3, Turn: turn})
		first[edges[0].Name]++
		if len(edges) != 3 || edges[0] == edges[1] || edges[1] == edges[2] || edges[0] == edges[2] {
			t.Fatalf("turn %d: %v", turn, edges)
		}
	}
	if len(first) != 3 {
		t.Errorf("first are %v, want three", first)
	}
	for name, n := range first {
		if n != 10 {
			t.Errorf("%s comes first %d times, want 10", name, n)
		}
	}
}

func TestLosingAnEdgeMovesOnlyItsSites(t *testing.T) {
	nodes := fleet(10)
	before := NewSnapshot(nil, nodes)
	after := NewSnapshot(before, members(nodes.List[1:]...))
	for i := range 200 {
		q := Query{Site: &site.Document{Site: fmt.Sprintf("site-%d", i)}, Answers: 2}
		was, is := before.Steer(q), after.Steer(q)
		if was[0].Name == "edge-0" {
			if is[0].Name != was[1].Name {
				t.Errorf("site-%d: first is %s, want the second of before, %s", i, is[0].Name, was[1].Name)
			}
		} else if is[0].Name != was[0].Name {
			t.Errorf("site-%d moved from %s to %s", i, was[0].Name, is[0].Name)
		}
	}
}

// TestNeverTheUnready is the promise of the package under any history of membership.
func TestNeverTheUnready(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *Snapshot
		var last []string // ready when any last was
		for step := range rapid.IntRange(1, 30).Draw(t, "steps") {
			var nodes cluster.Nodes
			ready := make(map[string]bool)
			for i := range 6 {
				name := fmt.Sprintf("e%d", i)
				switch rapid.SampledFrom([]string{"ready", "unready", "gone"}).Draw(t, name) {
				case "ready":
					ready[name] = true
					nodes.List = append(nodes.List, member(name, true, fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("fd00::%d", i+1)))
				case "unready":
					nodes.List = append(nodes.List, member(name, false, fmt.Sprintf("10.0.0.%d", i+1)))
				}
			}
			s = NewSnapshot(s, nodes)
			if len(ready) > 0 {
				last = nil
				for name := range ready {
					last = append(last, name)
				}
			}
			q := Query{
				Site:    &site.Document{Site: rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "site")},
				Family:  rapid.SampledFrom([]Family{IPv4, IPv6}).Draw(t, "family"),
				Answers: rapid.IntRange(0, 9).Draw(t, "answers"),
				Turn:    rapid.Uint64().Draw(t, "turn"),
			}
			edges := s.Steer(q)
			if s.Panic() != (len(ready) == 0 && last != nil) {
				t.Fatalf("step %d: panic is %v with %d ready", step, s.Panic(), len(ready))
			}
			if want := min(max(q.Answers, 1), len(ready)); len(ready) > 0 && len(edges) != want {
				t.Fatalf("step %d: %d edges, want %d", step, len(edges), want)
			}
			if last != nil && q.Family == IPv4 && len(edges) == 0 {
				t.Fatalf("step %d: an empty answer", step)
			}
			for _, edge := range edges {
				if len(ready) > 0 && !ready[edge.Name] {
					t.Fatalf("step %d: %s is named and not ready", step, edge.Name)
				}
				if !slices.Contains(last, edge.Name) {
					t.Fatalf("step %d: %s is named, ready last were %v", step, edge.Name, last)
				}
			}
		}
	})
}

func BenchmarkSteer(b *testing.B) {
	s := NewSnapshot(nil, fleet(1000))
	doc := &site.Document{Site: "example"}
	for turn := uint64(0); b.Loop(); turn++ {
		s.Steer(Query{Site: doc, Answers: 2, Turn: turn})
	}
}
