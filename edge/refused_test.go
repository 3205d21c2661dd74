package edge

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"freshet/internal/command"
)

// TestTagsOfWhatWasRefused: an edge that holds a dead copy, and gets from a mid that lags
// what is dead by another tag, asks the second time for what is true of that tag. To a HEAD,
// the answer to which is not stored: nothing else remembers its tags.
func TestTagsOfWhatWasRefused(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startTree(t)
	publish := func(version int, tag string) {
		x.origin.set(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("Surrogate-Key", tag)
			w.Header().Set("X-Version", strconv.Itoa(version))
			fmt.Fprintf(w, "%d %d", version, version)
		})
	}
	publish(1, "one")
	e1.want(t, "/w", 1)
	x.applied(x.purge("/w"), mid, e1, e2)
	publish(2, "two")
	e2.want(t, "/w", 2) // the mid has it now, and e1 what it had
	mid.log.shut(true)
	defer mid.log.shut(false)
	tagged := command.Command{
		Version: command.Version, ID: command.NewID(), Kind: command.Purge,
		Scopes: []command.Scope{{Kind: command.ScopeTag, Site: "test", Value: "two"}},
	}
	x.applied(x.command(tagged), e1)
	publish(3, "three")
	before := mid.counts().Requests
	if a := do(t, "HEAD", e1.url+"/w", nil, "Host: www.test"); a.header.Get("X-Version") != "3" {
		t.Errorf("version %q, want 3 (%s)", a.header.Get("X-Version"), a.header.Get("Cache-Status"))
	}
	if n := mid.counts().Requests - before; n != 2 {
		t.Errorf("the mid was asked %d times, want 2: for what it has, and for what is true", n)
	}
}
