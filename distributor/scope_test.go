package distributor

import (
	"bufio"
	"errors"
	"net/http"
	"strings"
	"testing"

	"freshet/internal/command"
	"freshet/internal/site"
)

func testSites(t testing.TB) *site.Snapshot {
	var docs []*site.Document
	for _, text := range []string{
		"site: demo\nhosts: [demo.example]\n",
		"site: wide\nhosts: [\"*.wide.example\", 192.0.2.1]\n",
	} {
		doc, err := site.Parse("test", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	return site.NewSnapshot(1, docs)
}

func TestURLScope(t *testing.T) {
	tests := []struct {
		name, url   string
		site, value string // "" for an error
		err         error
	}{
		{name: "path and query", url: "http://demo.example/a/b?c=d&e", site: "demo", value: "/a/b?c=d&e"},
		{name: "empty path", url: "https://demo.example", site: "demo", value: "/"},
		{name: "empty path with query", url: "http://demo.example?x=1", site: "demo", value: "/?x=1"},
		{name: "empty query", url: "http://demo.example/a?", site: "demo", value: "/a?"},
		{name: "fragment", url: "http://demo.example/a#b?c", site: "demo", value: "/a"},
		{name: "fragment at once", url: "http://demo.example#b/c", site: "demo", value: "/"},
		{name: "percent-encoding stays", url: "http://demo.example/%7Ea%2Fb/%e4?%20", site: "demo", value: "/%7Ea%2Fb/%e4?%20"},
		{name: "dots and slashes stay", url: "http://demo.example//a/../b//", site: "demo", value: "//a/../b//"},
		{name: "odd characters stay", url: "http://demo.example/a|b{c}", site: "demo", value: "/a|b{c}"},
		{name: "another URL in the query", url: "http://demo.example?u=http://x/y", site: "demo", value: "/?u=http://x/y"},
		{name: "case, port and final dot of the host", url: "HTTP://Demo.Example.:8080/A", site: "demo", value: "/A"},
		{name: "suffix", url: "http://a.b.wide.example/", site: "wide", value: "/"},
		{name: "unknown host", url: "http://wide.example/", err: errUnknown},
		{name: "unknown address", url: "http://[2001:db8::1]:80/", err: errUnknown},
		{name: "no scheme", url: "demo.example/a", err: errBadURL},
		{name: "other scheme", url: "ftp://demo.example/a", err: errBadURL},
		{name: "opaque", url: "http:demo.example", err: errBadURL},
		{name: "no host", url: "http:///a", err: errBadURL},
		{name: "user", url: "http://me:secret@demo.example/", err: errBadURL},
		{name: "space", url: "http://demo.example/a b", err: errBadURL},
		{name: "not ASCII", url: "http://demo.example/ä", err: errBadURL},
		{name: "line feed", url: "http://demo.example/a\nb", err: errBadURL},
		{name: "bad escape", url: "http://demo.example/%zz", err: errBadURL},
		{name: "bad port", url: "http://demo.example:x/", err: errBadURL},
		{name: "empty", url: "", err: errBadURL},
		{name: "too long", url: "http://demo.example/" + strings.Repeat("a", command.MaxScopeBytes), err: errBadURL},
	}
	snap := testSites(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, _, err := urlScope(snap, test.url)
			want := command.Scope{Kind: command.ScopeURL, Site: test.site, Value: test.value}
			if test.err != nil {
				want = command.Scope{}
			}
			if got != want || !errors.Is(err, test.err) {
				t.Errorf("%+v, %v; want %+v, %v", got, err, want, test.err)
			}
		})
	}
}

func TestKnownNamesAFew(t *testing.T) {
	names := strings.Split("a b c d e f g h i j", " ")
	if got := known("hosts", names); got != "; known hosts: a, b, c, d, e, f, g, h and 2 more" {
		t.Error(got)
	}
	if got := known("hosts", nil); !strings.Contains(got, "site apply") {
		t.Error(got)
	}
}

// Whatever URL is taken: a client that asks for it sends the scope's value as its
// request target, so the value must be one that HTTP carries unchanged, and must fit
// into a command.
func FuzzURLScope(f *testing.F) {
	for _, seed := range []string{
		"http://demo.example/a?b#c", "https://demo.example", "http://demo.example?x", "http://DEMO.example.:80//a/../%2f",
		"http://a.wide.example/?u=http://x/#", "http://[::1]/", "http://demo.example\\@x/", "http:/demo.example", "//demo.example/",
	} {
		f.Add(seed)
	}
	snap := testSites(f)
	f.Fuzz(func(t *testing.T, raw string) {
		s, _, err := urlScope(snap, raw)
		if err != nil {
			if !errors.Is(err, errBadURL) && !errors.Is(err, errUnknown) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		c := command.Command{Version: command.Version, ID: "x", Kind: command.Purge, Scopes: []command.Scope{s}}
		c.At = c.At.AddDate(2000, 0, 0)
		if err := c.Validate(); err != nil {
			t.Fatalf("%q gives %+v: %v", raw, s, err)
		}
		head := "GET " + s.Value + " HTTP/1.1\r\nHost: demo.example\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		if err != nil || r.RequestURI != s.Value {
			t.Fatalf("%q gives %q, which a server reads as %v, %v", raw, s.Value, r, err)
		}
		if again, _, err := urlScope(snap, "http://demo.example"+s.Value); err != nil || again.Value != s.Value {
			t.Fatalf("%q gives %q, and that %+v, %v", raw, s.Value, again, err)
		}
	})
}
