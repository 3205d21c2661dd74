package edge

import (
	"strings"

	"freshet/edge/exchange"
	"freshet/edge/policy"
	"freshet/edge/response"
	"freshet/internal/httpcache"
)

// No-Vary-Search: the origin says which part of a query tells responses apart. What
// it said for a path is kept under the path's own key; responses are kept, and
// found, under the key with the canonical query.

// pathKey is the key under which it is kept what the queries of a path mean.
func pathKey(d *policy.Decision, req *exchange.Request) response.Key {
	path := *d
	path.Target, _, _ = strings.Cut(d.Target, "?")
	return response.NewKey(string(path.AppendKey(nil, req)) + "\n+search")
}

// searchKey is the key of a request with the canonical query.
func searchKey(d *policy.Decision, req *exchange.Request, n httpcache.NoVarySearch) response.Key {
	path, query, _ := strings.Cut(d.Target, "?")
	canonical := *d
	canonical.Target = path + "?" + n.Query(query)
	return response.NewKey(string(canonical.AppendKey(nil, req)) + "\n+search")
}

// searched turns the walk to the key with the canonical query, where the origin has
// said what that is.
func (w *walk) searched() bool {
	index := w.fromStore(pathKey(&w.rules, w.req))
	if index == nil || index.Kind != response.Search || !w.edge.table.Alive(index) {
		return false
	}
	w.key = searchKey(&w.rules, w.req, index.Search)
	w.fillKey = w.key.Text
	return true
}

// putSearch stores what the queries of the path mean, and returns the key of the
// response under which it is found by all queries that mean the same; the response's
// own where the origin says nothing of queries.
func (f *fill) putSearch(r *response.Response) response.Key {
	n := httpcache.ParseNoVarySearch(r.Header)
	if !n.Set || r.Kind != response.Content && r.Kind != response.Sliced {
		return f.key
	}
	index := r.WithBody(nil)
	index.Key, index.Kind, index.Header, index.Search = pathKey(f.rules, f.req), response.Search, nil, n
	index.Set, index.Complete = 0, 0
	f.edge.put(index)
	return searchKey(f.rules, f.req, n)
}
