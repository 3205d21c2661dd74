package edge

import (
	"testing"

	"freshet/edge/response"
	"freshet/internal/cluster"
	"freshet/internal/header"
)

// TestADocumentThatComesAfterItsPurge: what a node has fetched by a site's document of
// before, though it had applied the purge that comes with the next one, is not used once it
// knows that. What changes nothing of keys and origins leaves what is stored.
func TestADocumentThatComesAfterItsPurge(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	e := x.start(cluster.Edge, "e1", tierSecret)
	old, next := startOrigin(t, cached("max-age=600", "1 1")), startOrigin(t, cached("max-age=600", "2 2"))
	x.describe("{url: '"+old.URL+"'}", e)
	x.applied(x.purge("/a"), e)
	e.want(t, "/a", 1)

	w, req := new(walk), asks(t, "GET", "/b", "Host: www.test")
	req.Host = "www.test"
	w.enlist(e.Edge, t.Context(), req, nil)
	if _, text := w.admit(); text != "" {
		t.Fatal(text)
	}

	x.describe("{url: '"+next.URL+"'}", e)
	e.want(t, "/a", 2)
	x.describe("{url: '"+next.URL+"', connect: 2s}", e)
	e.want(t, "/a", 2)
	if n := next.asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want 1: its limits are not its content", n)
	}

	// A request that was admitted before, and fetches now.
	fence := w.demand(1)
	f := w.fill("GET")
	r := &response.Response{Key: f.key, Kind: response.Content, Status: 200, Log: fence.Log, Born: e.table.Clock().Seq,
		Generation: f.generation, Scopes: f.scopes, Header: new(header.Block), Body: response.Memory("1 1")}
	r.RaiseTouches(f.touches)
	if f.keep(r); e.store.Get(f.key) != nil {
		t.Error("what was fetched by the document of before is stored")
	}
}
