package site

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet/internal/document"
)

func TestParseCacheAndRules(t *testing.T) {
	t.Parallel()
	d := parsed(t, `
site: a
hosts: [a]
cache:
  status_lifetimes: {404: 10s, 503: 0s}
  targets: [Surrogate-Control, X-Ours]
  key: {query: {mode: deny, names: [utm_*]}, host: true}
rules:
- match: {header: {X-Beta: '*'}}
  cache: {bypass: true, force_lifetime: 0s}
- match: {path: {glob: /x/*}}
  cache: {key: {device: true}}
  cors: {origins: ['*']}
  redirect: {to: /y/$1}
`)
	c := d.Cache
	if c.StatusLifetimes[404] != document.Duration(10*time.Second) || len(c.StatusLifetimes) != 2 || c.Heuristic.Percent != 10 ||
		time.Duration(c.Heuristic.Max) != 24*time.Hour || c.StoreSetCookie || c.PassCookies || c.HonourRequest || c.PassTargets ||
		len(c.Targets) != 2 || c.Key.Host == nil || !*c.Key.Host || d.AmbiguousPaths != "refuse" {
		t.Errorf("got %+v", d)
	}
	first, second := d.Rules[0], d.Rules[1]
	if first.Cache.Bypass == nil || !*first.Cache.Bypass || first.Cache.ForceLifetime == nil || *first.Cache.ForceLifetime != 0 ||
		first.Cache.StoreSetCookie != nil || first.Cache.Key != nil || first.Redirect != nil || first.Match.Header["X-Beta"] != "*" {
		t.Errorf("got %+v", first)
	}
	if key := second.Cache.Key; key == nil || !key.Device || key.Query.Mode != QueryAll || key.Host != nil {
		t.Errorf("got %+v", key)
	}
	if second.Redirect.Status != 302 || time.Duration(second.CORS.MaxAge) != 10*time.Minute {
		t.Errorf("got %+v", second)
	}
	if d := parsed(t, "site: a\nhosts: [a]\ncache: {targets: []}"); len(d.Cache.Targets) != 0 {
		t.Errorf("targets %q, want none", d.Cache.Targets)
	}
	if d := parsed(t, "site: a\nhosts: [a]"); len(d.Cache.Targets) != 1 || d.Cache.Targets[0] != "CDN-Cache-Control" {
		t.Errorf("targets %q, want the default", d.Cache.Targets)
	}
}

// What a document writes, it reads back.
func TestEncodeRoundTrip(t *testing.T) {
	t.Parallel()
	for _, d := range []*Document{Lone("http://o"), parsed(t, `
site: a
hosts: [a]
cache: {status_lifetimes: {404: 10s}, key: {host: false}}
rules:
- match: {path: {regex: '^/(x)'}, method: [GET], header: {A: 'b*'}}
  cache: {bypass: false, stale_if_error: 2s}
  rewrite: {to: /$1}
  request_headers: {set: {X: ''}, remove: [Y]}
  cors: {origins: ['https://*.example'], credentials: true}
  last: true
`)} {
		text, err := document.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := document.Encode(parsed(t, string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != string(again) {
			t.Errorf("wrote\n%s\nread back and wrote\n%s", text, again)
		}
	}
}

func TestCacheMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, cache, want string }{
		{"status", "{status_lifetimes: {99: 1s}}", "3:28: cache.status_lifetimes.99: answers with that status are never stored: want a final status from 200 to 599, other than 206, 304, 428, 429, 431 and 511"},
		{"no status", "{status_lifetimes: {teapot: 1s}}", `3:28: cache.status_lifetimes.teapot: "teapot" is not a whole number`},
		{"lifetime of a status", "{status_lifetimes: {404: soon}}", `3:28: cache.status_lifetimes.404: "soon" is not a duration such as "10s", "5m", "1h30m" or "7d"`},
		{"lifetime too long", "{status_lifetimes: {404: 366d}}", `3:28: cache.status_lifetimes.404: "366d" must be at most 365d`},
		{"percent", "{heuristic: {percent: 101}}", `3:30: cache.heuristic.percent: "101" must be at most 100`},
		{"target", "{targets: [Cache-Control]}", "3:19: cache.targets[0]: Cache-Control cannot be used here"},
		{"target twice", "{targets: [X, x]}", "3:22: cache.targets[1]: x is listed twice"},
		{"no field name", "{targets: ['a b']}", `3:19: cache.targets[0]: "a b" is no field name`},
		{"key header", "{key: {headers: [Cookie]}}", "3:25: cache.key.headers[0]: Cookie differs for every client: name the cookies that count in cache.key.cookies"},
		{"key header of a connection", "{key: {headers: [upgrade]}}", "3:25: cache.key.headers[0]: upgrade belongs to one connection, and is not passed on"},
		{"key header of ours", "{key: {headers: [freshet-hop]}}", "3:25: cache.key.headers[0]: freshet-hop belongs to the nodes of the cluster"},
		{"key header of a client", "{key: {headers: [if-none-match]}}", "3:25: cache.key.headers[0]: if-none-match cannot be used here"},
		{"cookie", "{key: {cookies: ['a=b']}}", `3:25: cache.key.cookies[0]: "a=b" is no name of a cookie`},
		{"mode", "{key: {query: {mode: onyl}}}", `3:29: cache.key.query.mode: "onyl" is not allowed (known here: all, none, allow, deny)`},
		{"allow without names", "{key: {query: {mode: allow}}}", "3:29: cache.key.query.mode: allow needs names"},
		{"names without mode", "{key: {query: {names: [a]}}}", "3:23: cache.key.query.names: names are for the modes allow and deny (did you mean mode: allow?)"},
		{"sort nothing", "{key: {query: {mode: none, sort: true}}}", "3:41: cache.key.query.sort: there is nothing to sort with mode: none"},
		{"parameter", "{key: {query: {mode: deny, names: ['a=b']}}}", `3:43: cache.key.query.names[0]: "a=b" is no name of a parameter as clients send it: without &, =, # and ?, and %-encoded where need be`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("f", []byte("site: a\nhosts: [a]\ncache: "+tt.cache))
			if err == nil || err.Error() != "f:"+tt.want {
				t.Errorf("got:\n%v\nwant:\nf:%s", err, tt.want)
			}
		})
	}
	_, err := Parse("f", []byte("site: a\nhosts: ['*.a']\ncache: {key: {host: false}}"))
	if want := "f:3:21: cache.key.host: false needs a host without wildcard in hosts, which stands for all when the origin is asked"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRuleMistakes(t *testing.T) {
	t.Parallel()
	const before = "site: a\nhosts: [a]\nrules:\n- "
	tests := []struct{ name, rule, want string }{
		{"empty path", "match: {path: {}}", "4:11: rules[0].match.path: is empty: want one of prefix, glob and regex"},
		{"two paths", "match: {path: {prefix: /a, glob: /b}}", "4:11: rules[0].match.path: want one of prefix, glob and regex, not 2 of them"},
		{"empty prefix", "match: {path: {prefix: ''}}", "4:26: rules[0].match.path.prefix: must not be empty"},
		{"no slash", "match: {path: {prefix: img/}}", `4:26: rules[0].match.path.prefix: "img/" must begin with a slash, as paths do ("/img/")`},
		{"query", "match: {path: {prefix: '/a?b'}}", `4:26: rules[0].match.path.prefix: "/a?b" has a ?, but the path ends before it: queries are not matched`},
		{"not encoded", "match: {path: {glob: /ü*}}", `4:24: rules[0].match.path.glob: "/ü*" must be as clients send it: spaces, # and what is not ASCII are %-encoded`},
		{"never", "match: {path: {prefix: /a//b}}", "4:26: rules[0].match.path.prefix: matches nothing: it has an empty segment, and such paths are refused unless ambiguous_paths is pass"},
		{"regex", "match: {path: {regex: '/(a'}}", "4:25: rules[0].match.path.regex: is no regular expression of RE2: missing closing ): \"/(a\""},
		{"backreference", `match: {path: {regex: '/(a)\1'}}`, "4:25: rules[0].match.path.regex: is no regular expression of RE2: invalid escape sequence: \"\\\\1\""},
		{"large regex", "match: {path: {regex: '(a{100}){10}b{100}'}}", "4:25: rules[0].match.path.regex: is too large: write smaller repetitions, or several rules"},
		{"scheme", "match: {scheme: ftp}", `4:19: rules[0].match.scheme: "ftp" is not allowed (known here: http, https)`},
		{"method", "match: {method: [get]}", `4:20: rules[0].match.method[0]: "get" is no method: they are in upper case (such as GET)`},
		{"method not served", "match: {method: [TRACE]}", "4:20: rules[0].match.method[0]: TRACE is not served"},
		{"header", "match: {header: {'X Y': a}}", `4:20: rules[0].match.header.X Y: "X Y" is no field name`},
		{"header without value", "match: {header: {X: }}", "4:20: rules[0].match.header.X: must not be empty"},
		{"host header", "match: {header: {Host: a}}", "4:20: rules[0].match.header.Host: Host cannot be used here"},
		{"range", "match: {header: {Range: '*'}}", "4:20: rules[0].match.header.Range: Range cannot be used here"},
		{"unknown action", "bypass: true", `4:3: rules[0].bypass: there is no such field (did you mean "rules[].cache.bypass"?)`},
		{"key by header", "{match: {header: {X: '*'}}, cache: {key: {device: true}}}", "4:39: rules[0].cache.key: a rule that matches by scheme, method or header cannot change the key: purges know the path alone"},
		{"key after a last by method", "{match: {method: [GET]}, last: true}\n- cache: {key: {device: true}}", "5:11: rules[1].cache.key: must stand before rules[0], which is the last for some schemes, methods or headers only: purges know the path alone"},
		{"name twice", "name: x\n- name: x", `5:9: rules[1].name: "x" is the name of rules[0] already`},
		{"rewrite to nothing", "rewrite: {regex: a}", "4:3: rules[0].rewrite.to: is missing: " + docOf(t, "to")},
		{"rewrite both", "rewrite: {prefix: /a, regex: a, to: /b}", "4:3: rules[0].rewrite: want prefix or regex, not both"},
		{"rewrite without slash", "rewrite: {prefix: /a/, to: b/}", `4:30: rules[0].rewrite.to: "b/" must begin with a slash`},
		{"rewrite with query", "rewrite: {regex: (.*), to: '/b?$1'}", `4:30: rules[0].rewrite.to: "/b?$1" must be a path as the origin gets it: no query, and spaces, # and what is not ASCII %-encoded`},
		{"rewrite group", "rewrite: {regex: (.*), to: /$2}", "4:30: rules[0].rewrite.to: refers to $2, but the match has 1 such parts"},
		{"rewrite group of no match", "rewrite: {to: /$1}", "4:17: rules[0].rewrite.to: refers to $1, but the match has 0 such parts"},
		{"rewrite host", "rewrite: {to: '/${host}'}", "4:17: rules[0].rewrite.to: only ${path} and $1, $2, … can be used here; the query of the request follows by itself"},
		{"rewrite regex", "rewrite: {regex: '[', to: /}", "4:20: rules[0].rewrite.regex: is no regular expression of RE2: missing closing ]: \"[\""},
		{"dollar", "redirect: {to: /$x}", "4:18: rules[0].redirect.to: has a $ that begins no placeholder: want $1 to $9, ${1} to ${99}, ${path}, ${query}, ${host}, or $$ for a dollar"},
		{"redirect status", "redirect: {to: /, status: 303}", "4:29: rules[0].redirect.status: 303 is none of 301, 302, 307 and 308"},
		{"redirect without scheme", "redirect: {to: //other/}", "4:18: rules[0].redirect.to: must name the scheme: https://other/"},
		{"redirect relative", "redirect: {to: other}", "4:18: rules[0].redirect.to: must begin with a slash, ${path}, or http(s)://host"},
		{"redirect to a script", "redirect: {to: 'javascript://x'}", "4:18: rules[0].redirect.to: must begin with a slash, ${path}, or http(s)://host"},
		{"redirect to any host", "{match: {path: {prefix: /}}, redirect: {to: https://$1/}}", "4:47: rules[0].redirect.to: only ${host} can be used for the host, and a slash or ${path} must follow the host: what clients send must not choose it"},
		{"redirect to a longer host", "{match: {path: {prefix: /}}, redirect: {to: 'https://shop.example$1'}}", "4:47: rules[0].redirect.to: only ${host} can be used for the host, and a slash or ${path} must follow the host: what clients send must not choose it"},
		{"redirect after host", "{match: {path: {prefix: /}}, redirect: {to: 'https://${host}$1'}}", "4:47: rules[0].redirect.to: want a slash or ${path} after ${host}"},
		{"redirect first only", "{match: {path: {prefix: /}}, redirect: {to: $1}}", "4:47: rules[0].redirect.to: must begin with a slash, ${path}, or http(s)://host"},
		{"credentials for everybody", "cors: {origins: ['*'], credentials: true}", "4:20: rules[0].cors.origins[0]: with credentials the origins must be named, not *"},
		{"origin with path", "cors: {origins: ['https://a/']}", `4:20: rules[0].cors.origins[0]: "https://a/" must end after the host and port: no path, query or fragment`},
		{"origin null", "cors: {origins: ['null']}", `4:20: rules[0].cors.origins[0]: "null" must begin with http:// or https://`},
		{"origin with default port", "cors: {origins: ['https://a:443']}", "4:20: rules[0].cors.origins[0]: browsers leave the default port out: so must an origin here"},
		{"wildcard inside", "cors: {origins: ['https://a*.b']}", `4:20: rules[0].cors.origins[0]: "a*.b" is no host name: labels of letters, digits and dashes (not first or last), at most 63 each, between single dots; other alphabets in their xn-- form`},
		{"everybody and one", "cors: {origins: ['https://a', '*']}", "4:33: rules[0].cors.origins[1]: * is everybody: it stands alone"},
		{"cors method", "cors: {origins: ['*'], methods: [put]}", `4:36: rules[0].cors.methods[0]: "put" is no method: they are in upper case`},
		{"cors header", "cors: {origins: ['*'], headers: ['a b']}", `4:36: rules[0].cors.headers[0]: "a b" is no field name`},
		{"value", `request_headers: {set: {X: "a\nb"}}`, `4:27: rules[0].request_headers.set.X: "a\nb" cannot be the value of a field: no control characters, no space at its ends, at most 4096 bytes`},
		{"host of the origin", "request_headers: {set: {Host: a}}", "4:27: rules[0].request_headers.set.Host: Host cannot be used here"},
		{"set and removed", "request_headers: {set: {X: a}, remove: [x]}", "4:27: rules[0].request_headers.set.X: X is set or removed twice"},
		{"vary", "response_headers: {remove: [Vary]}", "4:31: rules[0].response_headers.remove[0]: Vary cannot be used here"},
		{"passage", "response_headers: {remove: [via]}", "4:31: rules[0].response_headers.remove[0]: via cannot be used here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("f", []byte(before+tt.rule))
			if err == nil || err.Error() != "f:"+tt.want {
				t.Errorf("got:\n%v\nwant:\nf:%s", err, tt.want)
			}
		})
	}
	if _, err := Parse("f", []byte(before+"match: {path: {prefix: /a//b}}\nambiguous_paths: pass\n")); err != nil {
		t.Errorf("with ambiguous_paths: pass: %v", err)
	}
	many := "site: a\nhosts: [a]\nrules:\n" + strings.Repeat("- last: false\n", MaxRules+1)
	if _, err := Parse("f", []byte(many)); err == nil || err.Error() != fmt.Sprintf("f:3:1: rules: has %d entries, at most %d are allowed", MaxRules+1, MaxRules) {
		t.Errorf("got %v", err)
	}
}

// docOf is what the tag of a field of Rewrite says.
func docOf(t *testing.T, name string) string {
	t.Helper()
	_, err := Parse("f", []byte("site: a\nhosts: [a]\nrules:\n- rewrite: {prefix: /a}"))
	_, doc, ok := strings.Cut(fmt.Sprint(err), "rewrite."+name+": is missing: ")
	if !ok {
		t.Fatalf("no doc of %s in %v", name, err)
	}
	return doc
}

func TestRedirectsThatPass(t *testing.T) {
	t.Parallel()
	for _, to := range []string{
		"/", "/new/$1", "${path}", "${path}index.html${query}", "https://${host}${path}${query}", "https://${host}", "https://${host}/x",
		"https://other.example", "https://other.example:8443/$1?from=${path}", "https://other.example${path}", "http://other.example/#$1",
	} {
		if _, err := Parse("f", []byte("site: a\nhosts: [a]\nrules:\n- {match: {path: {prefix: /}}, redirect: {to: '"+to+"'}}")); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestCORSAllows(t *testing.T) {
	t.Parallel()
	c := CORS{Origins: []string{"https://app.example", "https://*.shop.example", "http://*.dev.example:8080"}}
	for origin, want := range map[string]bool{
		"https://app.example": true, "http://app.example": false, "https://app.example:8443": false, "https://app.example.evil": false,
		"https://a.shop.example": true, "https://a.b.shop.example": true, "https://shop.example": false, "https://evilshop.example": false,
		"https://evil.com/.shop.example": false, "https://.shop.example": false, "https://a@b.shop.example": false,
		"http://x.dev.example:8080": true, "http://x.dev.example": false, "": false, "null": false, "*": false,
	} {
		if got := c.Allows(origin); got != want {
			t.Errorf("Allows(%q) = %v", origin, got)
		}
	}
	all := CORS{Origins: []string{"*"}}
	if !all.Allows("null") || !all.Allows("https://a") || all.Allows("") || !all.Everybody() || c.Everybody() {
		t.Error("* does not allow what it should")
	}
}
