package consul

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
)

func sample() cluster.Node {
	return cluster.Node{
		Name: "e1", Role: cluster.Edge, PoP: "fra1", Region: "eu", Admin: "127.0.0.1:9101", Version: "1.2.3",
		Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.11:8080"), netip.MustParseAddrPort("[::1]:8080")},
	}
}

// stored is a registration as Consul gives it back.
func stored(reg *api.AgentServiceRegistration, index uint64, status, output string) *api.ServiceEntry {
	return &api.ServiceEntry{
		Service: &api.AgentService{ID: reg.ID, Service: reg.Name, Meta: reg.Meta, ModifyIndex: index},
		Checks: api.HealthChecks{
			{CheckID: "serfHealth", Name: "Serf Health Status", Status: api.HealthPassing},
			{CheckID: reg.Check.CheckID, Status: status, Output: output},
		},
	}
}

func TestRegistrationComesBack(t *testing.T) {
	c := newCluster(t)
	n := sample()
	reg := c.registration(n)
	if reg.Address != "127.0.0.11" || reg.Port != 8080 {
		t.Errorf("address %s:%d", reg.Address, reg.Port)
	}
	got := c.nodes([]*api.ServiceEntry{stored(reg, 1, api.HealthPassing, "")})
	n.Ready = true
	if want := []cluster.Node{n}; !reflect.DeepEqual(got, want) {
		t.Errorf("nodes %+v, want %+v", got, want)
	}
}

func TestReadiness(t *testing.T) {
	own := func(status, output string) *api.HealthCheck {
		return &api.HealthCheck{CheckID: "freshet:e1", Status: status, Output: output}
	}
	other := func(status string) *api.HealthCheck {
		return &api.HealthCheck{CheckID: "serfHealth", Name: "Serf Health Status", Status: status, Output: "not live"}
	}
	tests := []struct {
		name   string
		checks api.HealthChecks
		ready  bool
		reason string
	}{
		{"passing", api.HealthChecks{own("passing", ""), other("passing")}, true, ""},
		{"its own reason", api.HealthChecks{other("passing"), own("critical", "disk: full")}, false, "disk: full"},
		{"just registered", api.HealthChecks{own("warning", "")}, false, "not checked yet"},
		{"silent", api.HealthChecks{own("critical", "TTL expired")}, false, "no sign of life for 3s"},
		{"silent after an output", api.HealthChecks{own("critical", "TTL expired (last output before timeout follows): x")}, false, "no sign of life for 3s"},
		{"machine is dead", api.HealthChecks{own("passing", ""), other("critical")}, false, "Serf Health Status: not live"},
		{"machine is dead, in the other order", api.HealthChecks{other("critical"), own("passing", "")}, false, "Serf Health Status: not live"},
		{"another check warns", api.HealthChecks{other("warning"), own("passing", "")}, true, ""},
		{"no check of its own", api.HealthChecks{other("passing")}, false, "its check is missing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ready, reason := readiness("freshet:e1", test.checks)
			if ready != test.ready || reason != test.reason {
				t.Errorf("%v %q, want %v %q", ready, reason, test.ready, test.reason)
			}
		})
	}
}

// TestMovedNode: a node that has moved to another agent stands there twice until the
// old agent forgets it.
func TestMovedNode(t *testing.T) {
	c := newCluster(t)
	reg := c.registration(sample())
	tests := []struct {
		name    string
		entries []*api.ServiceEntry
		reason  string // "" is ready
	}{
		{"ready one first", []*api.ServiceEntry{stored(reg, 9, "passing", ""), stored(reg, 10, "critical", "old")}, ""},
		{"ready one last", []*api.ServiceEntry{stored(reg, 10, "critical", "old"), stored(reg, 9, "passing", "")}, ""},
		{"neither is ready", []*api.ServiceEntry{stored(reg, 9, "critical", "old"), stored(reg, 10, "critical", "new")}, "new"},
		{"neither is ready, other order", []*api.ServiceEntry{stored(reg, 10, "critical", "new"), stored(reg, 9, "critical", "old")}, "new"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := c.nodes(test.entries)
			if len(got) != 1 || got[0].Reason != test.reason || got[0].Ready != (test.reason == "") {
				t.Errorf("nodes %+v", got)
			}
		})
	}
}

// FuzzNode reads services that anybody may have registered. What is taken for a node
// could be announced as one.
func FuzzNode(f *testing.F) {
	f.Add("freshet:e1", "edge", "fra1", "127.0.0.1:9101", "127.0.0.11:8080", "[::1]:80", "passing", "")
	f.Add("freshet:", "", "", "", "", "", "critical", "TTL expired")
	f.Add("web", "edge", "\x00", "a", "127.0.0.1", "x:1", "", "\xff")
	f.Fuzz(func(t *testing.T, id, role, pop, admin, addr0, addr1, status, output string) {
		c := &Cluster{prefix: "freshet"}
		nodes := c.nodes([]*api.ServiceEntry{{}, {
			Service: &api.AgentService{ID: id, Meta: map[string]string{
				metaRole: role, metaPoP: pop, metaAdmin: admin, metaAddr + "0": addr0, metaAddr + "1": addr1,
			}},
			Checks: api.HealthChecks{{CheckID: id, Status: status, Output: output}},
		}})
		for _, n := range nodes {
			if err := n.Check(); err != nil {
				t.Errorf("taken for a node: %v", err)
			}
			if n.Ready != (n.Reason == "") || len(n.Reason) > 512 {
				t.Errorf("ready %v, reason %q", n.Ready, n.Reason)
			}
		}
	})
}
