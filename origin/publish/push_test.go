package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// served is what the origin serves of the site demo.
func served(t *testing.T, origin, path string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest("GET", origin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "demo.test"
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

// outcomes is what became of the files: "outcome path".
func outcomes(r *Report) (list []string) {
	for _, f := range r.Files {
		list = append(list, string(f.Outcome)+" "+f.Path)
	}
	return list
}

func push(t *testing.T, p *Publisher, s *Source, opts Options) *Report {
	t.Helper()
	r, err := p.Push(t.Context(), "demo", s, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPushTree(t *testing.T) {
	origin := startOrigin(t)
	p := newPublisher(t, Config{Origin: origin})
	files := map[string]string{"index.html": "<p>", "empty": "", "a/b c.txt": "abc", "a/100%.txt": "x", "big.bin": strings.Repeat("x", 3<<20)}
	for i := range 40 {
		files[fmt.Sprintf("many/%d.txt", i)] = fmt.Sprint("content ", i)
	}
	dir := tree(t, files)
	r := push(t, p, openTree(t, dir, "/v1"), Options{})
	if r.Count(Created) != len(files) || len(r.Changed()) != len(files) {
		t.Fatalf("first push: %q", outcomes(r))
	}
	for name, want := range files {
		status, body, _ := served(t, origin, (&url.URL{Path: "/v1/" + name}).EscapedPath())
		if status != 200 || body != want {
			t.Errorf("%s: status %d, %d bytes", name, status, len(body))
		}
	}
	if r := push(t, p, openTree(t, dir, "/v1"), Options{}); r.Count(Unchanged) != len(files) || len(r.Changed()) != 0 {
		t.Fatalf("second push: %q", outcomes(r))
	}

	write(t, filepath.Join(dir, "index.html"), "<p>new")
	write(t, filepath.Join(dir, "new.txt"), "new")
	want := []string{"/v1/index.html", "/v1/new.txt"}
	dry := push(t, p, openTree(t, dir, "/v1"), Options{DryRun: true})
	if _, body, _ := served(t, origin, "/v1/index.html"); body != "<p>" {
		t.Fatal("a dry run has pushed")
	}
	wet := push(t, p, openTree(t, dir, "/v1"), Options{})
	if !slices.Equal(outcomes(dry), outcomes(wet)) || !slices.Equal(wet.Changed(), want) || wet.Count(Replaced) != 1 {
		t.Fatalf("third push: %q, dry %q", outcomes(wet), outcomes(dry))
	}
	if _, body, _ := served(t, origin, "/v1/index.html"); body != "<p>new" {
		t.Fatal("the change did not come through")
	}
}

func TestPushFileWithCacheControl(t *testing.T) {
	origin := startOrigin(t)
	p := newPublisher(t, Config{Origin: origin})
	name := filepath.Join(tree(t, map[string]string{"a.txt": "abc"}), "a.txt")
	for _, tt := range []struct {
		cacheControl string
		want         Outcome
		served       string
	}{
		{"", Created, "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400"},
		{"", Unchanged, ""},
		{" no-cache ", Replaced, "no-cache"},
		{"no-cache", Unchanged, ""},
		{"", Replaced, "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400"},
	} {
		s, err := OpenFile(name, "/x/b.txt")
		if err != nil {
			t.Fatal(err)
		}
		r := push(t, p, s, Options{CacheControl: tt.cacheControl})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := r.Files[0].Outcome; got != tt.want {
			t.Fatalf("Cache-Control %q: %s, want %s", tt.cacheControl, got, tt.want)
		}
		if _, _, h := served(t, origin, "/x/b.txt"); tt.served != "" && h.Get("Cache-Control") != tt.served {
			t.Fatalf("Cache-Control %q is served as %q", tt.cacheControl, h.Get("Cache-Control"))
		}
	}
}

func TestPushRefused(t *testing.T) {
	origin := startOrigin(t)
	files := map[string]string{}
	for i := range 30 {
		files[fmt.Sprint(i)] = "x"
	}
	dir := tree(t, files)
	for name, tt := range map[string]struct {
		token, site string
		want        error
	}{
		"wrong token":          {"0123456789abcdef", "demo", ErrDenied},
		"unknown site":         {"", "none", ErrNoSite},
		"site of other origin": {"", "outside", ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t, Config{Origin: origin, Token: tt.token})
			r, err := p.Push(t.Context(), tt.site, openTree(t, dir, ""), Options{})
			if !errors.Is(err, tt.want) || r == nil || len(r.Changed()) != 0 {
				t.Fatalf("error %v, want %v; %v", err, tt.want, r)
			}
		})
	}
	for _, bad := range []string{"", "127.0.0.1:7080", "ftp://x", "http://"} {
		if _, err := New(Config{Origin: bad}); err == nil {
			t.Errorf("the origin %q was accepted", bad)
		}
	}
}

// faulty is a proxy before an origin that spoils the calls that it is told to.
func faulty(t *testing.T, origin string, spoil func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !spoil(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestPassingFaultsAreOvercome(t *testing.T) {
	origin := startOrigin(t)
	var calls atomic.Int64
	kinds := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(503) },
		func(w http.ResponseWriter) { w.WriteHeader(500) },
		func(w http.ResponseWriter) { w.WriteHeader(429) },
		func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, // the connection breaks
	}
	url := faulty(t, origin, func(w http.ResponseWriter, r *http.Request) bool {
		n := calls.Add(1)
		if n%2 == 0 {
			return false
		}
		kinds[n/2%int64(len(kinds))](w)
		return true
	})
	files := map[string]string{"big": strings.Repeat("x", 2<<20)}
	for i := range 10 {
		files[fmt.Sprint(i)] = fmt.Sprint("content ", i)
	}
	var last Progress
	p := newPublisher(t, Config{Origin: url, Progress: func(p Progress) { last = p }})
	r := push(t, p, openTree(t, tree(t, files), ""), Options{})
	if r.Count(Created) != len(files) {
		t.Fatalf("outcomes %+v", r.Files)
	}
	if last.FilesDone != last.Files || last.BytesDone != last.Bytes || last.Bytes < 2<<20 {
		t.Fatalf("the progress ends at %+v", last)
	}
}

// TestAnswerThatWasLost: the origin has stored the object, but the client was told of
// a failure; trying again must count as the change that it was.
func TestAnswerThatWasLost(t *testing.T) {
	origin := startOrigin(t)
	target, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Bool
	direct := newPublisher(t, Config{Origin: origin})
	dir := tree(t, map[string]string{"a": "one"})
	push(t, direct, openTree(t, dir, ""), Options{})
	write(t, filepath.Join(dir, "a"), "two")
	url := faulty(t, origin, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" || lost.Swap(true) {
			return false
		}
		r2 := r.Clone(r.Context())
		r2.URL.Scheme, r2.URL.Host, r2.RequestURI, r2.Host, r2.Close = "http", target.Host, "", "", true
		resp, err := http.DefaultTransport.RoundTrip(r2)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("the push itself: %v, %v", resp, err)
		} else {
			resp.Body.Close()
		}
		w.WriteHeader(502)
		return true
	})
	p := newPublisher(t, Config{Origin: url})
	if r := push(t, p, openTree(t, dir, ""), Options{}); r.Files[0].Outcome != Replaced || !lost.Load() {
		t.Fatalf("outcome %+v", r.Files[0])
	}
}

func TestLastingFaultsAreReported(t *testing.T) {
	origin := startOrigin(t)
	var tries atomic.Int64
	url := faulty(t, origin, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/bad") {
			return false
		}
		tries.Add(1)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(507)
		io.WriteString(w, `{"detail":"no space is left"}`)
		return true
	})
	dir := tree(t, map[string]string{"bad": "x", "good": "y", "gone": "z", "grown": "z"})
	s := openTree(t, dir, "")
	if err := os.Remove(filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "grown"), "longer than it was")
	r := push(t, newPublisher(t, Config{Origin: url}), s, Options{})
	if got, want := outcomes(r), []string{"failed /bad", "failed /gone", "created /good", "failed /grown"}; !slices.Equal(got, want) {
		t.Fatalf("outcomes %q", got)
	}
	if r.Files[0].Error != "no space is left" || tries.Load() != 1 || r.Files[1].Error == "" || !strings.Contains(r.Files[3].Error, "changed") {
		t.Fatalf("report %+v after %d tries", r.Files, tries.Load())
	}
}

func TestPushEndsWithItsContext(t *testing.T) {
	origin := startOrigin(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url := faulty(t, origin, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" {
			return false
		}
		// Only behind a body that was read does net/http see that the client has gone.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return true
		}
		cancel()
		<-r.Context().Done()
		return true
	})
	files := map[string]string{}
	for i := range 20 {
		files[fmt.Sprint(i)] = "x"
	}
	start := time.Now()
	r, err := newPublisher(t, Config{Origin: url}).Push(ctx, "demo", openTree(t, tree(t, files), ""), Options{})
	if !errors.Is(err, context.Canceled) || r.Count(Skipped) != len(files) {
		t.Fatalf("error %v, outcomes %q", err, outcomes(r))
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Fatalf("it took %s to end", took)
	}
}

func TestRetryWaits(t *testing.T) {
	for attempt := 1; attempt < attempts; attempt++ {
		if d := wait(attempt, io.ErrUnexpectedEOF); d < firstWait/2 || d > lastWait {
			t.Errorf("attempt %d waits %s", attempt, d)
		}
	}
	for after, want := range map[time.Duration]time.Duration{3 * time.Second: 3 * time.Second, time.Hour: lastWait} {
		if d := wait(1, &Error{Status: 503, After: after}); d != want {
			t.Errorf("Retry-After %s waits %s", after, d)
		}
	}
}

func TestCommonPrefix(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"/a", "/a", "/a"},
		{"/a", "/b", "/"},
		{"/a/b", "/a/c", "/a/"},
		{"/a", "/ab", "/a"},
		{"/ä", "/ö", "/"}, // they share their first byte
		{"/äx", "/äy", "/ä"},
	} {
		if got := commonPrefix(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}
