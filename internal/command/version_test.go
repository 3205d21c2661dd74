package command_test

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/internal/command"
	"freshet/internal/command/predicate"
	"freshet/internal/command/testdata/version1"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 5e8, time.UTC)

func of(kind command.Kind, scopes ...command.Scope) command.Command {
	return command.Command{Version: 2, ID: "c1", Kind: kind, Scopes: scopes, At: noon, By: "ops"}
}

func removing(c command.Command, noStore command.Seconds) command.Command {
	c.NoStore = noStore
	return c
}

var (
	url    = command.Scope{Kind: command.ScopeURL, Site: "demo", Value: "/a?b&c"}
	asked  = command.Scope{Kind: command.ScopeURL, Site: "demo", Value: "/a?b&c", Base: "https://www.example.com:8443"}
	key    = command.Scope{Kind: command.ScopeKey, Site: "demo", Value: "demo\nwww.example.com/a\n+header accept:x"}
	prefix = command.Scope{Kind: command.ScopePrefix, Site: "demo", Value: "/a/b/"}
	tag    = command.Scope{Kind: command.ScopeTag, Site: "demo", Value: "shelf 7"}
	whole  = command.Scope{Kind: command.ScopeSite, Site: "demo"}
	all    = command.Scope{Kind: command.ScopeAll}
	match  = command.Scope{Kind: command.ScopeMatch, Site: "demo", Match: &predicate.Match{
		Host: "*.example.com", Path: "/a/*.jpg", PathRE: `\d+\.jpg$`,
		Headers: []predicate.Header{{Name: "Content-Type", Value: "image/*"}, {Name: "X-A", ValueRE: "^b"}, {Name: "X-C"}},
	}}
	anywhere = command.Scope{Kind: command.ScopeMatch, Match: &predicate.Match{Path: "/x*"}}
)

// golden are commands, the records that stand for them in any log ever written, and what a
// node of the release that knew version 1 alone makes of them. The records are in
// testdata/records.jsonl, one a line: a log outlives the binary that wrote it.
var golden = []struct {
	name    string
	command command.Command
	old     []version1.Scope // of a purge; nil: just what the command says
}{
	{"version 1", func() command.Command {
		c := of(command.Purge, url, whole, all)
		c.Version = 1
		return c
	}(), nil},
	{"all scopes", of(command.Purge, url, key, prefix, tag, whole), []version1.Scope{{Kind: "site", Site: "demo"}}},
	{"everything beside a tag", of(command.Purge, tag, all), []version1.Scope{{Kind: "all"}}},
	{"no_store", removing(of(command.Purge, url), 600), []version1.Scope{{Kind: "site", Site: "demo"}}},
	{"invalidate", of(command.Invalidate, url, tag), []version1.Scope{{Kind: "site", Site: "demo"}}},
	{"invalidate everything", of(command.Invalidate, all), []version1.Scope{{Kind: "all"}}},
	{"refresh", of(command.Refresh, asked, key), []version1.Scope{{Kind: "site", Site: "demo"}}},
	{"prefetch", func() command.Command {
		c := of(command.Prefetch, asked)
		c.For = command.Target{Role: "mid", PoP: "ams1"}
		return c
	}(), []version1.Scope{{Kind: "site", Site: "demo"}}},
	{"ban", removing(of(command.Ban, match), 60), []version1.Scope{{Kind: "site", Site: "demo"}}},
	{"soft ban of any site", func() command.Command {
		c := of(command.Ban, anywhere, match)
		c.Soft = true
		return c
	}(), []version1.Scope{{Kind: "all"}}},
}

func records(t *testing.T) [][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/records.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) != len(golden) {
		t.Fatalf("%d records for %d commands", len(lines), len(golden))
	}
	return lines
}

func TestGoldenRecords(t *testing.T) {
	for i, record := range records(t) {
		t.Run(golden[i].name, func(t *testing.T) {
			want := golden[i].command
			if got, err := command.Decode(record); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("decoded %+v, %v, want %+v", got, err, want)
			}
			if got, err := command.Encode(want); err != nil || !bytes.Equal(got, record) {
				t.Errorf("encoded\n%s, %v, want\n%s", got, err, record)
			}
		})
	}
}

// TestVersion1Reads: a node of the release before reads what it can say just as it is
// meant, and purges no less than any other record covers.
func TestVersion1Reads(t *testing.T) {
	for i, record := range records(t) {
		t.Run(golden[i].name, func(t *testing.T) {
			c, err := version1.Decode(record)
			if c.Kind != version1.Purge || c.ID != "c1" || c.By != "ops" || !c.At.Equal(noon) {
				t.Errorf("read as %+v", c)
			}
			if golden[i].old == nil {
				var scopes []command.Scope
				for _, s := range c.Scopes {
					scopes = append(scopes, command.Scope{Kind: command.ScopeKind(s.Kind), Site: s.Site, Value: s.Value})
				}
				if err != nil || !reflect.DeepEqual(scopes, golden[i].command.Scopes) {
					t.Errorf("read as %+v, %v", c, err)
				}
				return
			}
			if !errors.Is(err, version1.ErrUnknown) || !reflect.DeepEqual(c.Scopes, golden[i].old) {
				t.Errorf("read as %+v, %v; want a purge of %v", c, err, golden[i].old)
			}
		})
	}
}

// FuzzVersions: what is written today the release before reads as the same, or as a purge
// of the sites named or of everything; and what that release has written is read as the
// same today.
func FuzzVersions(f *testing.F) {
	for _, g := range golden {
		data, err := command.Encode(g.command)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if old, err := version1.Decode(data); err == nil {
			if c, err := command.Decode(data); err != nil || !same(old, c) {
				t.Fatalf("version 1 wrote %+v, which is read as %+v, %v", old, c, err)
			}
		}
		c, err := command.Decode(data)
		if err != nil {
			return
		}
		if data, err = command.Encode(c); err != nil {
			if strings.Contains(err.Error(), "as a record") {
				return // it was shorter as it came
			}
			t.Fatal(err)
		}
		old, err := version1.Decode(data)
		if err == nil {
			if !same(old, c) {
				t.Fatalf("%+v is read by version 1 as %+v", c, old)
			}
			return
		}
		sites := make(map[string]bool)
		for _, s := range old.Scopes {
			if s.Kind == version1.ScopeAll {
				return
			}
			if s.Kind != version1.ScopeSite {
				t.Fatalf("%+v is read by version 1 as %+v", c, old)
			}
			sites[s.Site] = true
		}
		for _, s := range c.Scopes {
			if !sites[s.Site] {
				t.Fatalf("%+v is read by version 1 as %+v", c, old)
			}
		}
	})
}

func same(old version1.Command, c command.Command) bool {
	if string(old.Kind) != string(c.Kind) || old.ID != c.ID || old.By != c.By || !old.At.Equal(c.At) ||
		len(old.Scopes) != len(c.Scopes) || c.NoStore != 0 || c.Soft || c.For != (command.Target{}) {
		return false
	}
	for i, s := range old.Scopes {
		if c.Scopes[i] != (command.Scope{Kind: command.ScopeKind(s.Kind), Site: s.Site, Value: s.Value}) {
			return false
		}
	}
	return true
}

// TestOnly: what a node cannot carry out it widens to the purge of what it names.
func TestOnly(t *testing.T) {
	kinds := []command.Kind{command.Purge, command.Invalidate}
	scopes := []command.ScopeKind{command.ScopeURL, command.ScopeSite, command.ScopeAll}
	other := tag
	other.Site = "other"
	for name, test := range map[string]struct {
		c    command.Command
		want []command.Scope // nil: as it is
	}{
		"known":            {of(command.Invalidate, url, whole), nil},
		"unknown kind":     {of(command.Refresh, url), []command.Scope{whole}},
		"unknown scope":    {of(command.Purge, url, tag, other), []command.Scope{whole, {Kind: command.ScopeSite, Site: "other"}}},
		"unknown and all":  {of(command.Purge, tag, all), []command.Scope{all}},
		"of any site":      {of(command.Ban, match, anywhere), []command.Scope{all}},
		"no_store":         {removing(of(command.Purge, url), 1), []command.Scope{whole}},
		"of several sites": {of(command.Ban, match, match), []command.Scope{whole}},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := test.c.Only(kinds, scopes, false), test.c
			if test.want != nil {
				want = of(command.Purge, test.want...)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEncodeRefusesVersion2(t *testing.T) {
	change := func(c command.Command, do func(*command.Command)) command.Command {
		do(&c)
		return c
	}
	valued := func(s command.Scope, value string) command.Scope { s.Value = value; return s }
	sited := func(s command.Scope, site string) command.Scope { s.Site = site; return s }
	for name, c := range map[string]command.Command{
		"purge of a match":          of(command.Purge, match),
		"ban of a url":              of(command.Ban, url),
		"refresh of a site":         of(command.Refresh, whole),
		"purge with a base":         of(command.Purge, asked),
		"prefetch without a base":   of(command.Prefetch, url),
		"bad base":                  of(command.Refresh, command.Scope{Kind: command.ScopeURL, Site: "demo", Value: "/", Base: "https://a@b"}),
		"prefetch of a key":         of(command.Prefetch, key),
		"soft purge":                change(of(command.Purge, url), func(c *command.Command) { c.Soft = true }),
		"no_store of an invalidate": removing(of(command.Invalidate, url), 1),
		"no_store of a soft ban":    change(removing(of(command.Ban, match), 1), func(c *command.Command) { c.Soft = true }),
		"no_store for too long":     removing(of(command.Purge, url), command.MaxNoStore+1),
		"purge for a PoP":           change(of(command.Purge, url), func(c *command.Command) { c.For.PoP = "ams1" }),
		"key of another site":       of(command.Purge, sited(key, "other")),
		"key of one line":           of(command.Purge, valued(key, "demo")),
		"key without more":          of(command.Purge, valued(key, "demo\n")),
		"key with a control":        of(command.Purge, valued(key, "demo\n/a\r")),
		"prefix without its end":    of(command.Purge, valued(prefix, "/a")),
		"prefix without its start":  of(command.Purge, valued(prefix, "a/")),
		"prefix with a query":       of(command.Purge, valued(prefix, "/a?b/")),
		"prefix that is too deep":   of(command.Purge, valued(prefix, strings.Repeat("/", command.MaxBoundaries+1))),
		"empty tag":                 of(command.Purge, valued(tag, "")),
		"long tag":                  of(command.Purge, valued(tag, strings.Repeat("x", command.MaxTagBytes+1))),
		"tag of no site":            of(command.Purge, sited(tag, "")),
		"url with a predicate":      of(command.Purge, command.Scope{Kind: command.ScopeURL, Site: "demo", Value: "/", Match: match.Match}),
		"match without predicate":   of(command.Ban, command.Scope{Kind: command.ScopeMatch}),
		"match of everything":       of(command.Ban, command.Scope{Kind: command.ScopeMatch, Match: &predicate.Match{}}),
		"match with a value":        of(command.Ban, valued(match, "x")),
		"too many predicates":       of(command.Ban, slices.Repeat([]command.Scope{match}, command.MaxMatches+1)...),
		"match of a bad site":       of(command.Ban, sited(match, "De mo")),
	} {
		t.Run(name, func(t *testing.T) {
			if data, err := command.Encode(c); !errors.Is(err, command.ErrInvalid) {
				t.Errorf("encoded as %.200s, %v", data, err)
			}
		})
	}
}

func TestWhatCommandsMean(t *testing.T) {
	soft := of(command.Ban, match)
	soft.Soft = true
	for _, test := range []struct {
		c    command.Command
		hard bool
	}{
		{of(command.Purge, url), true}, {of(command.Ban, match), true}, {soft, false},
		{of(command.Invalidate, url), false}, {of(command.Refresh, url), false}, {of(command.Prefetch, url), false},
	} {
		if test.c.Hard() != test.hard {
			t.Errorf("%s, soft %t: hard %t", test.c.Kind, test.c.Soft, test.c.Hard())
		}
	}
	c := removing(of(command.Purge, url), 90)
	if got := c.NoStoreUntil(); !got.Equal(noon.Add(90 * time.Second)) {
		t.Errorf("nothing is stored until %s", got)
	}
	c.NoStore = 0
	if got := c.NoStoreUntil(); !got.IsZero() {
		t.Errorf("nothing is stored until %s", got)
	}
	for _, test := range []struct {
		target command.Target
		want   bool
	}{
		{command.Target{}, true}, {command.Target{Role: "mid"}, true}, {command.Target{PoP: "ams1"}, true},
		{command.Target{Role: "mid", PoP: "ams1"}, true}, {command.Target{Role: "edge"}, false}, {command.Target{Role: "mid", PoP: "fra1"}, false},
	} {
		if got := test.target.Includes("mid", "ams1"); got != test.want {
			t.Errorf("%+v includes: %t", test.target, got)
		}
	}
}
