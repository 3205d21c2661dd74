package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/internal/command"
)

func TestNoVarySearchMakesQueriesThatMeanTheSameOne(t *testing.T) {
	for _, tc := range []struct {
		field        string
		first        string
		hits, misses []string
	}{
		{`params=("utm" "ref")`, "/a?q=1&utm=x", []string{"/a?q=1", "/a?utm=y&q=1", "/a?q=1&ref=z"}, []string{"/a?q=2", "/b?q=1"}},
		{`params, except=("q")`, "/a?q=1&x=2", []string{"/a?q=1", "/a?z&q=1"}, []string{"/a?q=2", "/a"}},
		{`key-order`, "/a?x=1&y=2", []string{"/a?y=2&x=1"}, []string{"/a?x=1", "/a?y=2&x=1&z=3"}},
		{`params`, "/a?x=1", []string{"/a", "/a?y"}, []string{"/c?x=1"}},
		{`this is (malformed`, "/a?x=1", []string{"/a?x=1"}, []string{"/a"}},
	} {
		t.Run(tc.field, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("No-Vary-Search", tc.field)
				fmt.Fprint(w, r.RequestURI)
			})
			url, _ := startLone(t, o.URL)
			get(t, url+tc.first)
			for _, target := range append(tc.hits, tc.first) {
				if a := get(t, url+target); a.body != tc.first || !strings.Contains(a.header.Get("Cache-Status"), "; hit") {
					t.Errorf("%s: %q, %s", target, a.body, a.header.Get("Cache-Status"))
				}
			}
			for _, target := range tc.misses {
				if a := get(t, url+target); a.body != target {
					t.Errorf("%s got the answer to %s", target, a.body)
				}
			}
		})
	}
}

func TestAPurgeUnderAnySpellingOfTheQueryCounts(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("No-Vary-Search", `params=("utm")`)
		fmt.Fprint(w, time.Now().UnixNano())
	})
	url, e := startLone(t, o.URL)
	first := get(t, url+"/a?utm=1")
	if get(t, url+"/a?utm=2").body != first.body {
		t.Fatal("not shared")
	}
	purge := command.Scope{Kind: command.ScopeURL, Site: "upstream", Value: "/a?utm=2"}
	e.table.Apply(e.table.Clock().Seq+1, invalidate.Effect{Scopes: []response.ScopeHash{response.HashScope(purge)}})
	if get(t, url+"/a?utm=2").body == first.body {
		t.Error("served after its purge")
	}
}
