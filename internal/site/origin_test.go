package site

import (
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/internal/document"
)

// TestOrigin: what a section says, and what holds where it says nothing.
func TestOrigin(t *testing.T) {
	t.Parallel()
	d, err := Parse("f", []byte("site: a\nhosts: [a]\norigin: {requests: 9, first_byte: 1m, hedge: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	o := d.Origin
	if o.Outside() || o.Pool() != nil || o.String() != "" || o.Requests != 9 || time.Duration(o.FirstByte) != time.Minute || !o.Hedge ||
		o.Queue != 1024 || time.Duration(o.QueueTime) != 5*time.Second || time.Duration(o.Connect) != 3*time.Second || time.Duration(o.BetweenBytes) != 30*time.Second ||
		d.Cache.Key.Query.Mode != QueryNone {
		t.Errorf("limits of the cluster's own origin: %+v", o)
	}
	d, err = Parse("f", []byte(`site: a
hosts: [a]
origin:
  servers:
    - {url: 'h2c://b:50051', weight: 3}
    - {url: 'https://c', backup: true}
  server_name: c.example
  path_prefix: /x%20y
  headers: {X-A: b}
  check: {path: /h}
  affinity: address
`))
	if err != nil {
		t.Fatal(err)
	}
	o = d.Origin
	if !o.Outside() || !slices.Equal(o.Pool(), []Server{{"h2c://b:50051", 3, false}, {"https://c", 1, true}}) || o.String() != "h2c://b:50051 and 1 more" ||
		o.Affinity != AffinityAddress || o.Check != (Check{"/h", document.Duration(5 * time.Second), document.Duration(2 * time.Second), "200-399", 3, 2}) ||
		d.Cache.Key.Query.Mode != QueryAll {
		t.Errorf("got %+v", o)
	}
	if first, last, ok := o.Check.Statuses(); first != 200 || last != 399 || !ok {
		t.Errorf("statuses %d to %d, %v", first, last, ok)
	}
	d, err = Parse("f", []byte("site: a\nhosts: [a]\norigin: {url: 'https://s3.example', s3: {region: r, access_key: id, secret_key: key}, client_cert: cc, client_key: ck}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Origin.Secrets(); !slices.Equal(got, []string{"cc", "ck", "id", "key"}) || d.Cache.Key.Query.Mode != QueryNone {
		t.Errorf("secrets %v, query %s", got, d.Cache.Key.Query.Mode)
	}
	d, err = ParseAlone("f", []byte("site: a\nhosts: [a]\norigin: {path_prefix: /p}\n"), "http://up")
	if err != nil || d.Origin.URL != "http://up" {
		t.Errorf("alone: %+v, %v", d, err)
	}
	d, err = ParseAlone("f", []byte("site: a\nhosts: [a]\norigin: {servers: [{url: 'http://b'}]}\n"), "http://up")
	if err != nil || d.Origin.URL != "" || len(d.Origin.Pool()) != 1 {
		t.Errorf("alone, with servers: %+v, %v", d, err)
	}
}

func TestOriginMistakes(t *testing.T) {
	t.Parallel()
	for section, want := range map[string]string{
		"url: 'http://a', servers: [{url: 'http://b'}]": "origin.servers: is given beside origin.url: want one of them",
		"servers: []":                                     "origin.servers: is empty",
		"servers: [{weight: 2}]":                          "origin.servers[0].url: is missing",
		"servers: [{url: 'http://a', weight: 0}]":         "origin.servers[0].weight: \"0\" ",
		"servers: [{url: 'http://a', backup: true}]":      "origin.servers: are backups all",
		"servers: [{url: 'http://a'}, {url: 'http://a'}]": "origin.servers[1].url: \"http://a\" is servers[0] already",
		"servers: [{url: 'ftp://a'}]":                     "origin.servers[0].url: \"ftp://a\" must begin with http:// or https://",
		"url: 'h2c://a/x'":                                "must end after the host and port",
		"url: 'http://u:p@a'":                             "the URL must have no user name or password",
		"url: 'https://a', server_name: 'a:1'":            "origin.server_name: ",
		"url: 'http://a', server_name: a":                 "origin.server_name: is for TLS, but no URL of the origin begins with https://",
		"url: 'http://a', path_prefix: b":                 "origin.path_prefix: \"b\" must begin with a slash",
		"url: 'http://a', path_prefix: /b/":               "origin.path_prefix: \"/b/\" must not end in a slash",
		"url: 'http://a', path_prefix: '/b?c'":            "origin.path_prefix: \"/b?c\" must be as it is sent",
		"url: 'http://a', path_prefix: '/b%2'":            "origin.path_prefix: \"/b%2\" must be as it is sent",
		"url: 'http://a', path_prefix: /b/../c":           "has empty segments, . or ..",
		"url: 'http://a', headers: {Connection: x}":       "origin.headers.Connection: Connection belongs to one connection",
		"url: 'http://a', headers: {te: x}":               "origin.headers.te: te belongs to one connection",
		"url: 'http://a', headers: {host: x}":             "origin.headers.host: host cannot be used here",
		"url: 'http://a', headers: {Content-Length: '1'}": "origin.headers.Content-Length: Content-Length cannot be used here",
		"url: 'http://a', headers: {freshet-hop: x}":      "origin.headers.freshet-hop: freshet-hop belongs to the nodes",
		"url: 'http://a', headers: {CDN-Loop: x}":         "origin.headers.CDN-Loop: CDN-Loop cannot be used here",
		"url: 'http://a', s3: {region: r, access_key: a, secret_key: b}, headers: {x-amz-request-payer: requester}": "origin.headers.x-amz-request-payer: fields X-Amz-* are those of the signature of s3 alone",
		"url: 'http://a', headers: {Via: x}":                                           "origin.headers.Via: Via cannot be used here",
		"url: 'http://a', headers: {Range: x}":                                         "origin.headers.Range: Range cannot be used here",
		"url: 'http://a', headers: {'X A': x}":                                         "\"X A\" is no field name",
		"url: 'http://a', headers: {X-A: \"a\\nb\"}":                                   "is no value of a field",
		"url: 'http://a', headers: {X-A: a, x-a: b}":                                   "is listed twice",
		"url: 'https://a', ca: nothing":                                                "origin.ca: there is no certificate in it",
		"url: 'https://a', client_cert: a":                                             "origin.client_key: is missing",
		"url: 'https://a', client_key: a":                                              "origin.client_cert: is missing",
		"url: 'https://a', client_cert: '-----BEGIN', client_key: a":                   "origin.client_cert: want the name of a cluster secret",
		"url: 'http://a', s3: {region: r}":                                             "origin.s3.access_key: is missing",
		"url: 'http://a', s3: {region: R/, access_key: a, secret_key: b}":              "origin.s3.region: \"R/\" is no region",
		"url: 'http://a', s3: {region: r, access_key: AKIA, secret_key: b}":            "origin.s3.access_key: want the name of a cluster secret",
		"url: 'http://a', check: {every: 1s}":                                          "origin.check.path: is missing",
		"url: 'http://a', check: {path: h}":                                            "origin.check.path: \"h\" must begin with a slash",
		"url: 'http://a', check: {path: /h, expect: 2xx}":                              "origin.check.expect: \"2xx\" is no range",
		"url: 'http://a', check: {path: /h, expect: 300-200}":                          "origin.check.expect: \"300-200\" is no range",
		"url: 'http://a', check: {path: /h, every: 1s}":                                "origin.check.timeout: is longer than origin.check.every, 1s",
		"url: 'http://a', affinity: ip":                                                "origin.affinity: \"ip\" is not allowed",
		"url: 'http://a', affinity_cookie: x":                                          "origin.affinity_cookie: goes with affinity: cookie",
		"url: 'http://a', affinity: cookie, affinity_cookie: 'a b'":                    "origin.affinity_cookie: \"a b\" is no name of a cookie",
		"path_prefix: /x":                                                              "origin.path_prefix: is for an origin outside the cluster",
		"affinity: cookie":                                                             "origin.affinity: is for an origin outside the cluster",
		"check: {path: /h}":                                                            "origin.check: is for an origin outside the cluster",
		"requests: 0":                                                                  "origin.requests: \"0\" ",
		"queue_time: 1h":                                                               "origin.queue_time: \"1h\" ",
		"url: 'http://a', servers: [" + strings.Repeat("{url: 'http://b'},", 65) + "]": "origin.servers: ",
	} {
		_, err := Parse("f", []byte("site: a\nhosts: [a]\norigin: {"+section+"}\n"))
		if _, ok := err.(document.Errors); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", section, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "AKIA") || err != nil && strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("a secret that was put in the place of its name is repeated: %v", err)
		}
	}
	_, err := Parse("f", []byte("site: a\nhosts: [a]\norigin: {url: 'http://a', affinity: cookie}\ncache: {key: {cookies: [freshet-origin]}}\n"))
	if err == nil || !strings.Contains(err.Error(), "cache.key.cookies[0]: \"freshet-origin\" is the cookie of origin.affinity") {
		t.Errorf("the cookie in the key: %v", err)
	}
	var many strings.Builder
	for i := range maxOriginHeaders + 1 {
		many.WriteString("X-" + strings.Repeat("a", i+1) + ": b, ")
	}
	if _, err := Parse("f", []byte("site: a\nhosts: [a]\norigin: {url: 'http://a', headers: {"+many.String()+"}}\n")); err == nil || !strings.Contains(err.Error(), "origin.headers: has 33 entries, at most 32 are allowed") {
		t.Errorf("many headers: %v", err)
	}
}
