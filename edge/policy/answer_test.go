package policy

import (
	"testing"

	"freshet/internal/header"
)

func clientHeader(t *testing.T, s *Site, tier bool, stored []string, request ...string) string {
	t.Helper()
	h := block(t, stored...)
	d := s.Decide(get(t, "/p", request...), tier)
	got, err := d.ClientHeader(h, new(header.Draft))
	if err != nil {
		t.Fatal(err)
	}
	if string(h.Wire()) != string(block(t, stored...).Wire()) {
		t.Error("the stored header has changed")
	}
	return string(got.Wire())
}

func TestClientHeader(t *testing.T) {
	t.Parallel()
	stored := []string{"Content-Type: a/b", "CDN-Cache-Control: max-age=9", "Vary: Accept", "Access-Control-Allow-Origin: https://other", "X-Own: 1"}
	const all = "Content-Type: a/b\r\nCDN-Cache-Control: max-age=9\r\nVary: Accept\r\nAccess-Control-Allow-Origin: https://other\r\nX-Own: 1\r\n"
	const untargeted = "Content-Type: a/b\r\nVary: Accept\r\nAccess-Control-Allow-Origin: https://other\r\nX-Own: 1\r\n"
	const shared = "Content-Type: a/b\r\nVary: Accept\r\nX-Own: 1\r\n"
	tests := []struct {
		name, text string
		request    []string
		want       string
	}{
		{"targets are for us", "", nil, untargeted},
		{"unless passed", "cache: {pass_targets: true}", nil, all},
		{"or not ours", "cache: {targets: [X-Else]}", nil, all},
		{"edits", "rules: [{response_headers: {set: {X-Own: '2', X-New: n}, remove: [content-type]}}, {response_headers: {set: {X-New: m}}}]", nil,
			"Vary: Accept\r\nAccess-Control-Allow-Origin: https://other\r\nX-Own: 2\r\nX-New: m\r\n"},
		{"edits of another path", "rules: [{match: {path: {prefix: /q}}, response_headers: {remove: [X-Own]}}]", nil, untargeted},
		{"everybody may read", "rules: [{cors: {origins: ['*'], expose: [X-Own, ETag]}}]", []string{"Origin: https://a.example"},
			shared + "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X-Own, ETag\r\n"},
		{"everybody, also where nobody asks", "rules: [{cors: {origins: ['*']}}]", nil, shared + "Access-Control-Allow-Origin: *\r\n"},
		{"one may read, nobody asks", "rules: [{cors: {origins: ['https://*.example']}}]", nil, shared + "Vary: Origin\r\n"},
		{"one may read", "rules: [{cors: {origins: ['https://*.example'], credentials: true}}]", []string{"Origin: https://a.example"},
			shared + "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\nAccess-Control-Allow-Credentials: true\r\n"},
		{"another may not", "rules: [{cors: {origins: ['https://*.example'], credentials: true}}]", []string{"Origin: https://a.evil"}, shared + "Vary: Origin\r\n"},
		{"a later policy counts", "rules: [{cors: {origins: ['https://a.example']}}, {cors: {origins: ['https://b.example']}}]", []string{"Origin: https://a.example"}, shared + "Vary: Origin\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, tt.text)
			if got := clientHeader(t, s, false, stored, tt.request...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := clientHeader(t, s, true, stored, tt.request...); got != all {
				t.Errorf("a tier gets %q", got)
			}
		})
	}
}

func TestClientHeaderWithoutEditsIsTheStoredOne(t *testing.T) {
	s := compile(t, "")
	h := block(t, "Content-Type: a/b")
	d, draft := s.Decide(get(t, "/"), false), new(header.Draft)
	if n := testing.AllocsPerRun(100, func() {
		if got, err := d.ClientHeader(h, draft); got != h || err != nil {
			t.Fatal("a copy")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestADecisionThatIsMadeAgainAllocatesNothing(t *testing.T) {
	s := compile(t, `cache: {key: {query: {mode: allow, names: [a, b], sort: true}, headers: [X-V], cookies: [c], device: true, scheme: true}}
rules:
  - {match: {path: {glob: "/p/**.js"}, header: {X-V: "1*"}}, response_headers: {set: {X-A: "1", X-Own: "2"}, remove: [X-Gone]}, rewrite: {to: "/$1"}}
  - {match: {path: {prefix: /p/}, method: [GET]}, cors: {origins: ['https://*.example'], expose: [X-A, X-B]}}`)
	h := block(t, "Content-Type: a/b", "CDN-Cache-Control: max-age=9", "X-Own: 1", "X-Gone: 1")
	req := get(t, "/p/x.js?b=2&a=1&d=4", "Origin: https://o.example", "X-V: 12", "Cookie: b=1; c=2", "User-Agent: x Mobile")
	req.Port = "8080"
	var d Decision
	var draft header.Draft
	var key []byte
	run := func() {
		s.DecideInto(&d, req, false)
		key = d.AppendKey(key[:0], req)
		if got, err := d.ClientHeader(h, &draft); err != nil || got.Get("X-Own") != "2" || !got.Has("Access-Control-Allow-Origin") {
			t.Fatalf("%q, %v", got.Wire(), err)
		}
	}
	run()
	if d.Target != "/p/x.js?a=1&b=2" || d.OriginTarget() != "/x?a=1&b=2" {
		t.Errorf("target %q, origin's %q", d.Target, d.OriginTarget())
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	const named = "rules: [{match: {path: {prefix: /p}}, cors: {origins: ['https://a.example'], methods: [PUT, DELETE], headers: [Content-Type, X-Own], max_age: 1h, credentials: true}}]"
	const ask = "Access-Control-Request-Method: PUT"
	tests := []struct {
		name, text, method string
		request            []string
		want               string // "-": no preflight
	}{
		{"allowed", named, "OPTIONS", []string{"Origin: https://a.example", ask}, "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\n" +
			"Access-Control-Allow-Credentials: true\r\nAccess-Control-Allow-Methods: PUT, DELETE\r\nAccess-Control-Allow-Headers: Content-Type, X-Own\r\nAccess-Control-Max-Age: 3600\r\n"},
		{"not allowed", named, "OPTIONS", []string{"Origin: https://b.example", ask}, "Vary: Origin\r\n"},
		{"everybody", "rules: [{cors: {origins: ['*']}}]", "OPTIONS", []string{"Origin: null", ask}, "Access-Control-Allow-Origin: *\r\nAccess-Control-Max-Age: 600\r\n"},
		{"no policy", "", "OPTIONS", []string{"Origin: https://a.example", ask}, "-"},
		{"no method asked for", named, "OPTIONS", []string{"Origin: https://a.example"}, "-"},
		{"no origin", named, "OPTIONS", []string{ask}, "-"},
		{"another method", named, "GET", []string{"Origin: https://a.example", ask}, "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, tt.text)
			req := get(t, "/p", tt.request...)
			req.Method = tt.method
			got := "-"
			if d := s.Decide(req, false); d.Preflight != nil {
				got = string(d.Preflight.Wire())
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if d := s.Decide(req, true); d.Preflight != nil {
				t.Error("a tier is answered its preflight")
			}
		})
	}
}
