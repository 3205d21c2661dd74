package edge

import (
	"freshet/edge/policy"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/site"
)

// sites is what the edge makes of a snapshot of the sites: each document compiled.
type sites struct {
	snapshot *site.Snapshot
	compiled map[*site.Document]compiled
}

type compiled struct {
	policy *policy.Site
	keys   *site.Keys
}

// setSites takes a snapshot over. What did not change is not compiled again. A
// document that cannot be compiled, which validation has let through, is left out.
func (e *Edge) setSites(snapshot *site.Snapshot) {
	before := e.sites.Load()
	now := &sites{snapshot: snapshot, compiled: make(map[*site.Document]compiled)}
	for _, doc := range snapshot.Sites() {
		if c, ok := before.compiled[doc]; ok {
			now.compiled[doc] = c
			continue
		}
		p, err := policy.Compile(doc)
		if err != nil {
			e.log.Error("site cannot be compiled", "site", doc.Site, "err", err)
			continue
		}
		keys, err := site.CompileKeys(doc)
		if err != nil {
			e.log.Error("site cannot be compiled", "site", doc.Site, "err", err)
			continue
		}
		now.compiled[doc] = compiled{p, keys}
	}
	e.sites.Store(now)
	e.originsChanged()
	e.disown(before.snapshot, snapshot)
	if snapshot.Version() != 0 {
		e.setSited()
	}
}

// sitesKept is the version of the documents that this node goes by, and would after a
// restart; 0 while they are not kept yet.
func (e *Edge) sitesKept() uint64 {
	version := e.sites.Load().snapshot.Version()
	if !e.env.Kept.Written() {
		return 0
	}
	return version
}

// byHost finds the site that serves a host; nil if there is none.
func (s *sites) byHost(host string) *policy.Site { return s.compiled[s.snapshot.ByHost(host)].policy }

// hostsOf are the hosts of a site, as its document has them; nil if it is not known.
func (e *Edge) hostsOf(site string) []string {
	if doc := e.sites.Load().snapshot.ByName(site); doc != nil {
		return doc.Hosts
	}
	return nil
}

// scopeHashes are the marks that a command's scope sets here: a URL is purged as it
// was given and as the site's key policy reads it; a surrogate key also as a cache group
// (RFC 9875), and on what has more keys than are told apart.
func (s *sites) scopeHashes(scope command.Scope) []response.ScopeHash {
	hashes := []response.ScopeHash{response.HashScope(scope)}
	switch scope.Kind {
	case command.ScopeURL:
	case command.ScopeTag:
		group := command.Scope{Kind: response.ScopeGroup, Site: scope.Site, Value: scope.Value}
		return append(hashes, response.HashScope(group), response.HashScope(command.Scope{Kind: command.ScopeTag, Site: scope.Site}))
	default:
		return hashes
	}
	if keys := s.compiled[s.snapshot.ByName(scope.Site)].keys; keys != nil {
		if target := keys.Target(scope.Value); target != scope.Value {
			scope.Value = target
			hashes = append(hashes, response.HashScope(scope))
		}
	}
	return hashes
}
