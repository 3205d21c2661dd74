package edge

import (
	"strings"
	"testing"

	"freshet/internal/command"
)

// TestWhatNobodyKeepsIsTested: an answer that is not stored here, to a HEAD or for one
// client alone, may come out of the cache of a mid that has not heard of a purge; that it
// is covered shows by its surrogate keys alone, when it arrives.
func TestWhatNobodyKeepsIsTested(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	for _, path := range []string{"/t/a", "/t/b"} {
		e2.want(t, path, 0)
	}
	mid.log.shut(true)
	x.origin.publish("/t/a")
	x.origin.publish("/t/b")
	tag := command.Scope{Kind: command.ScopeTag, Site: "test", Value: "one"}
	x.applied(x.command(command.Command{Kind: command.Purge, Scopes: []command.Scope{tag}}), e1, e2)
	if a := get(t, e1.url+"/t/a", "Host: www.test", "Authorization: Basic eDp5"); a.version() != 1 {
		t.Errorf("with Authorization: version %d, want 1 (%s)", a.version(), a.header.Get("Cache-Status"))
	}
	if a := do(t, "HEAD", e1.url+"/t/b", nil, "Host: www.test"); a.status != 200 || strings.Contains(a.header.Get("Cache-Status"), "freshet-m1; hit") {
		t.Errorf("HEAD: %d, %s, want what the origin says", a.status, a.header.Get("Cache-Status"))
	}
}
