package policy

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/site"
)

// compile makes a site of a document's text; "site: s" and its hosts are given.
func compile(t testing.TB, text string) *Site {
	t.Helper()
	if !strings.Contains(text, "hosts:") {
		text = "hosts: [s.example, www.s.example, '*.w.example']\n" + text
	}
	doc, err := site.ParseAlone("f", []byte("site: s\n"+text), "http://origin.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func block(t testing.TB, lines ...string) *header.Block {
	t.Helper()
	h := new(header.Block)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if err := h.Add(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// get is a request for a target at s.example.
func get(t testing.TB, target string, lines ...string) *exchange.Request {
	t.Helper()
	return &exchange.Request{Method: "GET", Scheme: "http", Host: "s.example", Target: target, Header: block(t, lines...)}
}

func key(s *Site, req *exchange.Request) string {
	d := s.Decide(req, false)
	return string(d.AppendKey(nil, req))
}

func TestDecideWithoutRules(t *testing.T) {
	t.Parallel()
	s := compile(t, "")
	req := get(t, "/a%2Fb/../c?x=1&&y")
	d := s.Decide(req, false)
	if d.Refuse != "" || d.Redirect.Status != 0 || d.Preflight != nil || d.Bypass || d.Rules() != nil ||
		d.Authority != "s.example" || d.Target != req.Target || d.OriginTarget() != req.Target {
		t.Errorf("got %+v", d)
	}
	if got, want := key(s, req), "s\ns.example/a%2Fb/../c?x=1&&y"; got != want {
		t.Errorf("key %q, want %q", got, want)
	}
	if s.Name() != "s" || s.Document().Site != "s" {
		t.Error("the site has another name")
	}
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, key, host, port, want string }{
		{"first", "", "s.example", "", "s.example"},
		{"an alias", "", "www.s.example", "", "s.example"},
		{"an alias with a port", "", "www.s.example", "8080", "s.example"},
		{"a wildcard's", "", "a.w.example", "", "a.w.example"},
		{"a wildcard's with a port", "", "a.w.example", "8080", "a.w.example:8080"},
		{"an address", "", "2001:db8::1", "", "[2001:db8::1]"},
		{"an address with a port", "", "2001:db8::1", "80", "[2001:db8::1]:80"},
		{"an address that ends like a port", "", "2001:db8::1:80", "", "[2001:db8::1:80]"},
		{"alias apart", "host: true", "www.s.example", "8080", "www.s.example"},
		{"wildcard apart", "host: true", "a.w.example", "", "a.w.example"},
		{"alias shared", "host: false", "www.s.example", "", "s.example"},
		{"wildcard shared", "host: false", "a.w.example", "1", "s.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, "cache: {key: {"+tt.key+"}}")
			req := get(t, "/")
			req.Host, req.Port = tt.host, tt.port
			d := s.Decide(req, false)
			if d.Authority != tt.want {
				t.Errorf("got %q, want %q", d.Authority, tt.want)
			}
			// The tier above decides alike about what it is asked.
			req.Host, req.Port, _ = exchange.SplitHost(d.Authority)
			if up := s.Decide(req, true); up.Authority != tt.want {
				t.Errorf("the tier above has %q, want %q", up.Authority, tt.want)
			}
		})
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	const phone = "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) Mobile Safari"
	tests := []struct{ name, key, want string }{
		{"none", "query: {mode: none}", "s\ns.example/p"},
		{"sorted", "query: {sort: true}", "s\ns.example/p?a=1&b=2&b=0&utm_x=3"},
		{"allow", "query: {mode: allow, names: [b]}", "s\ns.example/p?b=2&b=0"},
		{"deny", "query: {mode: deny, names: [utm_*]}", "s\ns.example/p?b=2&a=1&b=0"},
		{"header", "headers: [x-a, X-None]", "s\ns.example/p?b=2&utm_x=3&a=1&b=0\n+header x-a:1,2\n+header X-None"},
		{"cookie", "cookies: [c, d, none]", "s\ns.example/p?b=2&utm_x=3&a=1&b=0\n+cookie c=x=y\n+cookie d=\n+cookie none"},
		{"device", "device: true", "s\ns.example/p?b=2&utm_x=3&a=1&b=0\n+device mobile"},
		{"scheme", "scheme: true", "s\ns.example/p?b=2&utm_x=3&a=1&b=0\n+scheme http"},
		{"all", "{query: {mode: none}, scheme: true, device: true, headers: [x-a], cookies: [c]}",
			"s\ns.example/p\n+scheme http\n+device mobile\n+header x-a:1,2\n+cookie c=x=y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !strings.HasPrefix(tt.key, "{") {
				tt.key = "{" + tt.key + "}"
			}
			s := compile(t, "cache: {key: "+tt.key+"}")
			req := get(t, "/p?b=2&utm_x=3&a=1&b=0", phone, "X-A: 1", "Cookie: z=1; c=x=y;d=", "X-A: 2", "Cookie: c=second")
			if got := key(s, req); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	tests := []struct{ want, agent, hint string }{
		{"desktop", "", ""},
		{"desktop", "curl/8.5.0", ""},
		{"desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36", "?0"},
		{"desktop", "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_2) AppleWebKit/605.1.15 Version/17.2 Safari/605.1.15", ""},
		{"mobile", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) Version/17.2 Mobile/15E148 Safari/604.1", ""},
		{"mobile", "Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/120.0 Mobile Safari/537.36", "?1"},
		{"mobile", "Opera/9.80 (J2ME/MIDP; Opera Mini/9) Presto", "?1"},
		{"mobile", "Mozilla/5.0 (Android 14; MOBILE; rv:120.0) Gecko Firefox/120.0", ""},
		{"tablet", "Mozilla/5.0 (Linux; Android 13; SM-X906C) Chrome/120.0 Safari/537.36", "?0"},
		{"tablet", "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) Version/16.6 Mobile/15E148 Safari/604.1", ""},
		{"tablet", "Mozilla/5.0 (Android 13; Tablet; rv:120.0) Gecko Firefox/120.0", ""},
	}
	for _, tt := range tests {
		h := new(header.Block)
		if tt.agent != "" {
			h = block(t, "User-Agent: "+tt.agent)
		}
		if tt.hint != "" {
			if err := h.Add("Sec-CH-UA-Mobile", tt.hint); err != nil {
				t.Fatal(err)
			}
		}
		if got := Device(h); got != tt.want {
			t.Errorf("%q with %q is %s, want %s", tt.agent, tt.hint, got, tt.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	plain := compile(t, "")
	guarded := compile(t, "rules: [{match: {path: {prefix: /a/}}, cache: {bypass: true}}]")
	lifted := compile(t, "ambiguous_paths: pass\nrules: [{match: {path: {prefix: /a/}}, cache: {bypass: true}}]")
	headers := compile(t, "rules: [{match: {header: {X: '*'}}, cache: {bypass: true}}]")
	tests := []struct {
		target         string
		plain, guarded bool // refused
	}{
		{"/", false, false}, {"/a%20b?x=//&y=%2F..", false, false}, {"/ü", false, false},
		{"/a//b", false, true}, {"/%61/", false, true}, {"/x/..%2Fa/", false, true}, {"/x/../a/", false, true}, {`/x\a`, false, true},
		{"/a b", true, true}, {"/a\x00", true, true}, {"/a\nb", true, true}, {"/a?b\x7f", true, true}, {"/a#b", true, true}, {"/a?b#c", true, true}, {"/a\tb", true, true},
		{"/" + strings.Repeat("a", maxTarget-1), false, false}, {"/?" + strings.Repeat("a", maxTarget-1), true, true},
	}
	for _, tt := range tests {
		for _, c := range []struct {
			name string
			site *Site
			want bool
		}{{"plain", plain, tt.plain}, {"guarded", guarded, tt.guarded}, {"lifted", lifted, tt.plain}, {"headers alone", headers, tt.plain}} {
			for _, tier := range []bool{false, true} {
				if d := c.site.Decide(get(t, tt.target), tier); (d.Refuse != "") != c.want {
					t.Errorf("%s, from a tier %v: %q is refused %q", c.name, tier, tt.target[:min(len(tt.target), 40)], d.Refuse)
				}
			}
		}
	}
}

const rulesText = `
cache: {default_lifetime: 1m, stale_if_error: 1h, status_lifetimes: {404: 10s}, targets: [Surrogate-Control, X-T], heuristic: {percent: 20, max: 1h}}
rules:
- name: images
  match: {path: {prefix: /img/}}
  cache: {force_lifetime: 1h, stale_while_revalidate: 5m, store_set_cookie: true, honour_request: true}
- match: {path: {glob: "**.tmp"}, method: [GET, HEAD]}
  cache: {bypass: true, default_lifetime: 0s}
- name: beta
  match: {header: {X-Beta: "1*"}}
  cache: {bypass: false, force_lifetime: 0s}
  last: true
- name: never beta
  match: {path: {regex: "^/img/.*[.]tmp$"}}
  cache: {stale_if_error: 0s}
`

func TestRulesOverrideFieldByField(t *testing.T) {
	t.Parallel()
	s := compile(t, rulesText)
	tests := []struct {
		name   string
		req    *exchange.Request
		rules  []string
		bypass bool
		force  time.Duration // -1: none
		life   time.Duration
		error  time.Duration
	}{
		{"none", get(t, "/a"), nil, false, -1, time.Minute, time.Hour},
		{"prefix", get(t, "/img/a"), []string{"images"}, false, time.Hour, time.Minute, time.Hour},
		{"glob", get(t, "/a.tmp?x"), []string{"rules[1]"}, true, -1, 0, time.Hour},
		{"three", get(t, "/img/a.tmp"), []string{"images", "rules[1]", "never beta"}, true, time.Hour, 0, 0},
		{"last", get(t, "/img/a.tmp", "X-Beta: 12"), []string{"images", "rules[1]", "beta"}, false, 0, 0, time.Hour},
		{"another value", get(t, "/img/a", "X-Beta: 2"), []string{"images"}, false, time.Hour, time.Minute, time.Hour},
		{"one of two lines", get(t, "/a", "X-Beta: 2", "x-beta: 1"), []string{"beta"}, false, 0, time.Minute, time.Hour},
		{"path before the query", get(t, "/a?b.tmp"), nil, false, -1, time.Minute, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := s.Decide(tt.req, false)
			if !slices.Equal(d.Rules(), tt.rules) || d.Bypass != tt.bypass || d.Policy.DefaultLifetime != tt.life || d.Policy.StaleIfError != tt.error {
				t.Errorf("rules %q: %+v", d.Rules(), d)
			}
			force := time.Duration(-1)
			if d.Policy.ForceLifetime != nil {
				force = *d.Policy.ForceLifetime
			}
			if force != tt.force {
				t.Errorf("forced lifetime %v, want %v", force, tt.force)
			}
			again := s.Decide(tt.req, true)
			if !slices.Equal(again.Rules(), tt.rules) || again.Bypass != tt.bypass {
				t.Errorf("the tier above has %q", again.Rules())
			}
		})
	}
	d := s.Decide(get(t, "/"), false)
	p := d.Policy
	if p.StatusLifetimes[404] != 10*time.Second || p.Heuristic.Fraction != 0.2 || p.Heuristic.Max != time.Hour ||
		!p.SurrogateControl || !slices.Equal(p.Targets, []string{"X-T"}) || p.StoreSetCookie || !p.IgnoreRequestDirectives {
		t.Errorf("policy %+v", p)
	}
	d = s.Decide(get(t, "/img/"), false)
	if p := d.Policy; !p.StoreSetCookie || p.IgnoreRequestDirectives || p.StaleWhileRevalidate != 5*time.Minute {
		t.Errorf("policy of images %+v", p)
	}
	post := get(t, "/a.tmp")
	post.Method = "POST"
	if d := s.Decide(post, false); d.Rules() != nil {
		t.Errorf("POST matches %q", d.Rules())
	}
}

func TestMatchByScheme(t *testing.T) {
	t.Parallel()
	s := compile(t, "rules: [{match: {scheme: http}, redirect: {to: 'https://${host}${path}${query}', status: 308}}]")
	d := s.Decide(get(t, "/a?b"), false)
	if d.Redirect != (Redirect{308, "https://s.example/a?b"}) {
		t.Errorf("got %+v", d.Redirect)
	}
	secure := get(t, "/a?b", "X-Forwarded-Proto: http")
	secure.Scheme = "https"
	d = s.Decide(secure, false)
	if d.Redirect.Status != 0 || d.Rules() != nil {
		t.Errorf("https is redirected to %q", d.Redirect.Location)
	}
	// Between tiers the scheme travels; to the origin it does not.
	h := d.FillHeader(secure)
	if h.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("a tier gets %q", h.Wire())
	}
	tier := get(t, "/a?b")
	tier.Header = h
	up := s.Decide(tier, true)
	if up.Rules() != nil {
		t.Error("the tier above takes the scheme of the connection")
	}
	if err := up.EditForOrigin(h, false); err != nil || h.Has("X-Forwarded-Proto") {
		t.Errorf("the origin gets %q, %v", h.Wire(), err)
	}
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, rules, target, want string }{
		{"prefix", "[{rewrite: {prefix: /old/, to: /new/}}]", "/old/a?b", "/new/a?b"},
		{"prefix with a dollar", "[{rewrite: {prefix: /old/, to: /$1/}}]", "/old/a", "/$1/a"},
		{"prefix of another path", "[{rewrite: {prefix: /old/, to: /new/}}]", "/older?b", "/older?b"},
		{"own regex", "[{rewrite: {regex: '^/v([0-9]+)/(.*)$', to: '/$2/v/${1}0'}}]", "/v2/a/b?c", "/a/b/v/20?c"},
		{"match's captures", "[{match: {path: {glob: '/*/x/**'}}, rewrite: {to: '/$2/of/$1'}}]", "/a/x/b/c", "/b/c/of/a"},
		{"whole path", "[{rewrite: {to: '/en${path}'}}]", "/a?b", "/en/a?b"},
		{"to one", "[{match: {path: {prefix: /app/}}, rewrite: {to: /app/index.html}}]", "/app/x/y?z", "/app/index.html?z"},
		{"the later counts", "[{rewrite: {prefix: /a, to: /b}}, {rewrite: {prefix: /a, to: /c}}, {match: {path: {prefix: /b}}, rewrite: {to: /never}}]", "/a", "/c"},
		{"encoded as sent", "[{rewrite: {regex: '^/x(.*)', to: '/y$1'}}]", "/x/%20%C3%BC", "/y/%20%C3%BC"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, "rules: "+tt.rules)
			d := s.Decide(get(t, tt.target), false)
			if d.OriginTarget() != tt.want || d.Target != tt.target || d.Refuse != "" {
				t.Errorf("origin target %q, target %q, refused %q; want %q", d.OriginTarget(), d.Target, d.Refuse, tt.want)
			}
		})
	}
	s := compile(t, "cache: {key: {query: {mode: allow, names: [b]}}}\nrules: [{rewrite: {prefix: /a, to: /b}}]")
	if d := s.Decide(get(t, "/a?c=1&b=2"), false); d.OriginTarget() != "/b?b=2" || d.Target != "/a?b=2" {
		t.Errorf("got %q and %q", d.OriginTarget(), d.Target)
	}
	long := compile(t, "rules: [{rewrite: {regex: (.*), to: '/$1$1$1$1$1$1$1$1'}}]")
	if d := long.Decide(get(t, "/"+strings.Repeat("a", maxTarget/8)), false); d.Refuse == "" {
		t.Errorf("a target of %d bytes passes", len(d.OriginTarget()))
	}
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, rules, target, want string }{
		{"path", "[{match: {path: {prefix: /old/}}, redirect: {to: /new/$1}}]", "/old/a?b", "302 /new/a"},
		{"with query", "[{match: {path: {prefix: /old/}}, redirect: {to: '/new/$1${query}', status: 301}}]", "/old/a?b", "301 /new/a?b"},
		{"host", "[{redirect: {to: 'https://${host}${path}', status: 307}}]", "/a", "307 https://s.example/a"},
		{"later counts", "[{redirect: {to: /a}}, {redirect: {to: /b, status: 308}}]", "/", "308 /b"},
		{"no match", "[{match: {path: {prefix: /old/}}, redirect: {to: /new}}]", "/older", "0 "},
		{"not to another host", "[{match: {path: {regex: '^/go(.*)$'}}, redirect: {to: '/$1'}}]\nambiguous_paths: pass", "/go/evil.example/", "302 /.//evil.example/"},
		{"not by a backslash", "[{match: {path: {regex: '^/go(.*)$'}}, redirect: {to: '/$1'}}]\nambiguous_paths: pass", `/go\evil.example/`, "302 /%5Cevil.example/"},
		{"not by the path", "[{redirect: {to: '${path}'}}]", "//evil.example", "302 /.//evil.example"},
		{"no markup", "[{redirect: {to: '/x${query}'}}]", `/?"><script>` + "\u00fc", "302 /x?%22%3E%3Cscript%3E%C3%BC"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, "rules: "+tt.rules)
			d := s.Decide(get(t, tt.target), false)
			if got := fmt.Sprint(d.Redirect.Status, " ", d.Redirect.Location); got != tt.want || d.Refuse != "" {
				t.Errorf("got %s (refused %q), want %s", got, d.Refuse, tt.want)
			}
			if up := s.Decide(get(t, tt.target), true); up.Redirect.Status != 0 {
				t.Error("a tier is redirected")
			}
		})
	}
}

// The scopes of a request hold the purge of each URL that shares its key.
func TestScopesMeetPurges(t *testing.T) {
	t.Parallel()
	const text = `
cache: {key: {query: {sort: true}}}
rules:
- match: {path: {prefix: /static/}}
  cache: {key: {query: {mode: none}}}
- match: {header: {X-B: "*"}}
  rewrite: {prefix: /, to: /b/}
`
	s := compile(t, text)
	keys, err := site.CompileKeys(s.Document())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ asked, purged string }{
		{"/a", "/a"}, {"/a?b=2&a=1", "/a?a=1&b=2"}, {"/a?a=1&b=2", "/a?b=2&a=1"}, {"/static/x?v=1", "/static/x?v=2"}, {"/static/x", "/static/x?v"},
	}
	for _, tt := range tests {
		for _, req := range []*exchange.Request{get(t, tt.asked), get(t, tt.asked, "X-B: 1")} {
			d := s.Decide(req, false)
			purge := response.HashScope(command.Scope{Kind: command.ScopeURL, Site: "s", Value: keys.Target(tt.purged)})
			if !slices.Contains(d.Scopes(response.NewKey("k")), purge) {
				t.Errorf("a purge of %s does not reach %s", tt.purged, tt.asked)
			}
			if d.TargetScope(tt.purged) != purge {
				t.Errorf("TargetScope(%s) is not the scope of its purge", tt.purged)
			}
			for _, scope := range []command.Scope{{Kind: command.ScopeSite, Site: "s"}, {Kind: command.ScopeAll}} {
				if !slices.Contains(d.Scopes(response.NewKey("k")), response.HashScope(scope)) {
					t.Errorf("%s is not covered by %+v", tt.asked, scope)
				}
			}
		}
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	s := compile(t, "cache: {key: {scheme: true}}\nrules: [{rewrite: {prefix: /a, to: /b}}, {cors: {origins: ['https://*.example']}}]")
	req := get(t, "/a/1?x", "Origin: https://o.example")
	d := s.Decide(req, false)
	c := d.Clone()
	if c.Authority != d.Authority || c.Target != d.Target || c.OriginTarget() != "/b/1?x" || !slices.Equal(c.Rules(), d.Rules()) ||
		string(c.AppendKey(nil, req)) != string(d.AppendKey(nil, req)) {
		t.Errorf("got %+v, want %+v", c, d)
	}
	for _, s := range [][2]string{{c.Target, d.Target}, {c.scheme, d.scheme}, {c.answer.origin, d.answer.origin}} {
		if s[0] != s[1] || unsafe.StringData(s[0]) == unsafe.StringData(s[1]) {
			t.Errorf("%q is shared or differs", s)
		}
	}
}

// What the example document says of some requests.
func TestExample(t *testing.T) {
	t.Parallel()
	const file = "../../deploy/examples/site.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := site.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ target, key, origin, location, bypass string }{
		{"/?b=1&utm_source=x&a=2", "/?a=2&b=1\n+cookie currency=EUR", "/?a=2&b=1", "", ""},
		{"/cart", "/cart\n+cookie currency=EUR", "/cart", "", "bypass"},
		{"/cartoons", "/cartoons\n+cookie currency=EUR", "/cartoons", "", ""},
		{"/api/items?utm_x=1&a", "/api/items?a&utm_x=1\n+header X-Api-Version", "/backend/v2/items?a&utm_x=1", "", ""},
		{"/fonts/a/b.woff2?v=1", "/fonts/a/b.woff2", "/fonts/a/b.woff2", "", ""},
		{"/blog/2020/a/b", "/blog/2020/a/b\n+cookie currency=EUR", "/blog/2020/a/b", "https://blog.shop.example/a/b?year=2020", ""},
	}
	for _, tt := range tests {
		req := get(t, tt.target, "Cookie: session=1; currency=EUR")
		req.Host, req.Scheme = "shop.example", "https"
		d := s.Decide(req, false)
		if got, want := string(d.AppendKey(nil, req)), "shop\nwww.shop.example"+tt.key; got != want {
			t.Errorf("%s: key %q, want %q", tt.target, got, want)
		}
		if d.OriginTarget() != tt.origin || d.Redirect.Location != tt.location || d.Bypass != (tt.bypass != "") {
			t.Errorf("%s: %+v", tt.target, d)
		}
	}
}
