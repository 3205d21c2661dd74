package origin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServeByHost(t *testing.T) {
	o := start(t)
	o.put("/a.txt", "demo").want(t, 201)
	self := strings.TrimPrefix(o.url, "http://")
	for _, tt := range []struct {
		host   string
		status int
	}{
		{"demo.test", 200},
		{"DEMO.test.", 200},
		{"demo.test:8080", 200},
		{"www.demo.test", 200},
		{"demo.test.evil", 421},
		{"[::1]:80", 421},
		{self, 401}, // the origin itself, which wants a token
	} {
		o.do("GET", tt.host, "/a.txt", "").want(t, tt.status)
	}
	o.do("GET", "lb.example", api, "", "Authorization", "Bearer "+testToken).want(t, 200)
	o.do("GET", "lb.example", api, "").want(t, 401)
	// The push API's paths are content like any other under a site's host.
	o.do("GET", "demo.test", api+"/a.txt", "").want(t, 404)

	putSite(t, o.env, "any", "site: any\nhosts: [\"*\"]\n")
	o.waitForSite("any")
	o.do("GET", "other.example", "/a.txt", "").want(t, 404)
	o.do("GET", "127.0.0.1:1", "/a.txt", "").want(t, 404)
	// A site that has every host does not lock the publisher out.
	o.do("PUT", "", "/v1/sites/any/objects/a.txt", "any").want(t, 201)
	if got := o.do("GET", "other.example", "/a.txt", "").want(t, 200); got.body != "any" {
		t.Fatalf("the site any serves %q", got.body)
	}
	if got := o.do("GET", "demo.test", "/a.txt", "").want(t, 200); got.body != "demo" {
		t.Fatalf("the site demo serves %q", got.body)
	}
}

func TestServePaths(t *testing.T) {
	o := start(t)
	for _, p := range []string{"/index.html", "/docs/index.html", "/a%20b%281%29.txt", "/100%25.txt"} {
		o.put(p, p).want(t, 201)
	}
	for _, tt := range []struct {
		target   string
		status   int
		body     string
		location string
	}{
		{"/", 200, "/index.html", ""},
		{"/?q=1", 200, "/index.html", ""},
		{"/docs/", 200, "/docs/index.html", ""},
		{"/docs", 404, "", ""},
		{"/docs//", 404, "", ""},
		{"//docs/", 404, "", ""},
		{"/docs/../index.html", 404, "", ""},
		{"/docs/%2e%2e/index.html", 404, "", ""},
		{"/docs%2findex.html", 404, "", ""},
		{"/%00", 404, "", ""},
		{"/" + strings.Repeat("x", 5000), 404, "", ""},
		{"/a%20b(1).txt", 200, "/a%20b%281%29.txt", ""},
		{"/a%20b%281%29.txt?x=%20", 301, "", "/a%20b(1).txt?x=%20"},
		{"/%64ocs/", 301, "", "/docs/"},
		{"/index%2Ehtml", 301, "", "/index.html"},
		{"/100%25.txt", 200, "/100%25.txt", ""},
	} {
		t.Run(tt.target[:min(len(tt.target), 40)], func(t *testing.T) {
			a := o.raw("GET", "demo.test", tt.target)
			if a.StatusCode != tt.status || (tt.status == 200 && a.body != tt.body) || a.Header.Get("Location") != tt.location {
				t.Fatalf("status %d, location %q, body %q", a.StatusCode, a.Header.Get("Location"), a.body)
			}
			if tt.status != 200 && a.Header.Get("Cache-Control") != cacheShort {
				t.Fatalf("Cache-Control %q", a.Header.Get("Cache-Control"))
			}
		})
	}
}

// raw sends a target that net/http would mend on the way.
func (to *testOrigin) raw(method, host, target string) answerOf {
	to.t.Helper()
	addr := strings.TrimPrefix(to.url, "http://")
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(method, "http://"+host, nil)
	if err != nil {
		to.t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	req.URL.Opaque, req.URL.RawQuery = "//"+host+path, query
	req.URL.Scheme = "http"
	resp, err := transport.RoundTrip(req)
	if err != nil {
		to.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		to.t.Fatal(err)
	}
	return answerOf{resp, string(body)}
}

func TestServeMethodsAndConditions(t *testing.T) {
	o := start(t)
	const body = "0123456789"
	put := o.put("/a.txt", body).want(t, 201)
	tag := put.Header.Get("Etag")
	modified := o.do("GET", "demo.test", "/a.txt", "").Header.Get("Last-Modified")
	many := "bytes=" + strings.Repeat("0-0,", maxRanges) + "1-1"
	for _, tt := range []struct {
		name, method string
		header       []string
		status       int
		body         string
	}{
		{"get", "GET", nil, 200, body},
		{"head", "HEAD", nil, 200, ""},
		{"put", "PUT", nil, 405, "-"},
		{"post", "POST", nil, 405, "-"},
		{"delete", "DELETE", nil, 405, "-"},
		{"same tag", "GET", []string{"If-None-Match", tag}, 304, ""},
		{"one of the tags", "GET", []string{"If-None-Match", `"x", ` + tag}, 304, ""},
		{"weak comparison", "GET", []string{"If-None-Match", "W/" + tag}, 304, ""},
		{"other tag", "GET", []string{"If-None-Match", `"x"`}, 200, body},
		{"the tag wins over the date", "GET", []string{"If-None-Match", `"x"`, "If-Modified-Since", modified}, 200, body},
		{"not modified since", "GET", []string{"If-Modified-Since", modified}, 304, ""},
		{"must match another", "GET", []string{"If-Match", `"x"`}, 412, ""},
		{"range", "GET", []string{"Range", "bytes=2-4"}, 206, "234"},
		{"suffix", "GET", []string{"Range", "bytes=-2"}, 206, "89"},
		{"open end", "GET", []string{"Range", "bytes=8-"}, 206, "89"},
		{"beyond the end", "GET", []string{"Range", "bytes=10-"}, 416, "-"},
		{"if the tag still holds", "GET", []string{"Range", "bytes=2-4", "If-Range", tag}, 206, "234"},
		{"if it does not", "GET", []string{"Range", "bytes=2-4", "If-Range", `"x"`}, 200, body},
		{"unknown unit", "GET", []string{"Range", "lines=1-2"}, 200, body},
		{"too many ranges", "GET", []string{"Range", many}, 200, body},
		{"ranges are for GET", "HEAD", []string{"Range", "bytes=2-4"}, 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := o.do(tt.method, "demo.test", "/a.txt", "", tt.header...).want(t, tt.status)
			if tt.body != "-" && a.body != tt.body {
				t.Fatalf("body %q", a.body)
			}
			if tt.status == 200 || tt.status == 304 || tt.status == 206 {
				if a.Header.Get("Etag") != tag || a.Header.Get("Cache-Control") == "" {
					t.Fatalf("head %v", a.Header)
				}
			}
			if tt.status == 200 && (a.ContentLength != int64(len(body)) || a.Header.Get("Accept-Ranges") != "bytes") {
				t.Fatalf("head %v", a.Header)
			}
			if tt.status == 405 && a.Header.Get("Allow") != "GET, HEAD" {
				t.Fatalf("Allow %q", a.Header.Get("Allow"))
			}
		})
	}
}

func TestServeHeaders(t *testing.T) {
	o := start(t)
	const html = "<!doctype html><p>"
	for _, tt := range []struct {
		name, path, body string
		header           []string
		want             map[string]string
	}{
		{"page", "/p.html", "x", nil, map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400"}},
		{"upper case", "/p.JPG", "x", nil, map[string]string{"Content-Type": "image/jpeg"}},
		{"script with a fingerprint", "/app.3f9a1c2b.js", "x", nil, map[string]string{
			"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "public, max-age=31536000, immutable"}},
		{"said by the publisher", "/app.3f9a1c2c.js", "x", []string{"Cache-Control", "no-cache", "Content-Type", "text/plain"},
			map[string]string{"Content-Type": "text/plain", "Cache-Control": "no-cache"}},
		{"sniffed", "/LICENSE", "some text", nil, map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		{"sniffed page", "/page", html, nil, map[string]string{"Content-Type": "text/html; charset=utf-8"}},
		{"sniffed image", "/image", "\x89PNG\r\n\x1a\nxxx", nil, map[string]string{"Content-Type": "image/png"}},
		{"empty", "/empty", "", nil, map[string]string{"Content-Type": "text/plain; charset=utf-8", "Content-Length": "0"}},
		{"curl's guess is none", "/curl", html, []string{"Content-Type", "application/x-www-form-urlencoded"},
			map[string]string{"Content-Type": "text/html; charset=utf-8"}},
		{"in a coding", "/coded", "coded", []string{"Content-Encoding", "gzip"},
			map[string]string{"Content-Type": "application/octet-stream", "Content-Encoding": "gzip", "Content-Length": "5"}},
		{"fields that are kept", "/kept.txt", "x", []string{"Surrogate-Key", "a b", "CDN-Cache-Control", "max-age=9", "Content-Language", "de",
			"Content-Disposition", "inline", "X-Other", "x"},
			map[string]string{"Surrogate-Key": "a b", "Cdn-Cache-Control": "max-age=9", "Content-Language": "de", "Content-Disposition": "inline", "X-Other": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o.put(tt.path, tt.body, tt.header...).want(t, 201)
			for _, method := range []string{"GET", "HEAD"} {
				a := o.do(method, "demo.test", tt.path, "").want(t, 200)
				if method == "GET" && a.body != tt.body {
					t.Fatalf("body %q", a.body)
				}
				for name, value := range tt.want {
					if got := a.Header.Get(name); got != value {
						t.Errorf("%s of %s: %q, want %q", method, name, got, value)
					}
				}
			}
		})
	}
}

// TestOtherHeadersAreAnotherObject: what a 304 would not tell must change the tag.
func TestOtherHeadersAreAnotherObject(t *testing.T) {
	o := start(t)
	one := o.put("/a", "x", "Content-Type", "text/plain").want(t, 201).Header.Get("Etag")
	two := o.put("/a", "x", "Content-Type", "text/css").want(t, 200)
	if !strings.Contains(two.body, `"changed":true`) || two.Header.Get("Etag") == one {
		t.Fatalf("%s, tag %s after %s", two.body, two.Header.Get("Etag"), one)
	}
	o.do("GET", "demo.test", "/a", "", "If-None-Match", one).want(t, 200)
}

func TestClientThatTakesNothingIsCutOff(t *testing.T) {
	o := start(t, func(o *Origin) { o.limits.idle = 300 * time.Millisecond })
	o.put("/big.bin", strings.Repeat("x", 32<<20)).want(t, 201)
	conn, err := net.Dial("tcp", strings.TrimPrefix(o.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /big.bin HTTP/1.1\r\nHost: demo.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The request is counted when its handler has ended.
	o.until("the request is over", func() bool { return o.counted(kindServe, "2xx") == 1 })
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, conn); n >= 32<<20 {
		t.Fatalf("all of it came (%d bytes, %v), so nothing was cut", n, err)
	}
}

// counted is the value of one request counter.
func (to *testOrigin) counted(kind, class string) float64 {
	to.t.Helper()
	families, err := to.metrics.Gather()
	if err != nil {
		to.t.Fatal(err)
	}
	want := fmt.Sprintf("class:%s kind:%s", class, kind)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+":"+l.GetValue())
			}
			if f.GetName() == "freshet_origin_requests_total" && strings.Join(labels, " ") == want {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// sink is a response writer that remembers what it was given to read from.
type sink struct {
	http.ResponseWriter
	bytes.Buffer
	files int
}

func (s *sink) Header() http.Header         { return http.Header{} }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return s.Buffer.Write(p) }

func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			s.files++
		}
	}
	return s.Buffer.ReadFrom(r)
}

// TestFilesReachTheSocketAsFiles: only what net/http gets as a limited *os.File goes
// out by sendfile.
func TestFilesReachTheSocketAsFiles(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), pace/16*5/2)
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &sink{}
	a := newAnswer(s, time.Minute)
	if n, err := io.CopyN(a, f, int64(len(content))); n != int64(len(content)) || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if s.files != 3 || !bytes.Equal(s.Bytes(), content) {
		t.Fatalf("%d parts as files, %d bytes", s.files, s.Len())
	}
	// A file that is shorter than it should be ends the response early.
	if n, err := io.CopyN(a, f, 10); n != 0 || err != io.EOF {
		t.Fatalf("%d bytes, %v", n, err)
	}
}
