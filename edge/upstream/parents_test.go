package upstream

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/ring"
	"freshet/internal/site"
)

func member(name string, role cluster.Role, region string, ready bool) cluster.Node {
	n := cluster.Node{Name: name, Role: role, Region: region, Ready: ready, Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}}
	if role == cluster.Mid {
		n.Tier = 1
	}
	return n
}

func order(p *Parents, s *site.Document, key string) (names []string) {
	for _, parent := range p.For(s, Question{Key: key}) {
		names = append(names, parent.Name)
	}
	return names
}

func TestTheOrderOfParents(t *testing.T) {
	own, outside := &site.Document{Site: "s"}, &site.Document{Site: "s", Origin: site.Origin{URL: "http://o.example"}}
	nodes := []cluster.Node{
		member("mid-far", cluster.Mid, "far", true), member("mid-near", cluster.Mid, "near", true), member("mid-sick", cluster.Mid, "near", false),
		member("origin", cluster.Origin, "far", true), member("edge", cluster.Edge, "near", true), {Name: "mid-without-address", Role: cluster.Mid, Tier: 1, Ready: true},
	}
	parents := func(role cluster.Role) *Parents {
		c := Config{Role: role, Name: "self", PoP: "p", Region: "near", Loads: ring.NewLoads(time.Now)}
		if role == cluster.Mid {
			c.Tier = 1
		}
		return NewParents(c)
	}
	edge, mid := parents(cluster.Edge), parents(cluster.Mid)
	edge.Update(nodes)
	mid.Update(nodes)
	for _, tc := range []struct {
		name    string
		parents *Parents
		site    *site.Document
		want    []string
	}{
		{"of an edge", edge, own, []string{"mid-near", "mid-far", "origin", "mid-sick"}},
		{"of an edge, with an outside origin", edge, outside, []string{"mid-near", "mid-far", "o.example", "mid-sick"}},
		{"of a mid", mid, own, []string{"origin"}},
		{"of a mid, with an outside origin", mid, outside, []string{"o.example"}},
		{"of a node that knows nobody", parents(cluster.Edge), own, nil},
	} {
		if got := order(tc.parents, tc.site, "k"); !slices.Equal(got, tc.want) {
			t.Errorf("parents %s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestNewsThatAllParentsAreGoneIsDistrusted(t *testing.T) {
	p := NewParents(Config{Role: cluster.Edge, Region: "r", Loads: ring.NewLoads(time.Now)})
	p.Update([]cluster.Node{member("mid", cluster.Mid, "r", true), member("origin", cluster.Origin, "r", true)})
	own := &site.Document{Site: "s"}
	for range 2 {
		p.Update([]cluster.Node{member("edge", cluster.Edge, "r", true)})
		if got := order(p, own, "k"); !slices.Equal(got, []string{"mid", "origin"}) {
			t.Errorf("parents %v, want those last known", got)
		}
	}
	p.Update([]cluster.Node{member("origin", cluster.Origin, "r", true)})
	if got := order(p, own, "k"); !slices.Equal(got, []string{"origin"}) {
		t.Errorf("parents %v after news of one", got)
	}
}

// TestAHotKeyIsAskedOfSeveralParents: what is asked of a parent, and what is still under
// way there, has its next requests go to others.
func TestAHotKeyIsAskedOfSeveralParents(t *testing.T) {
	var nodes []cluster.Node
	for _, name := range []string{"m1", "m2", "m3"} {
		nodes = append(nodes, member(name, cluster.Mid, "r", true))
	}
	doc := &site.Document{Site: "s"}
	for name, ends := range map[string]bool{"many": true, "slow": false} {
		loads := ring.NewLoads(time.Now)
		p := NewParents(Config{Role: cluster.Edge, Region: "r", Loads: loads})
		p.Update(nodes)
		asked := map[string]int{}
		for range 1000 {
			to := p.For(doc, Question{Key: "key"})[0].Name
			asked[to]++
			if end := loads.Begin("key", to); ends {
				end()
			}
		}
		for _, n := range nodes {
			if share := float64(asked[n.Name]) / 1000 * 3; share < 0.75 || share > 1.25 {
				t.Errorf("%s: %s is asked %.2f of the mean", name, n.Name, share)
			}
		}
	}
}
