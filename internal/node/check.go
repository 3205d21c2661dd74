package node

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"freshet/internal/cluster"
	"freshet/internal/document"
)

// Least lengths of secrets, in characters.
const (
	minToken    = 16
	minPassword = 16
	MinSecret   = 32 // of the cluster
)

// check reports what the tags cannot say.
func (f *File) check(report *document.Report) {
	c := checker{f, report}
	c.names()
	c.addresses()
	if report.Valid("role") {
		c.role()
		c.https()
		c.identity()
		c.cluster()
		c.bus()
	}
	c.disks()
	c.zones()
}

type checker struct {
	*File
	report *document.Report
}

// found reports err, if there is one, at path.
func (c checker) found(path string, err error) {
	if err != nil {
		c.report.Mistake(path, "%v", err)
	}
}

func (c checker) names() {
	c.found("name", document.CheckName(c.Name))
	c.found("pop", document.CheckName(c.PoP))
	c.found("region", document.CheckName(c.Region))
}

func (c checker) addresses() {
	seen := make(map[string]string)
	local := func(path, address string) {
		c.found(path, document.CheckHostPort(address, true))
		if first := seen[address]; first != "" && !strings.HasSuffix(address, ":0") {
			c.report.Mistake(path, "%s is taken by %s", address, first)
		}
		seen[address] = path
	}
	for i, address := range c.Listen {
		local(document.Index("listen", i), address)
	}
	for i, address := range c.HTTPS.Listen {
		local(document.Index("https.listen", i), address)
	}
	for i, address := range c.Tier {
		local(document.Index("tier", i), address)
	}
	local("admin", c.Admin)
	if c.embedsBus() {
		local("bus.listen", c.Bus.Listen)
	}
	c.reached("listen", c.Listen, "advertise", c.Advertise)
	c.reached("tier", c.Tier, "tier_advertise", c.TierAdvertise)
}

// reached reports addresses under which others would not reach this node.
func (c checker) reached(path string, local []string, advertised string, others []string) {
	for i, address := range others {
		addr, err := netip.ParseAddrPort(address)
		if err != nil || addr.Addr().IsUnspecified() || addr.Port() == 0 {
			c.report.Mistake(document.Index(advertised, i), "%q is no address that others can reach: write ip:port", address)
		}
	}
	if len(others) > 0 || c.Alone() {
		return
	}
	for i, address := range local {
		addr, err := netip.ParseAddrPort(address)
		if err != nil || addr.Addr().IsUnspecified() {
			c.report.Mistake(document.Index(path, i), "%q names no single address: say under %s where others reach it", address, advertised)
		}
	}
}

// role reports sections and values that the role needs, or has no use for.
func (c checker) role() {
	if !c.caches() && c.report.Has("cache") {
		c.report.Mistake("cache", "is for the roles edge and mid; this is the role %s", c.Role)
	}
	if c.Role != cluster.Router && c.report.Has("router") {
		c.report.Mistake("router", "is for the role router; this is the role %s", c.Role)
	}
	if c.Cache.Upstream != "" {
		c.found("cache.upstream", document.CheckBaseURL(c.Cache.Upstream))
	}
	c.tier()
	if c.Role == cluster.Origin || c.Role == cluster.Distributor {
		c.length("token", c.Token, minToken, "the role "+string(c.Role)+" needs it")
	}
	if c.Data == "" && (c.Role == cluster.Origin || c.embedsBus()) {
		c.report.Mistake("data", "is missing: the role %s needs a directory for what it keeps", c.Role)
	}
}

// maxParents is how many parents a node file may name.
const maxParents = 64

// tier reports what is wrong with a cache's place among the others.
func (c checker) tier() {
	if c.Cache.Tier > 0 && c.Role == cluster.Edge {
		c.report.Mistake("cache.tier", "is for the role mid: an edge is below all of them")
	}
	if c.Cache.Siblings && c.Role == cluster.Mid {
		c.report.Mistake("cache.siblings", "is for the role edge")
	}
	if n := len(c.Cache.Parents); n > maxParents {
		c.report.Mistake("cache.parents", "has %d entries, at most %d are allowed", n, maxParents)
	}
	for i, parent := range c.Cache.Parents {
		at := document.Index("cache.parents", i)
		c.found(at, document.CheckBaseURL(parent))
		if slices.Contains(c.Cache.Parents[:i], parent) {
			c.report.Mistake(at, "%s is listed twice", parent)
		}
	}
	c.prefixes("cache.purge_from", c.Cache.Purge)
	if !c.Alone() && c.report.Has("cache.purge_from") {
		c.report.Mistake("cache.purge_from", "goes with cache.upstream: a cluster is purged by its management API")
	}
	if c.Alone() {
		for _, field := range []string{"parents", "siblings"} {
			if c.report.Has("cache." + field) {
				c.report.Mistake("cache."+field, "is for a node of a cluster: cache.upstream is all that this one asks")
			}
		}
	}
}

// disks reports directories of the cache that are not apart: each counts its own files
// only, and takes no other's for its own. Links are not followed.
func (c checker) disks() {
	inside := func(dir, other string) bool {
		rel, err := filepath.Rel(other, dir)
		return err == nil && filepath.IsLocal(rel)
	}
	if !c.caches() {
		return // there is nothing to be right about
	}
	for i, d := range c.Cache.Disk {
		at := document.Index("cache.disk", i) + ".dir"
		for j, other := range c.Cache.Disk[:i] {
			if d.Dir == "" || other.Dir == "" {
				continue // said to be missing
			}
			first := document.Index("cache.disk", j)
			dir, otherDir := filepath.Clean(d.Dir), filepath.Clean(other.Dir)
			switch {
			case dir == otherDir:
				c.report.Mistake(at, "%s is taken by %s", d.Dir, first)
			case inside(dir, otherDir):
				c.report.Mistake(at, "%s lies within %s, that of %s: choose directories side by side", d.Dir, other.Dir, first)
			case inside(otherDir, dir):
				c.report.Mistake(at, "%s contains %s, that of %s: choose directories side by side", d.Dir, other.Dir, first)
			}
		}
		if d.Dir != "" && c.Data != "" && inside(c.Data, d.Dir) {
			c.report.Mistake(at, "%s contains data, %s: choose a directory within that, or beside it", d.Dir, c.Data)
		}
	}
}

func (c checker) cluster() {
	if c.Alone() {
		return
	}
	c.tls("cluster.tls", c.Cluster.TLS)
	if c.Cluster.Kind != "consul" {
		return
	}
	c.found("cluster.address", document.CheckHostPort(c.Cluster.Address, false))
	c.found("cluster.prefix", document.CheckName(c.Cluster.Prefix))
	c.length("cluster.secret", c.Cluster.Secret, MinSecret, "a cluster on Consul needs it")
}

// embedsBus reports whether this is a distributor with a bus of its own.
func (f *File) embedsBus() bool { return f.Role == cluster.Distributor && f.Bus.Address == "" }

func (c checker) bus() {
	if c.embedsBus() {
		if !c.Known() || c.Identity.SecretToo {
			c.length("bus.password", c.Bus.Password, minPassword, "the other roles show it to the embedded bus")
		}
	} else if c.Bus.Address == "" && !c.Alone() {
		c.report.Mistake("bus.address", "is missing: the role %s reaches the bus there, such as nats://10.0.0.1:7071", c.Role)
	}
	if c.Bus.Address != "" {
		c.busAddresses()
	}
	c.tls("bus.tls", c.Bus.TLS)
}

// busAddresses checks without repeating the text, in which a password may stand.
func (c checker) busAddresses() {
	for address := range strings.SplitSeq(c.Bus.Address, ",") {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.User != nil || u.Opaque != "" ||
			u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			c.report.Mistake("bus.address", "this is no list of buses: write nats://host:port, several separated by commas; the user and the password have fields of their own")
			return
		}
		c.found("bus.address", document.CheckHostPort(u.Host, false))
	}
}

// length reports a secret that is missing or too short.
func (c checker) length(path string, s document.Secret, least int, why string) {
	switch {
	case s.Value() == "" && c.inside(path):
	case s.Value() == "":
		c.report.Mistake(path, "is missing: %s, at least %d characters", why, least)
	case len(s.Value()) < least:
		c.report.Mistake(path, "is too short: at least %d characters", least)
	}
}

// inside reports whether something was found wrong within the secret at path, so that
// it only seems to be missing.
func (c checker) inside(path string) bool {
	return !c.report.Valid(path+".file") || !c.report.Valid(path+".env") || !c.report.Valid(path+".value")
}

func (c checker) tls(path string, t TLS) {
	if t.Cert != "" && t.Key == "" {
		c.report.Mistake(path+".key", "is missing: the certificate in cert needs it")
	}
	if t.Key != "" && t.Cert == "" {
		c.report.Mistake(path+".cert", "is missing: the key in key belongs to one")
	}
}

func (c checker) zones() {
	seen := make(map[string]bool)
	for i, zone := range c.Router.Zones {
		at := document.Index("router.zones", i)
		apex := strings.TrimSuffix(zone.Name, ".")
		c.found(at+".name", document.CheckHost(apex))
		if seen[apex] {
			c.report.Mistake(at+".name", "%s is listed twice", apex)
		}
		seen[apex] = true
		if zone.Hostmaster != "" && !isMail(zone.Hostmaster) {
			c.report.Mistake(at+".hostmaster", "%q is no mail address", zone.Hostmaster)
		}
		for j, server := range zone.Nameservers {
			c.nameserver(document.Index(at+".nameservers", j), apex, server)
		}
	}
}

func (c checker) nameserver(at, apex string, server Nameserver) {
	name := strings.TrimSuffix(server.Name, ".")
	c.found(at+".name", document.CheckHost(name))
	if len(server.Addrs) == 0 && (name == apex || strings.HasSuffix(name, "."+apex)) {
		c.report.Mistake(at+".addrs", "is missing: %s lies in the zone, so the zone must say its addresses", name)
	}
	for i, addr := range server.Addrs {
		if net.ParseIP(addr) == nil {
			c.report.Mistake(document.Index(at+".addrs", i), "%q is no IP address", addr)
		}
	}
}

// isHTTPS recognises the URL of something on a server that TLS vouches for.
func isHTTPS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Fragment == ""
}

// isMail recognises local@host.
func isMail(text string) bool {
	local, host, ok := strings.Cut(text, "@")
	return ok && local != "" && !strings.ContainsAny(local, " \t\"") && document.CheckHost(host) == nil
}
