package edge

import (
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/site"
)

// A document that gives a site's responses other keys, or another origin, comes with a purge
// of the site. But it comes another way than the purge: a node that has it later, since it
// cannot read the cluster's store just then or has begun with what it knew last, has fetched
// by the old document what the purge does not cover. So each node disowns that itself.

// disown makes untrue what is stored, or being fetched, of sites that are rekeyed by now.
func (e *Edge) disown(before, now *site.Snapshot) {
	for _, doc := range now.Sites() {
		if was := before.ByName(doc.Site); was != nil && was != doc && site.Rekeyed(was, doc) {
			e.table.Touch(response.HashScope(command.Scope{Kind: command.ScopeSite, Site: doc.Site}))
			e.log.Info("site has other keys or another origin, what is stored of it is invalidated", "site", doc.Site)
		}
	}
}

// isDisowned reports whether the fill goes by a document that is so no more: disown may have
// come before it, so that it looks true.
func (f *fill) isDisowned() bool {
	doc := f.edge.sites.Load().snapshot.ByName(f.doc.Site)
	return doc != f.doc && (doc == nil || site.Rekeyed(f.doc, doc))
}
