package policy

import (
	"math/rand/v2"
	"strings"
	"testing"

	"freshet/edge/exchange"
	"freshet/internal/header"
	"freshet/internal/site"
)

// fullText is a site that uses everything.
const fullText = `
hosts: [s.example, www.s.example, '*.w.example']
cache:
  key: {query: {mode: deny, names: [utm_*], sort: true}, headers: [X-Key], cookies: [lang], device: true, scheme: true}
rules:
- match: {path: {prefix: /img/}}
  cache: {force_lifetime: 1h, key: {query: {mode: none}}}
- match: {path: {prefix: /api/}, header: {X-App: '*'}}
  rewrite: {regex: '^/api/(.*)$', to: '/v2/$1'}
  request_headers: {set: {X-Mode: app}}
- match: {path: {glob: '/*/old/**'}, scheme: http, method: [GET]}
  redirect: {to: 'https://${host}/$1/new/$2${query}'}
- match: {header: {Cookie: '*session=*'}}
  cache: {bypass: true}
- cors: {origins: ['https://*.example']}
  response_headers: {remove: [X-Own]}
`

// randomRequest draws from few values, so that requests meet.
func randomRequest(rng *rand.Rand) *exchange.Request {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	h := new(header.Block)
	for range rng.IntN(4) {
		name := pick("X-Key", "X-App", "Cookie", "User-Agent", "Origin", "X-Forwarded-Proto", "X-Forwarded-Host", "Accept")
		_ = h.Add(name, pick("", "a", "https", "https://a.example", "lang=de", "lang=de; x=y", "session=1; lang=en", "iPhone Mobile"))
	}
	return &exchange.Request{
		Method: pick("GET", "GET", "HEAD", "OPTIONS"), Scheme: pick("http", "https"), Host: pick("s.example", "www.s.example", "a.w.example"), Port: pick("", "8080"),
		Target: pick("/", "/img/a", "/api/x", "/a/old/b/c") + pick("", "?", "?a=1&b=2", "?b=2&a=1", "?utm_x=1&a=1&b=2", "?b=1&b=2"), Header: h,
	}
}

// Requests that share a key are alike to the origin, but for the fields that Vary has
// to name; and deciding twice gives the same.
func TestRequestsOfOneKeyAreAlikeToTheOrigin(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := compile(t, fullText)
	asked := make(map[string]string)
	for range 20000 {
		req := randomRequest(rng)
		d, again := s.Decide(req, false), s.Decide(req.Clone(), false)
		key := string(d.AppendKey(nil, req))
		if other := string(again.AppendKey(nil, req)); other != key {
			t.Fatalf("the same request has the keys %q and %q", key, other)
		}
		if d.Bypass || d.Redirect.Status != 0 || d.Preflight != nil {
			continue
		}
		h := d.FillHeader(req)
		if err := d.EditForOrigin(h, false); err != nil {
			t.Fatal(err)
		}
		h.Filter(func(name, _ string) bool { return !req.Header.Has(name) || len(d.Varying([]string{name})) == 0 })
		fields := make([]string, 0, h.Len())
		for i := range h.Len() {
			name, value := h.At(i)
			fields = append(fields, name+"="+value)
		}
		ask := d.Authority + " " + d.OriginTarget() + " " + canonical(fields)
		if before, ok := asked[key]; ok && before != ask {
			t.Fatalf("with the key %q the origin is asked\n%s\nand\n%s", key, before, ask)
		}
		asked[key] = ask
	}
	if len(asked) < 100 {
		t.Errorf("%d keys: too few to mean anything", len(asked))
	}
}

// canonical is fields without regard to the order of different names.
func canonical(fields []string) string {
	byName := make(map[string]string)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		byName[strings.ToLower(name)] += "," + value
	}
	var b strings.Builder
	for _, name := range []string{"x-key", "cookie", "x-mode", "x-device", "x-forwarded-proto"} {
		b.WriteString(name + byName[name] + ";")
		delete(byName, name)
	}
	for name := range byName {
		b.WriteString("unexpected " + name)
	}
	return b.String()
}

// What a decision says of the key's query is what purges are told.
func TestDecisionsAndPurgesAgree(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := compile(t, fullText)
	keys, err := site.CompileKeys(s.Document())
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		req := randomRequest(rng)
		if d := s.Decide(req, false); d.Target != keys.Target(req.Target) {
			t.Fatalf("%s is stored under %s and purged as %s", req.Target, d.Target, keys.Target(req.Target))
		}
	}
}

// FuzzDecide: whatever a client sends, the key keeps apart what differs, nothing
// that is made of it can split a message, and the tier above agrees.
func FuzzDecide(f *testing.F) {
	f.Add("/api/a?b=2&a=1", "X-App", "1", "lang=de; session=1")
	f.Add("//evil/old/x", "Origin", "https://a.example", "")
	f.Add("/%2e%2e/old/\\", "User-Agent", "iPad", "lang")
	s := func(t testing.TB) *Site { return compile(t, fullText) }
	f.Fuzz(func(t *testing.T, target, name, value, cookie string) {
		if !strings.HasPrefix(target, "/") {
			return // the listener refuses it
		}
		h := new(header.Block)
		if h.Add(name, value) != nil || h.Add("Cookie", cookie) != nil {
			return
		}
		req := &exchange.Request{Method: "GET", Scheme: "http", Host: "a.w.example", Target: target, Header: h}
		site := s(t)
		d := site.Decide(req, false)
		if d.Refuse != "" {
			return
		}
		for _, made := range []string{d.Target, d.OriginTarget(), d.Redirect.Location} {
			if strings.ContainsAny(made, "\r\n \x00") || len(made) > len(target)+maxTarget {
				t.Fatalf("%q makes %q", target, made)
			}
		}
		if strings.HasPrefix(d.Redirect.Location, "//") || !strings.HasPrefix(d.OriginTarget(), "/") {
			t.Fatalf("%q leads to %q and %q", target, d.Redirect.Location, d.OriginTarget())
		}
		key := d.AppendKey(nil, req)
		if lines := strings.Split(string(key), "\n"); len(lines) < 2 || lines[1] != d.Authority+d.Target {
			t.Fatalf("key %q", key)
		}
		up := *req
		up.Target, up.Header = d.Target, d.FillHeader(req)
		above := site.Decide(&up, true)
		if got := above.AppendKey(nil, &up); string(got) != string(key) || above.OriginTarget() != d.OriginTarget() {
			t.Fatalf("key %q at the edge and %q at the mid, for %q and %q", key, got, d.OriginTarget(), above.OriginTarget())
		}
		if err := above.EditForOrigin(up.Header, false); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDecideAllocatesNothing(t *testing.T) {
	s := compile(t, "")
	req := get(t, "/assets/app.css?v=123", "Accept: */*", "User-Agent: x")
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		d := s.Decide(req, false)
		buf = d.AppendKey(buf[:0], req)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	ruled := compile(t, strings.Replace(rulesText, `regex: "^/img/.*[.]tmp$"`, `glob: "/img/**.tmp"`, 1)) // regexp uses a pool
	if n := testing.AllocsPerRun(100, func() {
		d := ruled.Decide(req, false)
		buf = d.AppendKey(buf[:0], req)
	}); n != 0 {
		t.Errorf("with rules: %v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	many := "rules:\n" + strings.Repeat("- match: {path: {glob: '/products/**/*.html'}}\n  cache: {force_lifetime: 1m}\n", site.MaxRules)
	for _, bb := range []struct{ name, text string }{{"plain", ""}, {"four rules", rulesText}, {"full", fullText}, {"200 globs", many}} {
		s := compile(b, bb.text)
		req := get(b, "/assets/css/app.css?v=123", "Accept: */*", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0", "Cookie: lang=de")
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 256)
			for b.Loop() {
				d := s.Decide(req, false)
				buf = d.AppendKey(buf[:0], req)
			}
		})
	}
}
