package node

import (
	"freshet/internal/cluster"
)

// Known reports whether the node has an identity.
func (f *File) Known() bool { return f.Identity != (Identity{}) }

// identity reports what is missing of an identity, and of what stands on it.
func (c checker) identity() {
	if c.Known() {
		for _, part := range []struct{ name, file, what string }{
			{"ca", c.Identity.CA, "the certificate of the cluster's CA"},
			{"cert", c.Identity.Cert, "the certificate of this node"},
			{"key", c.Identity.Key, "the key of the certificate"},
		} {
			if part.file == "" {
				c.report.Mistake("identity."+part.name, "is missing: the file with %s, from freshet ca issue", part.what)
			}
		}
	}
	if len(c.Tier) == 0 {
		asked := c.Role == cluster.Mid || c.Role == cluster.Edge && c.Cache.Siblings
		if asked && c.Known() && !c.Identity.SecretToo && !c.Alone() && c.report.Valid("tier") {
			c.report.Mistake("tier", "is missing: with an identity other nodes are known on those addresses alone, such as ['10.0.1.30:7443']")
		}
		return
	}
	switch {
	case c.Role == cluster.Router || c.Role == cluster.Distributor:
		c.report.Mistake("tier", "is for the roles edge, mid and origin; this is the role %s", c.Role)
	case c.Alone():
		c.report.Mistake("tier", "is for a node of a cluster: with cache.upstream there is none")
	case !c.Known() && c.report.Valid("identity"):
		c.report.Mistake("identity", "is missing: other nodes are served under tier by certificates of the cluster's CA")
	}
}
