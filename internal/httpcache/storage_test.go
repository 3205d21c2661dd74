package httpcache

import (
	"strings"
	"testing"
	"time"
)

func TestStorage(t *testing.T) {
	fresh := "Cache-Control: max-age=60"
	cookies := Policy{StoreSetCookie: true}
	negative := Policy{StatusLifetimes: map[int]time.Duration{500: seconds(5), 429: seconds(5), 304: seconds(5)}}
	for _, tc := range []struct {
		name    string
		method  string
		request []string
		status  int
		lines   []string
		policy  Policy
		want    NoStore
	}{
		{"plain", "GET", nil, 200, []string{fresh}, Policy{}, Stored},
		{"§3: the method is understood", "HEAD", nil, 200, []string{fresh}, Policy{}, ByMethod},
		{"POST is not", "POST", nil, 200, []string{fresh, "Content-Location: /a"}, Policy{}, ByMethod},
		{"methods are case-sensitive", "get", nil, 200, []string{fresh}, Policy{}, ByMethod},
		{"§3: the status is final", "GET", nil, 103, []string{fresh}, Policy{}, ByStatusCode},
		{"a 304 belongs to another response", "GET", nil, 304, []string{fresh}, negative, ByStatusCode},
		{"RFC 6585 §4: 429 MUST NOT be stored by a cache", "GET", nil, 429, []string{fresh}, negative, ByStatusCode},
		{"no status at all", "GET", nil, 0, []string{fresh}, Policy{}, ByStatusCode},
		{"beyond the classes", "GET", nil, 600, []string{fresh}, Policy{}, ByStatusCode},

		{"§5.2.2.5: no-store", "GET", nil, 200, []string{"Cache-Control: max-age=60, no-store"}, Policy{}, ByNoStore},
		{"§5.2.1.5: no-store of the request", "GET", []string{"Cache-Control: no-store"}, 200, []string{fresh}, Policy{}, ByNoStore},
		{"unless the site passes over it", "GET", []string{"Cache-Control: no-store"}, 200, []string{fresh}, Policy{IgnoreRequestDirectives: true}, Stored},
		{"§5.2.2.7: private", "GET", nil, 200, []string{"Cache-Control: max-age=60, private"}, Policy{}, ByPrivate},
		{"private and public", "GET", nil, 200, []string{"Cache-Control: max-age=60, public, private"}, Policy{}, ByPrivate},
		{"§5.2.2.7: private=\"field\" allows the rest", "GET", nil, 200, []string{`Cache-Control: max-age=60, private="X-User"`}, Policy{}, Stored},

		{"§5.2.2.3: must-understand takes no-store back", "GET", nil, 200, []string{"Cache-Control: max-age=60, no-store, must-understand"}, Policy{}, Stored},
		{"§5.2.2.3: not for a status that is not understood", "GET", nil, 299, []string{"Cache-Control: max-age=60, must-understand"}, Policy{}, ByStatusCode},
		{"§5.2.2.3: not for the request's no-store", "GET", []string{"Cache-Control: no-store"}, 200, []string{"Cache-Control: max-age=60, must-understand"}, Policy{}, ByNoStore},
		{"with an argument it takes nothing back", "GET", nil, 200, []string{"Cache-Control: max-age=60, no-store, must-understand=1"}, Policy{}, ByNoStore},

		{"§3.5: Authorization", "GET", []string{"Authorization: x"}, 200, []string{fresh}, Policy{}, ByAuth},
		{"§3.5: and must-revalidate", "GET", []string{"Authorization: x"}, 200, []string{"Cache-Control: max-age=60, must-revalidate"}, Policy{}, Stored},
		{"§3.5: and public", "GET", []string{"Authorization: x"}, 200, []string{"Cache-Control: max-age=60, public"}, Policy{}, Stored},
		{"§3.5: and s-maxage", "GET", []string{"Authorization: x"}, 200, []string{"Cache-Control: s-maxage=60"}, Policy{}, Stored},
		{"§3.5: proxy-revalidate is not enough", "GET", []string{"Authorization: x"}, 200, []string{"Cache-Control: max-age=60, proxy-revalidate"}, Policy{}, ByAuth},
		{"§3.5: nor is public in a form that it does not have", "GET", []string{"Authorization: x"}, 200, []string{"Cache-Control: max-age=60, public=1"}, Policy{}, ByAuth},

		{"§7.3: Set-Cookie", "GET", nil, 200, []string{"Cache-Control: max-age=60, public", "Set-Cookie: a=b"}, Policy{}, ByCookie},
		{"the site says that cookies are for all", "GET", nil, 200, []string{fresh, "Set-Cookie: a=b"}, cookies, Stored},
		{"the cookie is not stored with it", "GET", nil, 200, []string{`Cache-Control: max-age=60, no-cache="set-cookie"`, "Set-Cookie: a=b"}, Policy{}, Stored},
		{"a request's cookie forbids nothing", "GET", []string{"Cookie: a=b"}, 200, []string{fresh}, Policy{}, Stored},

		{"§4.1: Vary: *", "GET", nil, 200, []string{fresh, "Vary: Accept, *"}, Policy{}, ByVary},
		{"Vary with a member that is no name", "GET", nil, 200, []string{fresh, "Vary: Accept Encoding"}, Policy{}, ByVary},

		{"§3: a status that is not heuristically cacheable says how long", "GET", nil, 302, []string{fresh}, Policy{}, Stored},
		{"§3: or is not stored", "GET", nil, 302, []string{`ETag: "x"`}, Policy{DefaultLifetime: time.Hour}, ByStatusCode},
		{"§3: or is public", "GET", nil, 302, []string{`ETag: "x"`, "Cache-Control: public"}, Policy{}, Stored},
		{"§3: an unknown status says how long", "GET", nil, 299, []string{fresh}, Policy{}, Stored},
		{"§3: an unknown status says nothing", "GET", nil, 299, []string{`ETag: "x"`}, Policy{}, ByStatusCode},
		{"negative caching", "GET", nil, 500, nil, negative, Stored},

		{"nothing to use it by, ever", "GET", nil, 200, nil, Policy{}, ByLifetime},
		{"nor by the site's stale windows alone", "GET", nil, 200, nil, Policy{StaleIfError: time.Hour}, ByLifetime},
		{"stale on arrival", "GET", nil, 200, []string{fresh, "Age: 60"}, Policy{}, ByLifetime},
		{"stale on arrival, with a window", "GET", nil, 200, []string{fresh, "Age: 60"}, Policy{StaleIfError: time.Hour}, Stored},
		{"no-cache without a validator", "GET", nil, 200, []string{"Cache-Control: no-cache"}, Policy{StaleIfError: time.Hour}, ByLifetime},
		{"no-cache with one", "GET", nil, 200, []string{"Cache-Control: no-cache", `ETag: "x"`}, Policy{}, Stored},
		{"no lifetime, but a validator", "GET", nil, 200, []string{"Last-Modified: " + stamp(-10)}, Policy{}, Stored},
		{"a validator that cannot be read is none", "GET", nil, 200, []string{"ETag: x", "Last-Modified: x"}, Policy{}, ByLifetime},

		{"§3.3: a 206 is a part", "GET", nil, 206, []string{fresh, "Content-Range: bytes 0-4/10"}, Policy{}, ByPartial},
		{"a 206 that may not be stored at all", "GET", nil, 206, []string{"Cache-Control: no-store"}, Policy{}, ByNoStore},

		{"RFC 9213: the targeted field allows it", "GET", nil, 200, []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store, private"}, Policy{Targets: DefaultTargets}, Stored},
		{"RFC 9213: the targeted field forbids it", "GET", nil, 200, []string{"CDN-Cache-Control: no-store", fresh}, Policy{Targets: DefaultTargets}, ByNoStore},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := Request{tc.method, fields(t, tc.request...)}
			if _, why := Assess(q, answer(t, tc.status, tc.lines...), &tc.policy); why != tc.want {
				t.Errorf("%q, want %q", why, tc.want)
			}
		})
	}
}

// RFC 9110 §15.1 and RFC 7725 §3 name them.
func TestHeuristicallyCacheable(t *testing.T) {
	var got []int
	for status := range 1000 {
		if HeuristicallyCacheable(status) {
			got = append(got, status)
		}
	}
	want := []int{200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v", got)
		}
	}
}

// §5.2.2.3: which statuses this cache understands.
func TestMustUnderstandByStatus(t *testing.T) {
	for status, want := range map[int]NoStore{
		200: Stored, 203: Stored, 206: ByPartial, 299: ByStatusCode, 302: Stored, 304: ByStatusCode, 306: ByStatusCode, 308: Stored,
		404: Stored, 418: ByStatusCode, 422: Stored, 428: ByStatusCode, 451: Stored, 499: ByStatusCode, 503: Stored, 511: ByStatusCode, 599: ByStatusCode,
	} {
		if _, why := Assess(get(t), answer(t, status, "Cache-Control: max-age=9, must-understand, no-store"), &Policy{}); why != want {
			t.Errorf("%d: %q, want %q", status, why, want)
		}
	}
}

func TestFacts(t *testing.T) {
	f, _ := Assess(get(t), Response{200, fields(t, `ETag: W/"a b"`, `ETag: "2"`, "Date: "+stamp(-5), "Last-Modified: "+stamp(-65),
		`Cache-Control: max-age=9, no-transform, private="X-A"`), start, after(1)}, &Policy{})
	if f.ETag != "" || !f.Date.Equal(after(-5)) || !f.LastModified.Equal(after(-65)) || !f.NoTransform || len(f.Withheld) != 1 || !f.HasValidator() {
		t.Errorf("%+v", f)
	}
	if f := factsOf(t, `ETag: W/"ä"`); f.ETag != `W/"ä"` || !f.Date.Equal(start) {
		t.Errorf("%+v", f)
	}
}

// The facts outlive the block that they were read from.
func TestFactsKeepNothingOfTheHeader(t *testing.T) {
	h := fields(t, `ETag: "first"`, `Cache-Control: max-age=9, private="x-secret"`)
	f, _ := Assess(get(t), Response{200, h, start, start}, &Policy{})
	h.Reset()
	for range 3 {
		if err := h.Add("Overwritten", strings.Repeat("z", 40)); err != nil {
			t.Fatal(err)
		}
	}
	if f.ETag != `"first"` || f.Withheld[0] != "x-secret" {
		t.Errorf("after the block was used again: %q %q", f.ETag, f.Withheld)
	}
}

// What was waiting for a response may have it only if it needs no validation.
func TestShareable(t *testing.T) {
	for cc, want := range map[string]bool{
		"max-age=5": true, "max-age=0": false, "no-cache": false, "max-age=0, stale-while-revalidate=5": true, "max-age=0, stale-if-error=5": false, "max-age=5, must-revalidate": true,
	} {
		if got := factsOf(t, "Cache-Control: "+cc).Shareable(); got != want {
			t.Errorf("%s: %v", cc, got)
		}
	}
}
