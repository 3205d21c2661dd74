package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/exchange"
	"freshet/edge/invalidate"
	"freshet/edge/listener"
	"freshet/edge/response"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

// handlerFunc gets the walk of a request before its first step.
type handlerFunc func(*walk)

func (f handlerFunc) Serve(ctx context.Context, req *exchange.Request, to exchange.Responder) {
	f(&walk{course: course{ctx: ctx, req: req, to: to}})
}

// explainLater asks the page of an edge what it would do some time from now.
func explainLater(t *testing.T, e *Edge, later time.Duration, query url.Values) *Explanation {
	t.Helper()
	asked, fetch, err := explained(httptest.NewRequest("GET", "/explain?"+query.Encode(), nil))
	if err != nil {
		t.Fatal(err)
	}
	full := listener.Full{Handler: explainer{e, fetch}, Now: func() time.Time { return time.Now().Add(later) }}
	rec := httptest.NewRecorder()
	full.ServeHTTP(rec, asked)
	x := new(Explanation)
	if err := json.Unmarshal(rec.Body.Bytes(), x); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", rec.Code, err, rec.Body)
	}
	return x
}

func explainNow(t *testing.T, e *Edge, url string, header ...string) *Explanation {
	t.Helper()
	return explainLater(t, e, 0, map[string][]string{"url": {url}, "header": header})
}

func wantOutcome(t *testing.T, x *Explanation, outcome Outcome, status, why string) {
	t.Helper()
	if x.Outcome != outcome || !strings.Contains(x.CacheStatus, status) || !strings.Contains(x.Why, why) {
		t.Errorf("got %s (%s): %q, want %s (%s): %q", x.Outcome, x.CacheStatus, x.Why, outcome, status, why)
	}
}

func TestExplainFollowsAResponseThroughItsLife(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=30")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Cache-Groups", `"shoes"`)
		fmt.Fprint(w, "hello")
	})
	at, e := startLone(t, o.URL)
	at += "/a?b=c"

	x := explainNow(t, e, at)
	wantOutcome(t, x, Forwarded, "freshet-e1; fwd=uri-miss", "nothing is stored")
	if x.Node != "e1" || x.Role != "edge" || x.Method != "GET" || x.URL != at || x.Site != "upstream" || x.Stored != nil {
		t.Errorf("before it is stored: %+v", x)
	}
	if !strings.HasPrefix(x.Key, "upstream\n127.0.0.1:") || !strings.HasSuffix(x.Key, "/a?b=c") || x.OriginTarget != "/a?b=c" {
		t.Errorf("key %q, origin target %q", x.Key, x.OriginTarget)
	}
	if want := []ParentNow{{Name: strings.TrimPrefix(o.URL, "http://"), Kind: "outside", URL: o.URL, Breaker: "closed", Limit: 256}}; !slices.Equal(x.Parents, want) {
		t.Errorf("parents %+v, want %+v", x.Parents, want)
	}
	if o.asked.Load() != 0 {
		t.Error("the origin was asked")
	}

	get(t, at)
	x = explainNow(t, e, at)
	wantOutcome(t, x, Hit, "freshet-e1; hit; ttl=", "fresh for another")
	s := x.Stored
	if s == nil || s.Kind != "content" || s.Status != 200 || s.Bytes != 5 || s.State != "fresh" || s.Lifetime != 60 ||
		s.LifetimeFrom != "max-age" || s.StaleWhileRevalidate != 30 || s.ETag != `"v1"` || s.Dead != "" || s.Born != x.Clock.Applied ||
		s.Log != x.Clock.Log || !slices.Equal(s.Groups, []string{"shoes"}) || s.Age+s.TTL != s.Lifetime {
		t.Errorf("stored: %+v at %+v", s, x.Clock)
	}
	wantOutcome(t, explainNow(t, e, at, "Cache-Control: no-cache"), Validated, "fwd=request; detail=no-cache", "demands more (no-cache): it is validated")
	wantOutcome(t, explainNow(t, e, at+"d", "Cache-Control: only-if-cached"), NotCached, "fwd=request; detail=only-if-cached", "only-if-cached")

	x = explainLater(t, e, 70*time.Second, url.Values{"url": {at}})
	wantOutcome(t, x, HitAndRefresh, "hit; ttl=-", "within stale-while-revalidate")
	if x.Stored.State != "stale-while-revalidate" || x.Stored.TTL >= 0 {
		t.Errorf("stored: %+v", x.Stored)
	}
	wantOutcome(t, explainLater(t, e, time.Hour, url.Values{"url": {at}}), Validated, "fwd=stale", "it is validated")
	accepting := url.Values{"url": {at}, "header": {"Cache-Control: max-stale"}}
	wantOutcome(t, explainLater(t, e, time.Hour, accepting), Hit, "hit; ttl=-", "which the request accepts (max-stale)")
	if o.asked.Load() != 1 {
		t.Errorf("the origin was asked %d times", o.asked.Load())
	}
}

func TestExplainSaysWhyWhatIsStoredIsDead(t *testing.T) {
	o := startOrigin(t, cached("max-age=60", "hello"))
	for _, tc := range []struct {
		name, dead, why string
		kill            func(e *Edge)
	}{
		{"a purge", "purged", "a purge covers it (sequence 1.2)", func(e *Edge) {
			e.table.Apply(e.table.Clock().Seq+1, invalidate.Effect{Scopes: []response.ScopeHash{response.HashScope(command.Scope{Kind: command.ScopeURL, Site: "upstream", Value: "/a"})}})
		}},
		{"a purge of the log", "purged", "a purge covers it (sequence 1.2: purge 17a by ann at 2026-01-02T03:04:05Z)", func(e *Edge) {
			err := e.Apply(e.table.Clock().Seq+1, command.Command{
				ID: "17a", Kind: command.Purge, By: "ann", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
				Scopes: []command.Scope{{Kind: command.ScopePrefix, Site: "upstream", Value: "/"}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"the log begins anew", "restart", "the command log was begun anew", func(e *Edge) {
			e.table.Restart(command.Clock{Log: 7, Seq: command.FirstOf(2)})
		}},
		{"an unsafe method", "touched", "unsafe method", func(e *Edge) {
			e.table.Touch(response.HashScope(command.Scope{Kind: command.ScopeURL, Site: "upstream", Value: "/a"}))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at, e := startLone(t, o.URL)
			get(t, at+"/a")
			tc.kill(e)
			x := explainNow(t, e, at+"/a")
			wantOutcome(t, x, Forwarded, "fwd=miss", tc.why)
			if x.Stored == nil || x.Stored.Dead != tc.dead || x.Stored.State != "fresh" {
				t.Errorf("stored: %+v", x.Stored)
			}
			if tc.dead == "purged" && (x.Clock.Mark != "1.2" || x.Clock.Applied != "1.2" || x.Stored.AsOf != "1.1") {
				t.Errorf("clock %+v, as of %s", x.Clock, x.Stored.AsOf)
			}
			get(t, at+"/a")
			wantOutcome(t, explainNow(t, e, at+"/a"), Hit, "hit", "fresh")
		})
	}
}

func TestExplainNamesTheRulesAndWhatTheyDo(t *testing.T) {
	o := startOrigin(t, cached("max-age=60", "hello"))
	_, e := startLoneSite(t, o.URL, `
hosts: [shop.example, www.shop.example]
cache: {key: {query: {mode: deny, names: [utm_*]}}}
rules:
  - {name: old, match: {path: {prefix: /old/}}, redirect: {status: 301, to: /new/$1}}
  - {name: cart, match: {path: {prefix: /cart}}, cache: {bypass: true}}
  - {name: api, match: {path: {prefix: /api/}}, rewrite: {to: /v1/$1}}
  - {match: {header: {X-Beta: '*'}}, request_headers: {set: {X-Variant: beta}}}
`)
	for _, tc := range []struct {
		url, header string
		outcome     Outcome
		rules       []string
		status, why string
	}{
		{"http://shop.example/cart/1", "", Passed, []string{"cart"}, "fwd=bypass", "bypasses the cache"},
		{"http://shop.example/old/a", "", Redirected, []string{"old"}, "", "redirects"},
		{"http://shop.example/api/x", "X-Beta: 1", Forwarded, []string{"api", "rules[3]"}, "fwd=uri-miss", "nothing is stored"},
		{"http://shop.example/cart%2f1", "", Refused, nil, "", "the path"},
		{"http://shop.example/a b", "", Refused, nil, "", "must be encoded"},
		{"http://other.example/", "", Refused, nil, "", "no site here has the host other.example"},
		{"http://any.example/cart/1", "Host: shop.example", Passed, []string{"cart"}, "fwd=bypass", ""},
		{"https://shop.example/x", "CDN-Loop: freshet-e1", Refused, nil, "", "passed this node before"},
	} {
		t.Run(tc.url+" "+tc.header, func(t *testing.T) {
			q := url.Values{"url": {tc.url}}
			if tc.header != "" {
				q.Set("header", tc.header)
			}
			x := explainLater(t, e, 0, q)
			wantOutcome(t, x, tc.outcome, tc.status, tc.why)
			if !slices.Equal(x.Rules, tc.rules) {
				t.Errorf("rules %q, want %q", x.Rules, tc.rules)
			}
		})
	}
	if x := explainNow(t, e, "http://shop.example/old/a"); x.Status != 301 || x.Location != "/new/a" {
		t.Errorf("redirect: %d %s", x.Status, x.Location)
	}
	if x := explainNow(t, e, "http://other.example/"); x.Status != 421 || x.ProxyStatus != "destination_not_found" || x.Site != "" {
		t.Errorf("unknown host: %+v", x)
	}
	x := explainNow(t, e, "http://www.shop.example/api/x?utm_source=y&z=1", "X-Beta: 1")
	if x.Key != "test\nshop.example/api/x?z=1\n+rule 3" || x.OriginTarget != "/v1/x?z=1" || x.Site != "test" {
		t.Errorf("key %q, origin target %q", x.Key, x.OriginTarget)
	}
	if want := []string{"url test/api/x?z=1", "key", "prefix test/", "prefix test/api/", "site test", "all"}; !slices.Equal(x.Scopes, want) {
		t.Errorf("scopes %q, want %q", x.Scopes, want)
	}
	if x := explainLater(t, e, 0, url.Values{"url": {"http://shop.example/"}, "method": {"POST"}}); x.Outcome != Passed || x.Method != "POST" {
		t.Errorf("POST: %+v", x)
	}
	if o.asked.Load() != 0 {
		t.Error("the origin was asked")
	}
}

// The names of the scopes that an explanation shows are those by which purges find
// what is stored.
func TestExplainedScopesAreThoseOfTheWalk(t *testing.T) {
	_, e := startLone(t, "http://127.0.0.1:1")
	asked, _, err := explained(httptest.NewRequest("GET", "/explain?url=http://h.example/a%3Fb", nil))
	if err != nil {
		t.Fatal(err)
	}
	full := listener.Full{Now: time.Now, Handler: handlerFunc(func(w *walk) {
		w.edge = e
		if _, text := w.admit(); text != "" {
			t.Fatal(text)
		}
		var named []response.ScopeHash
		for _, s := range w.namedScopes() {
			named = append(named, response.HashScope(s))
		}
		if !slices.Equal(named, w.covers()) {
			t.Errorf("the scopes %v have not the hashes of the walk's", w.namedScopes())
		}
		_ = w.to.Respond(&exchange.Answer{Status: http.StatusNoContent})
	})}
	full.ServeHTTP(httptest.NewRecorder(), asked)
}

func TestExplainSaysWhyWhatIsStoredIsStale(t *testing.T) {
	o := startOrigin(t, cached("max-age=60, stale-if-error=600", "hello"))
	at, e := startLone(t, o.URL)
	get(t, at+"/a")
	err := e.Apply(e.table.Clock().Seq+1, command.Command{
		ID: "17a", Kind: command.Invalidate, At: time.Now().Add(-90 * time.Second),
		Scopes: []command.Scope{{Kind: command.ScopeURL, Site: "upstream", Value: "/a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	x := explainNow(t, e, at+"/a")
	wantOutcome(t, x, Validated, "fwd=stale", "invalidated 1m30s ago (sequence 1.2: invalidate 17a at ")
	if x.Stored.Dead != "" || x.Stored.Soft != "1.2" || x.Stored.State != "stale-if-error" || x.Clock.Soft != "1.2" {
		t.Errorf("stored %+v, clock %+v", x.Stored, x.Clock)
	}
}

func TestExplainSaysWhichVariant(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		fmt.Fprint(w, "hello")
	})
	at, e := startLone(t, o.URL)
	get(t, at+"/a", "Accept-Language: de")
	x := explainNow(t, e, at+"/a", "Accept-Language: de")
	wantOutcome(t, x, Hit, "hit", "fresh")
	if !slices.Equal(x.Vary, []string{"accept-language"}) || !strings.Contains(x.Variant, "de") {
		t.Errorf("vary %q, variant %q", x.Vary, x.Variant)
	}
	x = explainNow(t, e, at+"/a", "Accept-Language: fr")
	wantOutcome(t, x, Forwarded, "fwd=vary-miss", "not the variant that this request selects by accept-language")
	if x.Stored != nil || !strings.Contains(x.Variant, "fr") {
		t.Errorf("variant %q, stored %+v", x.Variant, x.Stored)
	}
}

func TestExplainFetchesWithoutStoring(t *testing.T) {
	var said atomic.Pointer[http.Header]
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		for name, values := range *said.Load() {
			w.Header()[name] = values
		}
		fmt.Fprint(w, "hello")
	})
	at, e := startLone(t, o.URL)
	for _, tc := range []struct {
		name   string
		header http.Header
		ask    []string
		want   FetchedNow
	}{
		{"stored", http.Header{"Cache-Control": {`max-age=60, no-cache="X-Mine"`}, "Vary": {"Accept-Language"}, "Etag": {`"v1"`}}, nil,
			FetchedNow{Stored: true, Vary: []string{"accept-language"}, Withheld: []string{"x-mine"}, LifeNow: LifeNow{Lifetime: 60, LifetimeFrom: "max-age", ETag: `"v1"`}}},
		{"for the CDN alone", http.Header{"Cache-Control": {"no-store"}, "Cdn-Cache-Control": {"max-age=9"}}, nil,
			FetchedNow{Stored: true, LifeNow: LifeNow{Lifetime: 9, LifetimeFrom: "max-age"}}},
		{"private", http.Header{"Cache-Control": {"private, max-age=60"}}, nil,
			FetchedNow{Reason: "private", Why: "the response says private: it is for one user", LifeNow: LifeNow{Lifetime: 60, LifetimeFrom: "max-age"}}},
		{"a cookie", http.Header{"Cache-Control": {"max-age=60"}, "Set-Cookie": {"a=b"}}, nil,
			FetchedNow{Reason: "set-cookie", Why: unstoredWhy["set-cookie"], LifeNow: LifeNow{Lifetime: 60, LifetimeFrom: "max-age"}}},
		{"a user", http.Header{"Cache-Control": {"max-age=60"}}, []string{"Authorization: Basic x"},
			FetchedNow{Reason: "authorization", Why: unstoredWhy["authorization"], LifeNow: LifeNow{Lifetime: 60, LifetimeFrom: "max-age"}}},
		{"too large", http.Header{"Cache-Control": {"max-age=60"}, "Content-Length": {fmt.Sprint(1 << 30)}}, nil,
			FetchedNow{Bytes: 1 << 30, Reason: "size", Why: "it is larger than what this node stores of one response", LifeNow: LifeNow{Lifetime: 60, LifetimeFrom: "max-age"}}},
		{"nothing said", http.Header{}, nil,
			FetchedNow{Reason: "no-lifetime", Why: unstoredWhy["no-lifetime"], LifeNow: LifeNow{LifetimeFrom: "nothing"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			said.Store(&tc.header)
			before := o.asked.Load()
			x := explainLater(t, e, 0, url.Values{"url": {at + "/a"}, "header": tc.ask, "fetch": {"true"}})
			wantOutcome(t, x, Forwarded, "fwd=uri-miss", "nothing is stored")
			got := x.Fetched
			if got == nil || got.Parent != strings.TrimPrefix(o.URL, "http://") || got.Status != 200 || got.Error != "" || o.asked.Load() != before+1 {
				t.Fatalf("fetched: %+v; the origin was asked %d times", got, o.asked.Load()-before)
			}
			want := tc.want
			if want.Bytes == 0 {
				want.Bytes = 5
			}
			if got.Bytes != want.Bytes || got.Stored != want.Stored || got.Reason != want.Reason || got.Why != want.Why ||
				!slices.Equal(got.Vary, want.Vary) || !slices.Equal(got.Withheld, want.Withheld) ||
				got.Lifetime != want.Lifetime || got.LifetimeFrom != want.LifetimeFrom || got.ETag != want.ETag {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if x := explainNow(t, e, at+"/a", tc.ask...); x.Stored != nil {
				t.Errorf("something was stored: %+v", x.Stored)
			}
		})
	}
	o.Close()
	x := explainLater(t, e, 0, url.Values{"url": {at + "/a"}, "fetch": {"true"}})
	if x.Fetched == nil || !strings.Contains(x.Fetched.Error, "unreachable") || x.Fetched.Stored {
		t.Errorf("the origin is gone: %+v", x.Fetched)
	}
}

func TestExplainFetchOfWhatBypasses(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("X-Cookie", r.Header.Get("Cookie"))
		if r.Header.Get("Cookie") != "a=b" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	_, e := startLoneSite(t, o.URL, "hosts: [s.example]\nrules: [{cache: {bypass: true}}]\n")
	x := explainLater(t, e, 0, url.Values{"url": {"http://s.example/"}, "header": {"Cookie: a=b"}, "fetch": {"true"}})
	if f := x.Fetched; x.Outcome != Passed || f == nil || f.Status != 200 || f.Stored || f.Reason != "bypass" {
		t.Errorf("got %+v, %+v", x, x.Fetched)
	}
}

func TestExplainKnowsSlices(t *testing.T) {
	body := someBytes(5*response.SliceSize + 10)
	o := startOrigin(t, ranged(body, `"v1"`))
	at, e := startLone(t, o.URL)
	at += "/a"
	for _, n := range []int{1, 3, 2} {
		if a := get(t, at, fmt.Sprintf("Range: bytes=%d-%d", n*response.SliceSize, (n+1)*response.SliceSize-1)); a.status != 206 {
			t.Fatalf("got %d", a.status)
		}
	}
	spendCredit(e)
	get(t, at, fmt.Sprintf("Range: bytes=%d-", len(body)-4))
	wantOutcome(t, explainNow(t, e, at, "Range: bytes=1048576-4194303"), Hit, "hit; ttl=", "slices that are wanted are stored")
	wantOutcome(t, explainNow(t, e, at, "Range: bytes=-4"), Hit, "hit; ttl=", "slices that are wanted are stored")
	wantOutcome(t, explainNow(t, e, at, "Range: bytes=-5"), Forwarded, "fwd=partial", "missing are asked for")
	wantOutcome(t, explainNow(t, e, at), Forwarded, "fwd=partial", "missing are asked for")
	wantOutcome(t, explainNow(t, e, at, "Cache-Control: only-if-cached"), NotCached, "fwd=request; detail=only-if-cached", "only-if-cached")
	x := explainNow(t, e, at, "Range: bytes=1048576-1048577")
	if s := x.Stored; s == nil || s.Kind != "sliced" || s.Bytes != 3*response.SliceSize+4 || s.Whole != int64(len(body)) || s.Slices != 6 || s.Held != "1-3,5" || x.Status != 200 {
		t.Errorf("status %d, stored %+v", x.Status, x.Stored)
	}
}

func TestExplainRemembersWhatIsNotStored(t *testing.T) {
	o := startOrigin(t, cached("private", "hello"))
	at, e := startLone(t, o.URL)
	get(t, at+"/a")
	x := explainNow(t, e, at+"/a")
	wantOutcome(t, x, Forwarded, "fwd=miss", "the last answer was not to be stored")
	if x.Stored == nil || x.Stored.Kind != "pass" {
		t.Errorf("stored: %+v", x.Stored)
	}
}

func TestExplainPageRefusesWhatCannotBeExplained(t *testing.T) {
	e := &Edge{now: time.Now}
	for _, tc := range []struct{ query, says string }{
		{"", "say which request to explain"},
		{"url=", "say which request to explain"},
		{"url=/a", "is not of the form"},
		{"url=ftp://x/", "is not of the form"},
		{"url=http://user:pass@x/", "is not of the form"},
		{"url=http://x/%01", "cannot be read"},
		{"url=http://x:99999/", "Host is malformed"},
		{"url=http://x/&header=Accept", "is not of the form Name: value"},
		{"url=http://x/&header=A%20B:c", "bad name"},
		{"url=http://x/&header=A:%0a", "bad value"},
		{"url=http://x/&fetch=maybe", "true or false"},
		{"url=http://x/&fetch=true&method=POST", "by GET"},
		{"url=http://x/&headers=A:b", "unknown parameter"},
		{"url=%zz", "cannot be read"},
	} {
		rec := httptest.NewRecorder()
		e.explainPage(rec, httptest.NewRequest("GET", "/explain?"+tc.query, nil))
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), tc.says) {
			t.Errorf("%q: %d %q, want 400 with %q", tc.query, rec.Code, rec.Body, tc.says)
		}
	}
}

func TestExplainIsAPageOfTheAdminListener(t *testing.T) {
	registry := prometheus.NewRegistry()
	admin := telemetry.NewAdmin(telemetry.AdminConfig{Registry: registry, Health: telemetry.NewHealth(), Log: slog.New(slog.DiscardHandler)})
	e, err := New(node.Env{
		File: &node.File{Role: cluster.Edge, Name: "e1", Cache: node.Cache{Memory: 64 << 20}},
		Log:  slog.New(slog.DiscardHandler), Metrics: registry, Health: telemetry.NewHealth(), Admin: admin,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.store.Close()
	defer func() {
		if recover() == nil {
			t.Error("/explain is not there")
		}
	}()
	admin.Handle("GET /explain", http.NotFoundHandler()) // the pattern is taken
}

// TestExplainSaysHowParentsAre: a parent that has failed too often is said to be left alone,
// for how long, and why.
func TestExplainSaysHowParentsAre(t *testing.T) {
	o := startOrigin(t, cached("max-age=60", "hello"))
	url, e := startLone(t, o.URL)
	get(t, url+"/a")
	if p := explainNow(t, e, url+"/a").Parents[0]; p.Breaker != "closed" || p.LastError != "" || p.Open != 0 {
		t.Errorf("a parent that is well: %+v", p)
	}
	o.Close()
	for i := range 5 {
		get(t, fmt.Sprint(url, "/gone", i))
	}
	p := explainNow(t, e, url+"/a").Parents[0]
	if p.Breaker != "open" || p.Retry <= 0 || p.Retry > 1.25 || !strings.Contains(p.LastError, "refused") {
		t.Errorf("a parent that is gone: %+v", p)
	}
	a := get(t, url+"/later")
	if a.status != 503 || !strings.Contains(a.header.Get("Proxy-Status"), "error=destination_unavailable") || a.header.Get("Retry-After") == "" {
		t.Errorf("while it is left alone: %d %v", a.status, a.header)
	}
}
