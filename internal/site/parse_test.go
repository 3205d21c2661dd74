package site

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/internal/document"
)

func TestParse(t *testing.T) {
	t.Parallel()
	d, err := Parse("f", []byte("site: a\nhosts: [a.example, '*.b.example', '*']\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d.Site != "a" || !slices.Equal(d.Hosts, []string{"a.example", "*.b.example", "*"}) ||
		d.Origin.Outside() || d.Origin.Requests != 256 || d.Origin.Affinity != AffinityNone || d.Cache.StaleIfError != document.Duration(24*time.Hour) {
		t.Errorf("got %+v", d)
	}
	d, err = Parse("f", []byte(`{"site": "b", "hosts": ["b"], "origin": {"url": "https://o:8443", "host": "b:80"}, "cache": {"stale_if_error": "0s", "default_lifetime": "1h"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if d.Origin.URL != "https://o:8443" || d.Origin.Host != "b:80" || d.Cache.StaleIfError != 0 || d.Cache.DefaultLifetime != document.Duration(time.Hour) {
		t.Errorf("got %+v", d)
	}
}

func TestParseMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"nothing", "cache: {}", "f:1:1: site: is missing: The site's name: lower-case letters, digits and dashes, at most 63.\n" +
			"f:1:1: hosts: is missing: Host names that clients use, all for the same content: names, *.suffix for any name below it, or * for any host."},
		{"name", "site: My Shop\nhosts: [a]", `f:1:7: site: "My Shop" is no name: lower-case letters, digits and dashes (not first or last), at most 63`},
		{"no hosts", "site: a\nhosts: []", "f:2:1: hosts: must not be empty"},
		{"upper case", "site: a\nhosts: [A.example]", `f:2:9: hosts[0]: "A.example" must be in lower case: a.example`},
		{"port", "site: a\nhosts: ['a:80']", `f:2:9: hosts[0]: "a:80" must be a host name alone, without port or scheme`},
		{"URL", "site: a\nhosts: ['http://a']", `f:2:9: hosts[0]: "http://a" must be a host name alone, without port or scheme`},
		{"final dot", "site: a\nhosts: [a.]", `f:2:9: hosts[0]: "a." must not end in a dot`},
		{"twice", "site: a\nhosts:\n- a\n- '*.a'\n- a\n- '*.a'", "f:5:3: hosts[2]: a is listed twice\nf:6:3: hosts[3]: *.a is listed twice"},
		{"twice and wrong", "site: a\nhosts: [a., a.]", "f:2:9: hosts[0]: \"a.\" must not end in a dot\nf:2:13: hosts[1]: \"a.\" must not end in a dot"},
		{"origin", "site: a\nhosts: [a]\norigin: {url: 'http://o/x'}", `f:3:15: origin.url: "http://o/x" must end after the host and port: no path, query or fragment`},
		{"host without origin", "site: a\nhosts: [a]\norigin: {host: o}", "f:3:16: origin.host: is for an origin outside the cluster: origin.url is missing"},
		{"host of the origin", "site: a\nhosts: [a]\norigin: {url: 'http://o', host: 'o:'}", `f:3:33: origin.host: "o:" has no valid port: a number up to 65535`},
		{"lifetime", "site: a\nhosts: [a]\ncache: {default_lifetime: 2y}", `f:3:27: cache.default_lifetime: "2y" is not a duration such as "10s", "5m", "1h30m" or "7d"`},
		{"no environment", "site: ${HOME}\nhosts: [a]", `f:1:7: site: "${HOME}" is no name: lower-case letters, digits and dashes (not first or last), at most 63`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("f", []byte(tt.text))
			if _, ok := err.(document.Errors); !ok || err.Error() != tt.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, tt.want)
			}
		})
	}
	for _, host := range []string{"*.", "**", "*a", "a.*", "*.*.a", "a.*.b", ".a", "a b", "[::1]", "a_b", "*.A"} {
		if _, err := Parse("f", []byte("site: a\nhosts: ['"+host+"']")); err == nil {
			t.Errorf("host %q passes", host)
		}
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	const file = "../../deploy/examples/site.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(file, text); err != nil {
		t.Error(err)
	}
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	fields, _, _ := bytes.Cut(schema, []byte(`"$defs"`))
	for _, m := range regexp.MustCompile(`(?m)^ *"([a-z_]+)": \{$`).FindAllSubmatch(fields, -1) {
		if name := string(m[1]); name != "properties" && name != "items" && !regexp.MustCompile(`\b`+name+`:`).Match(text) {
			t.Errorf("the example has no %s", name)
		}
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"$id": "urn:freshet:schema:site"`, `"stale_while_revalidate"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s", want)
		}
	}
	for _, secret := range []string{"#/$defs/secret", "#/$defs/variable"} {
		if strings.Contains(string(text), `"$ref": "`+secret) {
			t.Errorf("a site document may have a %s", secret)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("site: a\nhosts: [a.example, '*.b', '*']\norigin: {url: 'https://o:1', host: h}\ncache: {stale_if_error: 1d}\n"))
	f.Add([]byte(`{"site": "a", "hosts": ["\u00e4", "*."]}`))
	f.Add([]byte("site: a\nhosts: [a]\norigin: {servers: [{url: 'h2c://o', weight: 3}, {url: 'https://p', backup: true}], path_prefix: /%41/b, headers: {X-A: b}, affinity: cookie, s3: {region: r, access_key: k, secret_key: l}, check: {path: '/h?a', expect: 200-299}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse("f", text)
		if (d == nil) == (err == nil) {
			t.Fatalf("document %v with error %v", d, err)
		}
		if err != nil {
			return
		}
		s := NewSnapshot(1, []*Document{d})
		for _, host := range d.Hosts {
			if s.ByHost(strings.Replace(host, "*", "x", 1)) != d {
				t.Fatalf("host %q of %q is not found", host, text)
			}
		}
	})
}

// The cluster's own origin answers by the path alone, so queries count there only if
// the site says so; an origin of another kind may look at them.
func TestQueriesCountWhereTheOriginLooksAtThem(t *testing.T) {
	for text, want := range map[string]string{
		"": "/a", "origin: {url: \"http://o.example\"}\n": "/a?b=1", "cache: {key: {query: {mode: all}}}\n": "/a?b=1",
		"cache: {key: {query: {mode: allow, names: [b]}}}\n": "/a?b=1",
	} {
		doc, err := Parse("f", []byte("site: s\nhosts: [s.example]\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := CompileKeys(doc)
		if err != nil {
			t.Fatal(err)
		}
		if got := keys.Target("/a?b=1"); got != want {
			t.Errorf("with %q /a?b=1 is kept as %s, want %s", text, got, want)
		}
	}
}
