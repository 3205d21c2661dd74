package consul

import (
	"cmp"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
)

// deregisterAfter is how long a node that has died without a word stays known.
const deregisterAfter = time.Hour

// Keys of a service's metadata. Consul bounds one value to 512 bytes, so that each
// address has a key of its own: addr-0 is the most preferred.
const (
	metaRole     = "role"
	metaPoP      = "pop"
	metaRegion   = "region"
	metaAdmin    = "admin"
	metaVersion  = "version"
	metaTier     = "tier" // left out where it is 0
	metaAddr     = "addr-"
	metaTierAddr = "tier-addr-"
)

// serviceID is the ID of a node's service, and of its check.
func (c *Cluster) serviceID(node string) string { return c.prefix + ":" + node }

// registration is a node as Consul is told of it. The check begins as a warning,
// which is neither ready nor, for Consul, dead; a beat follows at once.
func (c *Cluster) registration(n cluster.Node) *api.AgentServiceRegistration {
	meta := map[string]string{
		metaRole: string(n.Role), metaPoP: n.PoP, metaRegion: n.Region, metaAdmin: n.Admin, metaVersion: n.Version,
	}
	if n.Tier != 0 {
		meta[metaTier] = strconv.Itoa(n.Tier)
	}
	for i, addr := range n.Addrs {
		meta[metaAddr+strconv.Itoa(i)] = addr.String()
	}
	for i, addr := range n.TierAddrs {
		meta[metaTierAddr+strconv.Itoa(i)] = addr.String()
	}
	id := c.serviceID(n.Name)
	reg := &api.AgentServiceRegistration{
		ID: id, Name: c.prefix, Tags: []string{string(n.Role)}, Meta: meta,
		Check: &api.AgentServiceCheck{
			CheckID: id, Name: "freshet node " + n.Name, TTL: cluster.HealthTTL.String(), Status: api.HealthWarning,
			DeregisterCriticalServiceAfter: deregisterAfter.String(),
		},
	}
	if len(n.Addrs) > 0 {
		reg.Address, reg.Port = n.Addrs[0].Addr().String(), int(n.Addrs[0].Port())
	}
	return reg
}

// nodes is what Consul's answer says of the cluster's nodes. Services that are not a
// node's are left out. A name can stand there twice when a node has moved to another
// agent: the ready one counts, else the later one.
func (c *Cluster) nodes(entries []*api.ServiceEntry) []cluster.Node {
	type found struct {
		node  cluster.Node
		index uint64
	}
	byName := make(map[string]found, len(entries))
	for _, e := range entries {
		if e.Service == nil {
			continue
		}
		node, ok := c.node(e.Service, e.Checks)
		if !ok {
			continue
		}
		now, twice := byName[node.Name]
		if twice && (now.node.Ready && !node.Ready || now.node.Ready == node.Ready && now.index > e.Service.ModifyIndex) {
			continue
		}
		byName[node.Name] = found{node, e.Service.ModifyIndex}
	}
	list := make([]cluster.Node, 0, len(byName))
	for _, f := range byName {
		list = append(list, f.node)
	}
	return list
}

// node reads one service; false if it is not of a node of this cluster.
func (c *Cluster) node(s *api.AgentService, checks api.HealthChecks) (cluster.Node, bool) {
	name, ours := strings.CutPrefix(s.ID, c.prefix+":")
	if !ours {
		return cluster.Node{}, false
	}
	n := cluster.Node{
		Name: name, Role: cluster.Role(s.Meta[metaRole]), PoP: s.Meta[metaPoP], Region: s.Meta[metaRegion],
		Admin: s.Meta[metaAdmin], Version: s.Meta[metaVersion],
	}
	if text := s.Meta[metaTier]; text != "" {
		var err error
		if n.Tier, err = strconv.Atoi(text); err != nil {
			return cluster.Node{}, false
		}
	}
	var errAddrs, errTierAddrs error
	n.Addrs, errAddrs = addrs(s.Meta, metaAddr)
	n.TierAddrs, errTierAddrs = addrs(s.Meta, metaTierAddr)
	if errAddrs != nil || errTierAddrs != nil || n.Check() != nil {
		return cluster.Node{}, false
	}
	n.Ready, n.Reason = readiness(s.ID, checks)
	return n, true
}

// addrs reads the addresses whose keys begin with prefix.
func addrs(meta map[string]string, prefix string) (list []netip.AddrPort, err error) {
	for i := 0; ; i++ {
		text, ok := meta[prefix+strconv.Itoa(i)]
		if !ok {
			return list, nil
		}
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, err
		}
		list = append(list, addr)
	}
}

// readiness is what the checks of a service and of the machine that it is on say. A
// node is ready if its own check passes and none is critical: that takes in
// Consul's opinion of the machine, and its maintenance mode.
func readiness(id string, checks api.HealthChecks) (ready bool, reason string) {
	reason = "its check is missing"
	for _, check := range checks {
		switch own := check.CheckID == id; {
		case own && check.Status == api.HealthPassing:
			ready = true
		case own:
			return false, ownReason(check.Output)
		case check.Status == api.HealthCritical:
			// The operator's reason for maintenance stands in the notes.
			return false, cluster.Reason(errors.New(check.Name + ": " + cmp.Or(check.Output, check.Notes)))
		}
	}
	if ready {
		reason = ""
	}
	return ready, reason
}

// ownReason is what the output of a node's own check says.
func ownReason(output string) string {
	switch {
	case output == "":
		return "not checked yet"
	case strings.HasPrefix(output, "TTL expired"):
		return "no sign of life for " + cluster.HealthTTL.String()
	}
	return cluster.Reason(errors.New(output))
}
