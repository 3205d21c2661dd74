package policy

import (
	"slices"
	"strings"
	"testing"

	"freshet/edge/exchange"
)

// toOrigin is the header of a request as the origin gets it: by way of a mid, where
// mid is set.
func toOrigin(t testing.TB, s *Site, req *exchange.Request, pass, mid bool) string {
	t.Helper()
	d := s.Decide(req, false)
	h := d.FillHeader(req)
	if pass {
		h = d.PassHeader(req)
	}
	if mid {
		up := *req
		up.Header, up.Target, up.Scheme = h, d.Target, "http"
		up.Host, up.Port, _ = strings.Cut(d.Authority, ":")
		below := string(d.AppendKey(nil, req))
		d = s.Decide(&up, true)
		if above := string(d.AppendKey(nil, &up)); above != below && !pass {
			t.Errorf("the key is %q at the edge and %q at the mid", below, above)
		}
		if h = d.FillHeader(&up); pass {
			h = d.PassHeader(&up)
		}
	}
	if err := d.EditForOrigin(h, pass); err != nil {
		t.Fatal(err)
	}
	return string(h.Wire())
}

// What a client sends in these fields reaches neither the key nor the origin, so
// that it cannot change what is stored for others.
func TestPoisonDoesNotReachTheOrigin(t *testing.T) {
	t.Parallel()
	s := compile(t, "")
	clean := get(t, "/p?q", "Accept: */*")
	want, wantKey := toOrigin(t, s, clean, false, false), key(s, clean)
	poison := []string{
		"X-Forwarded-Host: evil.example", "x-forwarded-host: evil.example", "Forwarded: host=evil.example;proto=https", "X-Host: evil.example",
		"X-Original-Host: evil.example", "X-HTTP-Host-Override: evil.example", "X-Forwarded-Server: evil.example",
		"X-Forwarded-Port: 1", "X-Forwarded-Proto: nothttps", "X-Forwarded-Proto: https", "X-Forwarded-Protocol: https", "X-Forwarded-Scheme: nothttps",
		"X-Forwarded-SSL: on", "X-URL-Scheme: x", "X-Scheme: x", "Front-End-Https: on",
		"X-Original-URL: /admin", "X-Original-URI: /admin", "X-Rewrite-URL: /admin", "X-Forwarded-URI: /admin", "X-Forwarded-Path: /admin", "X-Forwarded-Prefix: //evil.example",
		"X-HTTP-Method-Override: POST", "X-HTTP-Method: DELETE", "X-Method-Override: PUT",
		"X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "X-Client-IP: 127.0.0.1", "X-Cluster-Client-IP: 127.0.0.1", "Client-IP: 127.0.0.1", "True-Client-IP: 127.0.0.1",
		"Range: bytes=0-0", "If-Range: x", "If-Match: x", "If-None-Match: *", "If-Modified-Since: x", "If-Unmodified-Since: x", "A-IM: feed",
		"Cookie: admin=1", "Cache-Control: no-cache", "Pragma: no-cache", "Host: evil.example", "Content-Length: 5", "Expect: 100-continue", "Proxy: evil.example",
		"X-Device: mobile", "Connection: Accept-Language", "Upgrade: h2c", "TE: trailers",
	}
	for _, line := range poison {
		req := get(t, "/p?q", "Accept: */*", line)
		for _, mid := range []bool{false, true} {
			if got := toOrigin(t, s, req, false, mid); got != want {
				t.Errorf("%s (by way of a mid: %v): the origin gets %q, want %q", line, mid, got, want)
			}
		}
		if got := key(s, req); got != wantKey {
			t.Errorf("%s: key %q, want %q", line, got, wantKey)
		}
	}
	for _, field := range dropped {
		if !slices.ContainsFunc(poison, func(line string) bool { return strings.HasPrefix(line, field.name+": ") }) {
			t.Errorf("%s is not among those tried", field.name)
		}
		if field.why == "" || field.on == 0 {
			t.Errorf("%s has no reason", field.name)
		}
	}
}

// What reaches the origin all the same is what the origin has to name in Vary or
// what RFC 9111 §3.5 looks after.
func TestWhatReachesTheOrigin(t *testing.T) {
	t.Parallel()
	all := []string{"Accept: a", "Accept-Language: b", "Accept-Encoding: gzip", "User-Agent: c", "Authorization: d", "Cookie: e=1; f=2", "Origin: https://g", "X-Own: h",
		"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: i", "Cache-Control: no-store", "Range: bytes=0-1", "X-HTTP-Method-Override: PUT", "If-Match: j"}
	wire := func(lines ...string) string { return strings.Join(append(lines, ""), "\r\n") }
	tests := []struct {
		name, text string
		pass       bool
		want       string
	}{
		{"fill", "", false, wire(all[0], all[1], all[2], all[3], all[4], all[6], all[7])},
		{"pass", "", true, wire(all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7], all[8], all[10], all[11], all[12], all[13])},
		{"cookies passed", "cache: {pass_cookies: true}", false, wire(all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7])},
		{"cookies passed by a rule", "rules: [{cache: {pass_cookies: true}}]", false, wire(all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7])},
		{"cookies kept back by a rule", "cache: {pass_cookies: true}\nrules: [{cache: {pass_cookies: false}}]", false, wire(all[0], all[1], all[2], all[3], all[4], all[6], all[7])},
		{"a cookie in the key", "cache: {key: {cookies: [f, x]}}", false, wire(all[0], all[1], all[2], all[3], all[4], all[6], all[7], "Cookie: f=2")},
		{"a cookie in the key, passed", "cache: {key: {cookies: [f, x]}}", true, wire(all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7], all[8], all[10], all[11], all[12], all[13])},
		{"a field in the key", "cache: {key: {headers: [x-forwarded-host]}}", false, wire(all[0], all[1], all[2], all[3], all[4], all[6], all[7], all[9])},
		{"requests honoured", "cache: {honour_request: true}", false, wire(all[0], all[1], all[2], all[3], all[4], all[6], all[7], all[10])},
		{"cross-origin is ours", "rules: [{cors: {origins: ['*']}}]", false, wire(all[0], all[1], all[2], all[3], all[4], all[7])},
		{"scheme", "cache: {key: {scheme: true}}", false, wire(all[0], all[1], all[2], all[3], all[4], all[6], all[7], "X-Forwarded-Proto: https")},
		{"device", "cache: {key: {device: true}}", false, wire(all[0], all[1], all[2], all[3], all[4], all[6], all[7], "X-Device: desktop")},
		{"a cookie that a rule matches", "rules: [{match: {header: {Cookie: '*e=*'}}, response_headers: {set: {X: y}}}]", false, wire(all[0], all[1], all[2], all[3], all[4], all[6], all[7])},
		{"edits", "rules: [{request_headers: {set: {X-Own: 'new', X-Forwarded-Host: 's'}, remove: [accept]}}, {request_headers: {set: {X-2: '', user-agent: z}}}]", false,
			wire(all[1], all[2], "user-agent: z", all[4], all[6], "X-Own: new", "X-Forwarded-Host: s", "X-2: ")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, tt.text)
			for _, mid := range []bool{false, true} {
				req := get(t, "/", all...)
				req.Scheme = "https"
				if got := toOrigin(t, s, req, tt.pass, mid); got != tt.want {
					t.Errorf("by way of a mid %v: got\n%s\nwant\n%s", mid, got, tt.want)
				}
			}
		})
	}
}

// A rule that changes what the origin is asked on account of more than the path is
// in the key, and so is what keeps such a rule from being reached.
func TestConditionalRulesAreInTheKey(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, rules string
		apart       bool
	}{
		{"rewrite", "[{match: {header: {X-B: '*'}}, rewrite: {prefix: /, to: /b/}}]", true},
		{"request header", "[{match: {header: {X-B: '*'}}, request_headers: {set: {A: b}}}]", true},
		{"removed header", "[{match: {header: {X-B: '*'}}, request_headers: {remove: [A]}}]", true},
		{"cookies", "[{match: {header: {X-B: '*'}}, cache: {pass_cookies: true}}]", true},
		{"cross-origin", "[{match: {header: {X-B: '*'}}, cors: {origins: ['*']}}]", true},
		{"last before a rewrite", "[{match: {header: {X-B: '*'}}, last: true}, {rewrite: {prefix: /, to: /b/}}]", true},
		{"last after a rewrite", "[{rewrite: {prefix: /, to: /b/}}, {match: {header: {X-B: '*'}}, last: true}]", false},
		{"last of a lifetime", "[{match: {header: {X-B: '*'}}, last: true}, {cache: {force_lifetime: 1h}}]", false},
		{"lifetime", "[{match: {header: {X-B: '*'}}, cache: {force_lifetime: 1h, bypass: false}}]", false},
		{"response header", "[{match: {header: {X-B: '*'}}, response_headers: {set: {A: b}}}]", false},
		{"rewrite for all", "[{rewrite: {prefix: /, to: /b/}}]", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, "rules: "+tt.rules)
			with, without := get(t, "/p", "X-B: 1", "Cookie: a=1", "Origin: https://o"), get(t, "/p", "Cookie: a=1", "Origin: https://o")
			if apart := key(s, with) != key(s, without); apart != tt.apart {
				t.Errorf("keys %q and %q", key(s, with), key(s, without))
			}
			for _, mid := range []bool{false, true} {
				a := strings.Replace(toOrigin(t, s, with, false, mid), "X-B: 1\r\n", "", 1)
				if b := toOrigin(t, s, without, false, mid); a != b && !tt.apart {
					t.Errorf("one key, and the origin gets %q or %q", a, b)
				}
			}
		})
	}
}

func TestVarying(t *testing.T) {
	names := []string{"accept-encoding", "cookie", "origin", "x-forwarded-proto", "x-device", "x-own"}
	tests := []struct {
		name, text string
		want       []string
	}{
		{"site", "", []string{"accept-encoding", "origin", "x-own"}},
		{"cookies passed", "cache: {pass_cookies: true}", []string{"accept-encoding", "cookie", "origin", "x-own"}},
		{"cookies in the key", "cache: {key: {cookies: [a], headers: [X-Own]}}", []string{"accept-encoding", "origin"}},
		{"cross-origin", "rules: [{cors: {origins: ['*']}}]", []string{"accept-encoding", "x-own"}},
	}
	for _, tt := range tests {
		s := compile(t, tt.text)
		d := s.Decide(get(t, "/"), false)
		if got := d.Varying(names); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	s := compile(t, "")
	d := s.Decide(get(t, "/"), false)
	plain := []string{"accept", "accept-language"}
	if n := testing.AllocsPerRun(10, func() { d.Varying(plain) }); n != 0 || !slices.Equal(d.Varying(plain), plain) {
		t.Errorf("%v allocations, got %q", n, d.Varying(plain))
	}
}
