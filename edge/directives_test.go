package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// what is stored has this age when the origin answered, and lives for 100 s.
func aged(body string, age int, more string) http.HandlerFunc {
	return fields(body, "Cache-Control: max-age=100"+more, fmt.Sprint("Age: ", age), `ETag: "1"`)
}

// requestDirectives are what a client may demand of something stored with that age
// (RFC 9111 §5.2.1), of a lifetime of 100 s, and what Cache-Status then says.
var requestDirectives = []struct {
	name, field string
	age         int
	more        string // Cache-Control of the response
	want        string
}{
	{"nothing", "X: y", 10, "", "; hit"},
	{"no-cache", "Cache-Control: no-cache", 10, "", "fwd=request; fwd-status=200; stored; detail=no-cache"},
	{"Pragma", "Pragma: no-cache", 10, "", "fwd=request; fwd-status=200; stored; detail=no-cache"},
	{"max-age that holds", "Cache-Control: max-age=60", 10, "", "; hit"},
	{"max-age that does not", "Cache-Control: max-age=5", 10, "", "fwd=request; fwd-status=200; stored; detail=max-age"},
	{"max-age=0", "Cache-Control: max-age=0", 10, "", "fwd=request"},
	{"min-fresh that holds", "Cache-Control: min-fresh=30", 10, "", "; hit"},
	{"min-fresh that does not", "Cache-Control: min-fresh=95", 10, "", "fwd=request; fwd-status=200; stored; detail=min-fresh"},
	{"stale", "X: y", 200, "", "fwd=stale"},
	{"max-stale", "Cache-Control: max-stale", 200, "", "; hit; ttl=-100; detail=max-stale"},
	{"max-stale that holds", "Cache-Control: max-stale=500", 200, "", "; hit"},
	{"max-stale that does not", "Cache-Control: max-stale=10", 200, "", "fwd=stale"},
	{"max-stale against must-revalidate", "Cache-Control: max-stale", 200, ", must-revalidate", "fwd=stale"},
	{"only-if-cached, fresh", "Cache-Control: only-if-cached", 10, "", "; hit"},
	{"no-store", "Cache-Control: no-store", 10, "", "; hit"},
	{"nonsense", "Cache-Control: max-age=x y, =, ,,", 10, "", "fwd=request"},
}

func TestRequestDirectives(t *testing.T) {
	for _, tc := range requestDirectives {
		t.Run(tc.name, func(t *testing.T) {
			o := startOrigin(t, aged("content", tc.age, tc.more))
			url, _ := startLone(t, o.URL)
			get(t, url+"/a")
			a := get(t, url+"/a", tc.field)
			if wantStatus(t, a, tc.want); a.status != 200 || a.body != "content" {
				t.Errorf("got %d %q", a.status, a.body)
			}
		})
	}
}

// A site that does not honour them: they change nothing and do not reach the origin.
func TestRequestDirectivesThatAreNotHonoured(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Cache-Control") + r.Header.Get("Pragma"); got != "" {
			t.Errorf("the origin got %q", got)
		}
		aged("content", 10, "")(w, r)
	})
	url, _ := startLoneSite(t, o.URL, "cache: {honour_request: false}\n")
	for i, tc := range requestDirectives {
		target := fmt.Sprint(url, "/", i)
		if a := get(t, target, tc.field); a.status != 200 {
			t.Errorf("%s: a miss is %d", tc.name, a.status)
		}
		if a := get(t, target, tc.field); !strings.Contains(a.header.Get("Cache-Status"), "; hit") {
			t.Errorf("%s: %s", tc.name, a.header.Get("Cache-Status"))
		}
	}
}

func TestOnlyIfCached(t *testing.T) {
	o := startOrigin(t, aged("content", 200, ""))
	url, _ := startLone(t, o.URL)
	for _, state := range []string{"nothing stored", "stale"} {
		a := get(t, url+"/a", "Cache-Control: only-if-cached")
		if a.status != 504 || !strings.Contains(a.header.Get("Proxy-Status"), "error=") {
			t.Errorf("%s: %d, %v", state, a.status, a.header)
		}
		if o.asked.Load() > 1 {
			t.Errorf("%s: the origin was asked", state)
		}
		get(t, url+"/a")
	}
}

// no-store of a request is no property of the key: nothing is stored, and the next
// one is treated as if it had not been.
func TestNoStoreOfARequest(t *testing.T) {
	o := startOrigin(t, cached("max-age=60", "content"))
	url, _ := startLone(t, o.URL)
	for range 2 {
		if a := get(t, url+"/a", "Cache-Control: no-store"); !strings.HasSuffix(a.header.Get("Cache-Status"), "fwd=uri-miss; fwd-status=200") {
			t.Errorf("no-store: %s", a.header.Get("Cache-Status"))
		}
	}
	wantStatus(t, get(t, url+"/a"), "fwd=uri-miss; fwd-status=200; stored")
	wantStatus(t, get(t, url+"/a"), "; hit")
}

// A request that may not be stored does not cost others what is stored.
func TestARequestThatMayNotBeStoredDropsNothing(t *testing.T) {
	for _, field := range []string{"Cache-Control: no-store", "Authorization: Basic eA=="} {
		t.Run(field, func(t *testing.T) {
			url, v, _ := startValidated(t, fields("content", "Cache-Control: max-age=0", `ETag: "1"`), answers(304, "", "Cache-Control: max-age=0", `ETag: "1"`))
			get(t, url+"/a")
			get(t, url+"/a", field)
			if a := get(t, url+"/a"); a.body != "content" {
				t.Errorf("got %+v", a)
			}
			if got := v.seen(); got[len(got)-1] != `"1" | ` {
				t.Errorf("the origin was asked %q: nothing was stored any more", got)
			}
		})
	}
}

// What a response says decides what is stored (RFC 9111 §3), under a site document.
func TestWhatIsStored(t *testing.T) {
	const targets = "cache: {targets: [Our-Cache-Control, CDN-Cache-Control]}\n"
	old := "Last-Modified: " + ago(240*time.Hour)
	for _, tc := range []struct {
		name, site string
		status     int
		request    string
		header     []string
		want       bool
	}{
		{"max-age", "", 200, "", []string{"Cache-Control: max-age=60"}, true},
		{"s-maxage before max-age", "", 200, "", []string{"Cache-Control: max-age=60, s-maxage=0"}, false},
		{"Expires", "", 200, "", []string{"Expires: " + ago(-time.Hour)}, true},
		{"Expires in the past", "", 200, "", []string{"Expires: " + ago(time.Hour)}, false},
		{"Expires 0", "", 200, "", []string{"Expires: 0"}, false},
		{"max-age before Expires", "", 200, "", []string{"Cache-Control: max-age=60", "Expires: 0"}, true},
		{"must-understand", "", 200, "", []string{"Cache-Control: no-store, must-understand, max-age=60"}, true},
		{"must-understand of an unknown status", "", 299, "", []string{"Cache-Control: must-understand, max-age=60"}, false},
		{"CDN-Cache-Control before Cache-Control", "", 200, "", []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store"}, true},
		{"CDN-Cache-Control forbids", "", 200, "", []string{"CDN-Cache-Control: no-store", "Cache-Control: max-age=60"}, false},
		{"malformed CDN-Cache-Control", "", 200, "", []string{"CDN-Cache-Control: max-age=;", "Cache-Control: max-age=60"}, true},
		{"the first target counts", targets, 200, "", []string{"CDN-Cache-Control: no-store", "Our-Cache-Control: max-age=60"}, true},
		{"the second target", targets, 200, "", []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store"}, true},
		{"Set-Cookie", "", 200, "", []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, false},
		{"Set-Cookie that the site stores", "cache: {store_set_cookie: true}\n", 200, "", []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, true},
		{"Authorization", "", 200, "Authorization: x", []string{"Cache-Control: max-age=60"}, false},
		{"Authorization, public", "", 200, "Authorization: x", []string{"Cache-Control: public, max-age=60"}, true},
		{"Authorization, s-maxage", "", 200, "Authorization: x", []string{"Cache-Control: s-maxage=60"}, true},
		{"Authorization, must-revalidate", "", 200, "Authorization: x", []string{"Cache-Control: must-revalidate, max-age=60"}, true},
		{"Vary star", "", 200, "", []string{"Cache-Control: max-age=60", "Vary: *"}, false},
		{"heuristic", "", 200, "", []string{old}, true},
		{"heuristic of a status without", "", 403, "", []string{old}, false},
		{"no heuristic", "cache: {heuristic: {percent: 0}}\n", 200, "", []string{old}, false},
		{"nothing said", "", 200, "", nil, false},
		{"default lifetime", "cache: {default_lifetime: 1m}\n", 200, "", nil, true},
		{"404 by the site", "cache: {status_lifetimes: {404: 10s}}\n", 404, "", nil, true},
		{"503 by the site", "cache: {status_lifetimes: {503: 10s}}\n", 503, "", nil, true},
		{"503 that says more", "cache: {status_lifetimes: {503: 10s}}\n", 503, "", []string{"Cache-Control: no-store"}, false},
		{"404 by the site never", "cache: {default_lifetime: 1m, status_lifetimes: {404: 0s}}\n", 404, "", nil, false},
		{"302", "", 302, "", []string{"Cache-Control: max-age=60"}, true},
		{"500 that says so", "", 500, "", []string{"Cache-Control: max-age=60"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startOrigin(t, answers(tc.status, "content", tc.header...))
			url, _ := startLoneSite(t, o.URL, tc.site)
			head := []string{}
			if tc.request != "" {
				head = append(head, tc.request)
			}
			get(t, url+"/a", head...)
			a := get(t, url+"/a", head...)
			if hit := strings.Contains(a.header.Get("Cache-Status"), "; hit"); hit != tc.want || a.status != tc.status || a.body != "content" {
				t.Errorf("second answer %d %q, %s", a.status, a.body, a.header.Get("Cache-Status"))
			}
		})
	}
}

// Targeted fields speak to this cache; clients get them where the site says so.
func TestTargetsArePassedOnBySites(t *testing.T) {
	o := startOrigin(t, fields("content", "CDN-Cache-Control: max-age=60", "Cache-Control: no-cache"))
	for _, pass := range []bool{true, false} {
		url, _ := startLoneSite(t, o.URL, fmt.Sprintf("cache: {pass_targets: %t}\n", pass))
		for _, state := range []string{"miss", "hit"} {
			a := get(t, url+"/a")
			if got := a.header.Get("CDN-Cache-Control") != ""; got != pass || a.header.Get("Cache-Control") != "no-cache" {
				t.Errorf("pass_targets %t, %s: %v", pass, state, a.header)
			}
		}
	}
}

// The credentials of one client do not decide what another is given.
func TestAuthorizationIsNotShared(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		cached("max-age=60", "for "+r.Header.Get("Authorization"))(w, r)
	})
	url, _ := startLone(t, o.URL)
	for _, who := range []string{"a", "b", "a"} {
		if a := get(t, url+"/a", "Authorization: "+who); a.body != "for "+who {
			t.Errorf("%s got %q", who, a.body)
		}
	}
	if a := get(t, url+"/a"); a.body != "for " {
		t.Errorf("nobody got %q", a.body)
	}
	// What was stored for nobody was shown to nobody in particular: RFC 9111 §3.5 speaks
	// of storing alone.
	wantStatus(t, get(t, url+"/a"), "; hit")
}
