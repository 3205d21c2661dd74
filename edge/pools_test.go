package edge

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// backend is one server of an outside origin. It answers with its name; what the path says
// may be cached: /c is, all else is not.
type backend struct {
	*httptest.Server
	name  string
	asked atomic.Int64
	last  atomic.Pointer[http.Request]
	sick  atomic.Bool // answers its checks with 503
}

func startBackend(t *testing.T, name string) *backend {
	b := &backend{name: name}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			if b.sick.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		b.asked.Add(1)
		b.last.Store(r.Clone(r.Context()))
		w.Header().Set("Cache-Control", "private")
		if strings.HasPrefix(r.URL.Path, "/c") {
			w.Header().Set("Cache-Control", "max-age=600")
		}
		fmt.Fprint(w, name)
	}))
	t.Cleanup(b.Close)
	return b
}

// deadURL is the URL of a server that is not there: its port is taken by a socket on which
// nobody listens, so that no other test gets it.
func deadURL(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", addr.(*syscall.SockaddrInet4).Port)
}

// TestAPoolWithADeadServer: no client hears of it, whether a request has a body or not; with
// checks it is soon not even tried.
func TestAPoolWithADeadServer(t *testing.T) {
	t.Parallel()
	for _, check := range []string{"", "  check: {path: /healthz, every: 100ms, timeout: 100ms, fails: 2}\n"} {
		a, b := startBackend(t, "a"), startBackend(t, "b")
		gone := deadURL(t)
		url, e := startLoneSite(t, gone, fmt.Sprintf("origin:\n  servers: [{url: %s}, {url: %s}, {url: %s, weight: 5}]\n%s", a.URL, b.URL, gone, check))
		if check != "" {
			waitFor(t, func() bool { return e.checks.Unhealthy("test", gone) })
			parents := explainNow(t, e, url+"/x").Parents
			if len(parents) != 3 || parents[0].Problem != "" || parents[2].URL != gone || !strings.Contains(parents[2].Problem, "fails its checks") {
				t.Errorf("explained as %+v", parents)
			}
		}
		for i := range 30 {
			for _, a := range []answer{
				get(t, fmt.Sprintf("%s/c%d", url, i)), get(t, url+"/p"), do(t, "POST", url+"/p", strings.NewReader("body")), do(t, "DELETE", url+"/p", nil),
			} {
				if a.status != 200 || a.body != "a" && a.body != "b" {
					t.Fatalf("%d %q", a.status, a.body)
				}
			}
		}
		if a.asked.Load() < 20 || b.asked.Load() < 20 {
			t.Errorf("a was asked %d times, b %d times", a.asked.Load(), b.asked.Load())
		}
	}
}

// TestBackupsAreAskedWhenNobodyElseIs, by the checks alone: the sick server answers clients.
func TestBackupsAreAskedWhenNobodyElseIs(t *testing.T) {
	t.Parallel()
	a, b := startBackend(t, "a"), startBackend(t, "b")
	url, e := startLoneSite(t, a.URL, fmt.Sprintf(`origin:
  servers: [{url: %s}, {url: %s, backup: true}]
  check: {path: /healthz, every: 100ms, timeout: 100ms, fails: 1, passes: 1}
`, a.URL, b.URL))
	want := func(name string) {
		t.Helper()
		for i := range 10 {
			if got := get(t, fmt.Sprintf("%s/p%d", url, i)).body; got != name {
				t.Errorf("%s has answered, want %s", got, name)
			}
		}
	}
	want("a")
	a.sick.Store(true)
	waitFor(t, func() bool { return e.checks.Unhealthy("test", a.URL) })
	want("b")
	b.sick.Store(true)
	waitFor(t, func() bool { return e.checks.Unhealthy("test", b.URL) })
	want("a") // all dead: the checks are not believed
	a.sick.Store(false)
	waitFor(t, func() bool { return !e.checks.Unhealthy("test", a.URL) })
	want("a")
}

// TestServersAreAskedAsTheSiteSays: prefix, fields and Host, whatever the client sends.
func TestServersAreAskedAsTheSiteSays(t *testing.T) {
	t.Parallel()
	b := startBackend(t, "b")
	url, _ := startLoneSite(t, b.URL, fmt.Sprintf("origin: {url: %s, path_prefix: /tenant%%20a, host: own.example, headers: {X-Own: mine, Authorization: Bearer x}}\n", b.URL))
	for _, method := range []string{"GET", "POST"} {
		if a := do(t, method, url+"/c/d%2Fe?f=g", nil, "X-Own: theirs", "Authorization: Basic eQ=="); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		r := b.last.Load()
		if r.RequestURI != "/tenant%20a/c/d%2Fe?f=g" || r.Host != "own.example" || r.Header.Get("X-Own") != "mine" || r.Header.Get("Authorization") != "Bearer x" {
			t.Errorf("asked for %s of %s with %v", r.RequestURI, r.Host, r.Header)
		}
	}
	asked := b.asked.Load()
	a := get(t, url+"/c/%2e%2E/other")
	if a.status != 403 && a.status != 400 || b.asked.Load() != asked {
		t.Errorf("a path out of the prefix: %d %s", a.status, a.body)
	}
}

// TestAffinityByCookie: the first answer of what is passed on binds the client by a cookie,
// which no server gets to see and which takes no part in what is cached.
func TestAffinityByCookie(t *testing.T) {
	t.Parallel()
	backends := map[string]*backend{"a": startBackend(t, "a"), "b": startBackend(t, "b"), "c": startBackend(t, "c")}
	url, e := startLoneSite(t, backends["a"].URL, fmt.Sprintf(`origin:
  servers: [{url: %s}, {url: %s}, {url: %s}]
  affinity: cookie
  affinity_cookie: to
  check: {path: /healthz, every: 100ms, timeout: 100ms, fails: 1, passes: 1}
cache: {pass_cookies: true}
`, backends["a"].URL, backends["b"].URL, backends["c"].URL))
	first := make(map[string]int)
	for range 30 {
		a := do(t, "POST", url+"/login", nil, "Cookie: session=1")
		cookie, attributes, _ := strings.Cut(a.header.Get("Set-Cookie"), "; ")
		if !strings.HasPrefix(cookie, "to=") || attributes != "Path=/; HttpOnly; SameSite=Lax" {
			t.Fatalf("Set-Cookie %q", a.header.Get("Set-Cookie"))
		}
		first[a.body]++
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			next := do(t, method, url+"/cart", nil, "Cookie: session=1; "+cookie+"; other=2")
			if next.body != a.body || next.header.Get("Set-Cookie") != "" {
				t.Fatalf("bound to %s, answered by %s with Set-Cookie %q", a.body, next.body, next.header.Get("Set-Cookie"))
			}
			if got := backends[a.body].last.Load().Header; got.Get("Cookie") != "session=1; other=2" || got.Get("Freshet-Affinity") != "" {
				t.Fatalf("%s gets %v", a.body, got)
			}
		}
	}
	if len(first) != 3 {
		t.Errorf("clients without a cookie are answered by %v", first)
	}
	// What is cacheable: not bound, no cookie set, one copy for all.
	cookie, _, _ := strings.Cut(do(t, "POST", url+"/login", nil).header.Get("Set-Cookie"), ";")
	miss, hit := get(t, url+"/c1", "Cookie: "+cookie), get(t, url+"/c1", "Cookie: to=another")
	if miss.header.Get("Set-Cookie") != "" || hit.header.Get("Set-Cookie") != "" {
		t.Errorf("Set-Cookie %q on a miss, %q on a hit", miss.header.Get("Set-Cookie"), hit.header.Get("Set-Cookie"))
	}
	wantStatus(t, hit, "hit")
	if got := backends[miss.body].last.Load().Header; got.Get("Cookie") != "" {
		t.Errorf("a fill has %q", got.Get("Cookie"))
	}
	// A page that is known not to be cacheable is bound as well.
	get(t, url+"/page")
	bound := get(t, url+"/page")
	if cookie, _, _ = strings.Cut(bound.header.Get("Set-Cookie"), ";"); cookie == "" {
		t.Fatal("a private page binds nobody")
	}
	for range 10 {
		if got := get(t, url+"/page", "Cookie: "+cookie); got.body != bound.body {
			t.Errorf("bound to %s, answered by %s", bound.body, got.body)
		}
	}
	// The server dies: another one takes over and says so.
	dead := backends[bound.body]
	dead.sick.Store(true)
	waitFor(t, func() bool { return e.checks.Unhealthy("test", dead.URL) })
	moved := do(t, "POST", url+"/cart", nil, "Cookie: "+cookie)
	if moved.status != 200 || moved.body == bound.body || !strings.HasPrefix(moved.header.Get("Set-Cookie"), "to=") {
		t.Errorf("bound to %s, which is dead: %d %s, Set-Cookie %q", bound.body, moved.status, moved.body, moved.header.Get("Set-Cookie"))
	}
}

// TestAPublicAnswerBindsNobody: whoever stores it on its way would give the cookie to all.
func TestAPublicAnswerBindsNobody(t *testing.T) {
	t.Parallel()
	o := startOrigin(t, cached("public, max-age=60", "x"))
	url, _ := startLoneSite(t, o.URL, fmt.Sprintf("origin: {url: %s, affinity: cookie}\nrules: [{cache: {bypass: true}}]\n", o.URL))
	if got := get(t, url+"/a").header.Get("Set-Cookie"); got != "" {
		t.Errorf("Set-Cookie %q", got)
	}
	other := cached("max-age=60", "x")
	o.serve.Store(&other)
	if got := get(t, url+"/a").header.Get("Set-Cookie"); !strings.HasPrefix(got, "freshet-origin=") {
		t.Errorf("Set-Cookie %q", got)
	}
}

// TestAServerWithoutItsSecretIsNotAsked: the node serves on, and says which one is missing
// in its log; alone, it has them from its environment.
func TestAServerWithoutItsSecretIsNotAsked(t *testing.T) {
	b := startBackend(t, "b")
	site := fmt.Sprintf("origin: {url: %s, s3: {region: r, access_key: my-id, secret_key: my-key}}\n", b.URL)
	url, e := startLoneSite(t, b.URL, site)
	if a := get(t, url+"/a"); a.status != 500 || !strings.Contains(a.header.Get("Proxy-Status"), "proxy_configuration_error") || b.asked.Load() != 0 {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if parents := explainNow(t, e, url+"/a").Parents; len(parents) != 1 || !strings.Contains(parents[0].Problem, "secret my-id: the environment variable FRESHET_SECRET_MY_ID is not set") {
		t.Errorf("explained as %+v", parents)
	}
	t.Setenv("FRESHET_SECRET_MY_ID", "id")
	t.Setenv("FRESHET_SECRET_MY_KEY", "key")
	url, _ = startLoneSite(t, b.URL, site)
	if a := get(t, url+"/a"); a.status != 200 || !strings.HasPrefix(b.last.Load().Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=id/") {
		t.Errorf("%d %s", a.status, a.body)
	}
	for path, want := range map[string]int{"/": 403, "/?list-type=2": 403} {
		if a := get(t, url+path); a.status != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := do(t, "PUT", url+"/a", strings.NewReader("x")); a.status != 403 {
		t.Errorf("PUT: %d %s", a.status, a.body)
	}
}
