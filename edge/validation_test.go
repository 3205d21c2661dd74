package edge

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// ago is an HTTP-date that has passed.
func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format(http.TimeFormat) }

// fields answers 200 with header fields ("Name: value") and a body.
func fields(body string, header ...string) http.HandlerFunc { return answers(200, body, header...) }

// answers answers with a status, header fields and a body.
func answers(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, h := range header {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		if status != 304 && status != 204 {
			fmt.Fprint(w, body)
		}
	}
}

// validated answers the first request with first, one that is conditional with
// then, and records the conditions of each.
type validated struct {
	first, then http.HandlerFunc

	mu         sync.Mutex
	conditions []string // "If-None-Match | If-Modified-Since" of each request
}

func (v *validated) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.conditions = append(v.conditions, r.Header.Get("If-None-Match")+" | "+r.Header.Get("If-Modified-Since"))
	v.mu.Unlock()
	if r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since") == "" {
		v.first(w, r)
		return
	}
	v.then(w, r)
}

// seen are the conditions of the requests so far.
func (v *validated) seen() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.conditions...)
}

func startValidated(t *testing.T, first, then http.HandlerFunc) (url string, v *validated, o *origin) {
	t.Helper()
	v = &validated{first: first, then: then}
	o = startOrigin(t, v.ServeHTTP)
	url, _ = startLone(t, o.URL)
	return url, v, o
}

// RFC 9111 §4.3.4: the fields of a 304 take the place of those stored, the content
// stays, and what it freshened is used from then on.
func TestA304Freshens(t *testing.T) {
	modified := ago(240 * time.Hour)
	for _, tc := range []struct{ name, validator, update, asked string }{
		{"strong ETag", `ETag: "v1"`, `ETag: "v1"`, `"v1" | `},
		{"weak ETag", `ETag: W/"v1"`, `ETag: W/"v1"`, `W/"v1" | `},
		{"Last-Modified", "Last-Modified: " + modified, "Last-Modified: " + modified, " | " + modified},
		{"304 without validator", `ETag: "v1"`, "X-None: 1", `"v1" | `},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, v, o := startValidated(t,
				fields("content", "Cache-Control: max-age=0", "X-Version: 1", "X-Kept: yes", "Content-Type: text/x", tc.validator),
				answers(304, "", "Cache-Control: max-age=60", "X-Version: 2", tc.update))
			get(t, url+"/a")
			second, third := get(t, url+"/a"), get(t, url+"/a")
			for i, a := range []answer{second, third} {
				if a.status != 200 || a.body != "content" || a.header.Get("X-Version") != "2" || a.header.Get("X-Kept") != "yes" ||
					a.header.Get("Content-Type") != "text/x" || a.header.Get("Cache-Control") != "max-age=60" {
					t.Errorf("answer %d: %+v", i+2, a)
				}
			}
			wantStatus(t, second, "fwd=stale; fwd-status=304; stored")
			wantStatus(t, third, "; hit; ttl=")
			if got := v.seen(); len(got) != 2 || got[1] != tc.asked {
				t.Errorf("the origin was asked %q, want the second with %q", got, tc.asked)
			}
			if o.asked.Load() != 2 {
				t.Errorf("the origin was asked %d times, want 2", o.asked.Load())
			}
		})
	}
}

// A 304 that speaks of something else freshens nothing (RFC 9111 §4.3.4): the
// client gets neither the stored content nor the 304.
func TestA304OfAnotherResponseIsFetchedWhole(t *testing.T) {
	for _, tc := range []struct{ name, stored, update string }{
		{"another strong ETag", `ETag: "v1"`, `ETag: "v2"`},
		{"another weak ETag", `ETag: W/"v1"`, `ETag: W/"v2"`},
		{"another date", "Last-Modified: " + ago(240*time.Hour), "Last-Modified: " + ago(24*time.Hour)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, v, o := startValidated(t, fields("old", "Cache-Control: max-age=0", tc.stored), answers(304, "", "Cache-Control: max-age=60", tc.update))
			get(t, url+"/a")
			v.first = fields("new", "Cache-Control: max-age=60", tc.update)
			if a := get(t, url+"/a"); a.status != 200 || a.body != "new" {
				t.Errorf("got %d %q", a.status, a.body)
			}
			if a := get(t, url+"/a"); a.body != "new" {
				t.Errorf("stored %q", a.body)
			}
			if n := o.asked.Load(); n != 3 {
				t.Errorf("the origin was asked %d times, want 3: first, conditional, whole", n)
			}
		})
	}
}

func TestA304WithoutConditionsIsABadAnswer(t *testing.T) {
	o := startOrigin(t, answers(304, "", `ETag: "x"`, "Cache-Control: max-age=60"))
	url, _ := startLone(t, o.URL)
	for range 2 {
		a := get(t, url+"/a", `If-None-Match: "x"`)
		if a.status != 502 || !strings.Contains(a.header.Get("Proxy-Status"), "error=http_protocol_error") {
			t.Errorf("got %d, %q", a.status, a.header.Get("Proxy-Status"))
		}
	}
	if n := o.asked.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestAChangedBodyReplaces(t *testing.T) {
	url, _, o := startValidated(t, fields("old", "Cache-Control: max-age=0", `ETag: "1"`), fields("new", "Cache-Control: max-age=60", `ETag: "2"`))
	get(t, url+"/a")
	second, third := get(t, url+"/a"), get(t, url+"/a")
	wantStatus(t, second, "fwd=stale; fwd-status=200; stored")
	wantStatus(t, third, "; hit")
	if second.body != "new" || third.body != "new" || third.header.Get("ETag") != `"2"` || o.asked.Load() != 2 {
		t.Errorf("got %q, %q, %v after %d requests", second.body, third.body, third.header, o.asked.Load())
	}
}

// RFC 9111 §4.2.4, §5.2.2.2: not even an origin that is gone makes these usable,
// whatever the site or the client say.
func TestWhatMustBeValidatedIsNeverServedOnError(t *testing.T) {
	for _, cc := range []string{"max-age=0, must-revalidate", "max-age=0, proxy-revalidate", "s-maxage=0", "no-cache", "max-age=0, must-revalidate, stale-if-error=600"} {
		t.Run(cc, func(t *testing.T) {
			o := startOrigin(t, fields("old", "Cache-Control: "+cc, `ETag: "1"`))
			url, _ := startLoneSite(t, o.URL, "cache: {stale_if_error: 1d, stale_while_revalidate: 1d, honour_request: true}\n")
			get(t, url+"/a")
			broken := answers(503, "down")
			o.serve.Store(&broken)
			if a := get(t, url+"/a", "Cache-Control: max-stale, stale-if-error=600"); a.status != 503 || a.body != "down" {
				t.Errorf("the origin answers 503: got %d %q", a.status, a.body)
			}
			o.Close()
			a := get(t, url+"/a", "Cache-Control: max-stale, stale-if-error=600")
			if a.status != 502 && a.status != 504 || !strings.Contains(a.header.Get("Proxy-Status"), "freshet-e1; error=") {
				t.Errorf("the origin is gone: got %d %q, %q", a.status, a.body, a.header.Get("Proxy-Status"))
			}
		})
	}
}

func TestNoCacheIsStoredAndValidatedEachTime(t *testing.T) {
	url, v, _ := startValidated(t, fields("content", "Cache-Control: no-cache", `ETag: "1"`), answers(304, "", `ETag: "1"`))
	get(t, url+"/a")
	for range 3 {
		a := get(t, url+"/a")
		if a.status != 200 || a.body != "content" {
			t.Errorf("got %d %q", a.status, a.body)
		}
		wantStatus(t, a, "fwd=stale; fwd-status=304; stored")
	}
	if got := v.seen(); len(got) != 4 || got[3] != `"1" | ` {
		t.Errorf("the origin was asked %q", got)
	}
}

// RFC 9111 §4.3.5: the answer to a HEAD freshens what it speaks of, and makes stale
// what it does not.
func TestHeadFreshens(t *testing.T) {
	for _, tc := range []struct {
		name, head string
		freshens   bool
	}{
		{"same ETag", `"1"`, true},
		{"another ETag", `"2"`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "HEAD" {
					fields("content", "Cache-Control: max-age=60", "X-Version: 2", "ETag: "+tc.head)(w, r)
					return
				}
				fields("content", "Cache-Control: max-age=0", "X-Version: 1", `ETag: "1"`)(w, r)
			})
			url, _ := startLone(t, o.URL)
			get(t, url+"/a")
			if a := do(t, "HEAD", url+"/a", nil); a.status != 200 || a.header.Get("X-Version") != "2" || a.header.Get("Content-Length") != "7" {
				t.Errorf("HEAD: %+v", a)
			}
			a := get(t, url+"/a")
			hit := strings.Contains(a.header.Get("Cache-Status"), "; hit")
			if a.body != "content" || hit != tc.freshens {
				t.Errorf("GET: %q, %q", a.body, a.header.Get("Cache-Status"))
			}
			if hit && a.header.Get("X-Version") != "2" {
				t.Errorf("the header was not updated: %v", a.header)
			}
		})
	}
}

func TestConcurrentStaleRequestsAreOneValidation(t *testing.T) {
	release := make(chan struct{})
	url, v, o := startValidated(t, fields("content", "Cache-Control: max-age=0", `ETag: "1"`), func(w http.ResponseWriter, r *http.Request) {
		<-release
		answers(304, "", "Cache-Control: max-age=60", `ETag: "1"`)(w, r)
	})
	get(t, url+"/a")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if a := get(t, url+"/a"); a.status != 200 || a.body != "content" {
				t.Errorf("got %d %q", a.status, a.body)
			}
		})
	}
	waitFor(t, func() bool { return o.asked.Load() == 2 })
	close(release)
	wg.Wait()
	if got := v.seen(); len(got) != 2 {
		t.Errorf("the origin was asked %q, want once without and once with conditions", got)
	}
}

// What a 304 makes unfit for sharing goes to the one who asked alone.
func TestA304ForOneClientIsNotShared(t *testing.T) {
	for _, extra := range []string{"Set-Cookie", "Cache-Control"} {
		t.Run(extra, func(t *testing.T) {
			var o *origin
			release := make(chan struct{})
			url, _, o := startValidated(t, fields("content", "Cache-Control: max-age=0", `ETag: "1"`), func(w http.ResponseWriter, r *http.Request) {
				<-release
				n := o.asked.Load()
				answers(304, "", fmt.Sprintf("%s: private=%d, private, max-age=60", extra, n), fmt.Sprint("X-For: ", r.Header.Get("X-Client")), `ETag: "1"`)(w, r)
			})
			get(t, url+"/a")
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					if a := get(t, url+"/a", fmt.Sprint("X-Client: ", i)); a.header.Get("X-For") != "" && a.header.Get("X-For") != fmt.Sprint(i) {
						t.Errorf("client %d got the answer for %s: %v", i, a.header.Get("X-For"), a.header)
					}
				})
			}
			waitFor(t, func() bool { return o.asked.Load() >= 2 })
			close(release)
			wg.Wait()
		})
	}
}

// RFC 9111 §4: those who wait for a response may have it only if they may reuse it.
func TestWaitingIsNoLicenceToUseWhatMustBeValidated(t *testing.T) {
	for _, cc := range []string{"no-cache", "max-age=0, must-revalidate"} {
		t.Run(cc, func(t *testing.T) {
			release := make(chan struct{})
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				<-release
				fields("for "+r.Header.Get("X-Client"), "Cache-Control: "+cc, fmt.Sprintf(`ETag: "%s"`, r.Header.Get("X-Client")))(w, r)
			})
			url, _ := startLone(t, o.URL)
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					if a := get(t, url+"/a", fmt.Sprint("X-Client: ", i)); a.body != fmt.Sprint("for ", i) {
						t.Errorf("client %d got %q, %s", i, a.body, a.header.Get("Cache-Status"))
					}
				})
			}
			waitFor(t, func() bool { return o.asked.Load() >= 1 })
			close(release)
			wg.Wait()
		})
	}
}
