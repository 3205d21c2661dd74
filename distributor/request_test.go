package distributor

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"freshet/distributor/client"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
	"freshet/internal/site"
)

// twoSites is a snapshot of the sites demo and shop.
func twoSites(t *testing.T) *site.Snapshot {
	t.Helper()
	var docs []*site.Document
	for _, text := range []string{demoSite, "site: shop\nhosts: [shop.example]\n"} {
		doc, err := site.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	return site.NewSnapshot(1, docs)
}

func TestCommandsOfRequests(t *testing.T) {
	snap := twoSites(t)
	matching := func(site string, p predicate.Match) command.Scope {
		return command.Scope{Kind: command.ScopeMatch, Site: site, Match: &p}
	}
	for name, test := range map[string]struct {
		req  client.CommandRequest
		want command.Command
	}{
		"every scope of a purge": {
			client.CommandRequest{
				Kind: "purge", URLs: []string{"http://demo.example/a?b#c", "http://x.demo.example/a?b"}, Keys: []string{"demo\ndemo.example/a\n+scheme https"},
				Prefixes: []string{"http://Shop.example:8080/a/b/"}, Tags: []client.Tag{{Site: "demo", Tag: "t 1"}, {Site: "shop", Tag: "t 1"}},
				Sites: []string{"shop"}, All: true, Confirm: "everything", NoStore: "1m0.5s",
			},
			command.Command{Kind: command.Purge, NoStore: 61, Scopes: []command.Scope{
				{Kind: command.ScopeURL, Site: "demo", Value: "/a?b"}, {Kind: command.ScopeKey, Site: "demo", Value: "demo\ndemo.example/a\n+scheme https"},
				{Kind: command.ScopePrefix, Site: "shop", Value: "/a/b/"}, {Kind: command.ScopeTag, Site: "demo", Value: "t 1"},
				{Kind: command.ScopeTag, Site: "shop", Value: "t 1"}, {Kind: command.ScopeSite, Site: "shop"}, {Kind: command.ScopeAll},
			}},
		},
		"invalidate": {
			client.CommandRequest{Kind: "invalidate", Tags: []client.Tag{{Site: "demo", Tag: "t"}}},
			command.Command{Kind: command.Invalidate, Scopes: []command.Scope{{Kind: command.ScopeTag, Site: "demo", Value: "t"}}},
		},
		"refresh": {
			client.CommandRequest{Kind: "refresh", URLs: []string{"https://DEMO.example:8443/"}, Keys: []string{"demo\n/a"}},
			command.Command{Kind: command.Refresh, Scopes: []command.Scope{
				{Kind: command.ScopeURL, Site: "demo", Value: "/", Base: "https://demo.example:8443"}, {Kind: command.ScopeKey, Site: "demo", Value: "demo\n/a"},
			}},
		},
		"prefetch": {
			client.CommandRequest{Kind: "prefetch", URLs: []string{"http://demo.example"}, For: &client.Target{PoP: "ams1"}},
			command.Command{Kind: command.Prefetch, For: command.Target{Role: "edge", PoP: "ams1"}, Scopes: []command.Scope{
				{Kind: command.ScopeURL, Site: "demo", Value: "/", Base: "http://demo.example"},
			}},
		},
		"prefetch by mids": {
			client.CommandRequest{Kind: "prefetch", URLs: []string{"http://demo.example"}, For: &client.Target{Role: "mid"}},
			command.Command{Kind: command.Prefetch, For: command.Target{Role: "mid"}, Scopes: []command.Scope{
				{Kind: command.ScopeURL, Site: "demo", Value: "/", Base: "http://demo.example"},
			}},
		},
		"ban of a site": {
			client.CommandRequest{Kind: "ban", Soft: true, Match: []client.Match{{Site: "demo", PathRE: "^/a", Headers: []client.MatchHeader{{Name: "X-A", Value: "b*", ValueRE: "c"}}}}},
			command.Command{Kind: command.Ban, Soft: true, Scopes: []command.Scope{
				matching("demo", predicate.Match{PathRE: "^/a", Headers: []predicate.Header{{Name: "X-A", Value: "b*", ValueRE: "c"}}}),
			}},
		},
		"ban of hosts": {
			client.CommandRequest{Kind: "ban", NoStore: "10m", Match: []client.Match{{Host: "*.Example", Path: "/a*"}}},
			command.Command{Kind: command.Ban, NoStore: 600, Scopes: []command.Scope{
				matching("demo", predicate.Match{Host: "*.example", Path: "/a*"}), matching("shop", predicate.Match{Host: "*.example", Path: "/a*"}),
			}},
		},
		"ban of one host": {
			client.CommandRequest{Kind: "ban", Match: []client.Match{{Host: "any.demo.example", Path: "/a*"}}},
			command.Command{Kind: command.Ban, Scopes: []command.Scope{matching("demo", predicate.Match{Host: "any.demo.example", Path: "/a*"})}},
		},
		"ban of all sites": {
			client.CommandRequest{Kind: "ban", Confirm: "everything", Match: []client.Match{{Path: "/a*"}}},
			command.Command{Kind: command.Ban, Scopes: []command.Scope{matching("", predicate.Match{Path: "/a*"})}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, mistakes := commandOf(snap, test.req)
			if len(mistakes) > 0 {
				t.Fatal(mistakes)
			}
			test.want.Version = command.Version
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v\nwant %+v", got, test.want)
			}
			got.ID, got.At = command.NewID(), past(0).At
			if _, err := command.Encode(got); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMistakesOfRequests: every mistake is named with its place, all of them at once.
func TestMistakesOfRequests(t *testing.T) {
	snap := twoSites(t)
	for name, test := range map[string]struct {
		req  client.CommandRequest
		want []string // location: part of the message
	}{
		"each item": {
			client.CommandRequest{
				Kind: "purge", URLs: []string{"http://demo.example/", "/a", "http://other.example/"}, Keys: []string{"demo", "other\n/a", "demo\n/a\x00"},
				Prefixes: []string{"http://demo.example/a", "http://demo.example/a/?b/", "http://demo.example/" + strings.Repeat("a/", 20), "ftp://demo.example/"},
				Tags:     []client.Tag{{Site: "", Tag: "t"}, {Site: "demo", Tag: ""}, {Site: "demo", Tag: "a\nb"}},
				Sites:    []string{"demo", "moon"},
			},
			[]string{
				"body.urls[1]: http://", "body.urls[2]: unknown host other.example", "body.keys[0]: freshet explain", "body.keys[1]: unknown site",
				"body.keys[2]: control", "body.prefixes[0]: ends in a slash", "body.prefixes[1]: query", "body.prefixes[2]: at most 16 slashes",
				"body.prefixes[3]: http://", "body.tags[0]: unknown site", "body.tags[1]: 1 to 1024 bytes", "body.tags[2]: control", "body.sites[1]: moon",
			},
		},
		"everything unconfirmed": {client.CommandRequest{Kind: "invalidate", All: true}, []string{"body.confirm: everything"}},
		"nothing":                {client.CommandRequest{Kind: "purge"}, []string{"body: urls, keys, prefixes, tags, sites or all"}},
		"nothing to refresh":     {client.CommandRequest{Kind: "refresh"}, []string{"body: name urls or keys"}},
		"nothing to ban":         {client.CommandRequest{Kind: "ban"}, []string{"body: name match"}},
		"refresh of a site":      {client.CommandRequest{Kind: "refresh", Sites: []string{"demo"}}, []string{"body.sites[0]: a refresh takes no site, but urls or keys"}},
		"prefetch of a tag":      {client.CommandRequest{Kind: "prefetch", Tags: []client.Tag{{Site: "demo", Tag: "t"}}}, []string{"body.tags[0]: a prefetch takes no tag, but urls"}},
		"ban of a URL":           {client.CommandRequest{Kind: "ban", URLs: []string{"http://demo.example/"}}, []string{"body.urls[0]: a ban takes no url, but match"}},
		"purge of a predicate":   {client.CommandRequest{Kind: "purge", Match: []client.Match{{Site: "demo", Path: "/a*"}}}, []string{"body.match[0]: a purge takes no match"}},
		"predicates": {
			client.CommandRequest{Kind: "ban", Match: []client.Match{{Site: "demo"}, {Site: "moon", Path: "/a"}, {Host: "*.moon", Path: "/a"}, {Path: "/a*"}, {Site: "demo", PathRE: "("}}},
			[]string{"body.match[0]: names neither", "body.match[1]: unknown site", "body.match[2]: unknown host *.moon", "body.match[3]: confirmed", "body.match[4]: missing closing"},
		},
		"options": {
			client.CommandRequest{Kind: "invalidate", Sites: []string{"demo"}, Soft: true, NoStore: "10m", For: &client.Target{}},
			[]string{"body.no_store: not soft", "body.soft: invalidate", "body.for: prefetch"},
		},
		"no_store of nothing": {client.CommandRequest{Kind: "purge", Sites: []string{"demo"}, NoStore: "0s"}, []string{"body.no_store: 10m"}},
		"no_store too long":   {client.CommandRequest{Kind: "purge", Sites: []string{"demo"}, NoStore: "721h"}, []string{"body.no_store: 720h"}},
		"no_store of no sort": {client.CommandRequest{Kind: "purge", Sites: []string{"demo"}, NoStore: "soon"}, []string{"body.no_store: soon"}},
		"soft ban, no_store":  {client.CommandRequest{Kind: "ban", Soft: true, NoStore: "1m", Match: []client.Match{{Site: "demo", Path: "/a"}}}, []string{"body.no_store: not soft"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, mistakes := commandOf(snap, test.req)
			if len(mistakes) != len(test.want) {
				t.Fatalf("%d mistakes, want %d: %v", len(mistakes), len(test.want), mistakes)
			}
			for i, m := range mistakes {
				location, words, _ := strings.Cut(test.want[i], ": ")
				if m.location != location || !strings.Contains(m.err.Error(), words) {
					t.Errorf("%s: %v; want %s", m.location, m.err, test.want[i])
				}
			}
		})
	}
}

func TestTooManyScopes(t *testing.T) {
	req := client.CommandRequest{Kind: "purge"}
	for i := range command.MaxScopes/2 + 1 {
		req.URLs = append(req.URLs, fmt.Sprintf("http://demo.example/%d", i))
		req.Tags = append(req.Tags, client.Tag{Site: "demo", Tag: fmt.Sprint(i)})
	}
	_, mistakes := commandOf(twoSites(t), req)
	if len(mistakes) != 1 || mistakes[0].location != "body" || !strings.Contains(mistakes[0].err.Error(), "502 things, at most 500") || errors.Is(mistakes[0].err, errUnknown) {
		t.Errorf("%v", mistakes)
	}
}
