package origin

import (
	"bufio"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/origin/object"
)

const api = "/v1/sites/demo/objects"

func TestPushRefused(t *testing.T) {
	o := start(t, func(o *Origin) { o.limits.object = 100 })
	putSite(t, o.env, "outside", "site: outside\nhosts: [outside.test]\norigin:\n  url: http://127.0.0.1:1\n")
	o.waitForSite("outside")
	o.put("/there", "there").want(t, 201)
	sum := sha256.Sum256([]byte("body"))
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"

	long := "/" + strings.Repeat("x", object.MaxPath)
	tests := []struct {
		name, method, path string
		status             int
		header             []string
		detail             string // part of it
	}{
		{"no token", "PUT", api + "/x", 401, []string{"Authorization", ""}, "token"},
		{"wrong token", "PUT", api + "/x", 401, []string{"Authorization", "Bearer 0123456789abcdef"}, "token"},
		{"no token to read", "GET", api + "/there", 401, []string{"Authorization", ""}, "token"},
		{"no token to ask", "HEAD", api + "/there", 401, []string{"Authorization", ""}, ""},
		{"no token to delete", "DELETE", api + "/there", 401, []string{"Authorization", ""}, "token"},
		{"no token to list", "GET", api, 401, []string{"Authorization", ""}, "token"},
		{"unknown site", "PUT", "/v1/sites/none/objects/x", 404, nil, "freshet site apply"},
		{"site of another origin", "PUT", "/v1/sites/outside/objects/x", 409, nil, "origin.url"},
		{"no such page", "GET", "/v1", 404, nil, "/v1/sites/"},
		{"no such page of a site", "GET", "/v1/sites/demo/", 404, nil, "/v1/sites/"},
		{"root", "GET", "/", 404, nil, ""},
		{"other method", "POST", api + "/x", 405, nil, "PUT"},
		{"other method on the list", "DELETE", api, 405, nil, "GET"},
		{"dot dot", "PUT", api + "/a/../x", 400, nil, ".."},
		{"encoded dot dot", "PUT", api + "/%2e%2e/x", 400, nil, ".."},
		{"encoded slash", "PUT", api + "/..%2f..%2fx", 400, nil, "slash"},
		{"empty segment", "PUT", api + "//x", 400, nil, "empty"},
		{"trailing slash", "PUT", api + "/x/", 400, nil, "empty"},
		{"no path", "PUT", api + "/", 400, nil, "empty"},
		{"NUL", "PUT", api + "/x%00", 400, nil, ""},
		{"line break", "PUT", api + "/x%0d%0aSet-Cookie:x", 400, nil, ""},
		{"not UTF-8", "PUT", api + "/%ff", 400, nil, "UTF-8"},
		{"backslash", "PUT", api + `/a%5c..%5cx`, 400, nil, ""},
		{"overlong name", "PUT", api + long, 400, nil, "1024"},
		{"wrong digest", "PUT", api + "/x", 400, []string{"Content-Digest", strings.Replace(digest, "=:", "=:AAAA", 1)}, ""},
		{"digest of other content", "PUT", api + "/x", 400, []string{"Content-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}, "sha-256"},
		{"repr digest of other content", "PUT", api + "/x", 400, []string{"Repr-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}, "sha-256"},
		{"malformed digest", "PUT", api + "/x", 400, []string{"Content-Digest", "sha-256=("}, "Content-Digest"},
		{"digest that is no digest", "PUT", api + "/x", 400, []string{"Content-Digest", "sha-256=5"}, "sha-256"},
		{"list as a digest", "PUT", api + "/x", 400, []string{"Content-Digest", "sha-256=(1 2)"}, "sha-256"},
		{"wrong MD5", "PUT", api + "/x", 400, []string{"Content-Md5", base64.StdEncoding.EncodeToString(make([]byte, 16))}, "MD5"},
		{"malformed MD5", "PUT", api + "/x", 400, []string{"Content-Md5", "?"}, "MD5"},
		{"part of an object", "PUT", api + "/x", 400, []string{"Content-Range", "bytes 0-3/10"}, "whole"},
		{"bad content type", "PUT", api + "/x", 400, []string{"Content-Type", "nonsense;;"}, "Content-Type"},
		{"too many fields", "PUT", api + "/x", 400, []string{"Surrogate-Key", strings.Repeat("k ", 5000)}, "8192"},
		{"If-None-Match on what exists", "PUT", api + "/there", 412, []string{"If-None-Match", "*"}, "exists"},
		{"If-Match on what does not", "PUT", api + "/x", 412, []string{"If-Match", "*"}, "no such object"},
		{"If-Match on another", "PUT", api + "/there", 412, []string{"If-Match", `"other"`}, "tag"},
		{"If-Match weakly", "PUT", api + "/there", 412, []string{"If-Match", `W/"other"`}, "tag"},
		{"delete another", "DELETE", api + "/there", 412, []string{"If-Match", `"other"`}, "tag"},
		{"delete nothing", "DELETE", api + "/x", 404, nil, "no such object"},
		{"read nothing", "GET", api + "/x", 404, nil, "no such object"},
		{"bad limit", "GET", api + "?limit=0", 400, nil, "limit"},
		{"large limit", "GET", api + "?limit=100000", 400, nil, "limit"},
		{"unknown query", "GET", api + "?prefx=/a", 400, nil, "prefx"},
		{"query twice", "GET", api + "?limit=1&limit=2", 400, nil, "twice"},
		{"malformed query", "GET", api + "?prefix=%zz", 400, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := ""
			if tt.method == "PUT" {
				body = "body"
			}
			a := o.do(tt.method, "", tt.path, body, tt.header...).want(t, tt.status)
			if tt.method == "HEAD" {
				return
			}
			if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Fatalf("content type %q", got)
			}
			if p := decode[problem](t, a); p.Status != tt.status || p.Title == "" || !strings.Contains(p.Detail, tt.detail) {
				t.Fatalf("problem %+v", p)
			}
		})
	}
	t.Run("too large, as declared", func(t *testing.T) {
		o.put("/x", strings.Repeat("x", 101)).want(t, 413)
	})
	t.Run("too large, as it turns out", func(t *testing.T) {
		o.rawPut("/x", "Transfer-Encoding: chunked\r\n", "65\r\n"+strings.Repeat("x", 101)+"\r\n0\r\n\r\n", 413)
	})
	t.Run("nothing was written", func(t *testing.T) {
		if got := o.paths(""); !slices.Equal(got, []string{"/there"}) {
			t.Fatalf("objects %q", got)
		}
		if got := o.do("GET", "demo.test", "/there", "").want(t, 200); got.body != "there" {
			t.Fatalf("the object is %q", got.body)
		}
		o.wantStaged(0)
	})
}

// waitForSite waits until the origin has heard of a site.
func (to *testOrigin) waitForSite(name string) {
	to.t.Helper()
	to.until("site "+name+" is known", func() bool { return to.origin.sites.Load().ByName(name) != nil })
}

// until waits for a condition.
func (to *testOrigin) until(what string, ok func() bool) {
	to.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			to.t.Fatalf("it does not come about that %s", what)
		}
	}
}

// wantStaged waits until that many uploads are in the store and not finished.
func (to *testOrigin) wantStaged(n int) {
	to.t.Helper()
	to.until(fmt.Sprint(n, " uploads are unfinished"), func() bool {
		names, err := os.ReadDir(filepath.Join(to.env.File.Data, "blobs", "staged"))
		if err != nil {
			to.t.Fatal(err)
		}
		return len(names) == n
	})
}

// rawPut sends a PUT as it stands and wants a status.
func (to *testOrigin) rawPut(path, fields, body string, status int) {
	to.t.Helper()
	conn := to.dial(path, fields)
	defer conn.Close()
	if _, err := io.WriteString(conn, body); err != nil {
		to.t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, fmt.Sprintf("HTTP/1.1 %d ", status)) {
		to.t.Fatalf("answer %q, %v; want %d", line, err, status)
	}
}

// dial begins a PUT and leaves its body to the caller.
func (to *testOrigin) dial(path, fields string) net.Conn {
	to.t.Helper()
	host := strings.TrimPrefix(to.url, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		to.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		to.t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "PUT %s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s\r\n", api, path, host, testToken, fields)
	if err != nil {
		to.t.Fatal(err)
	}
	return conn
}

// paths lists the objects of the demo site, page by page.
func (to *testOrigin) paths(query string) (paths []string) {
	to.t.Helper()
	for after := ""; ; {
		q, err := url.ParseQuery(query)
		if err != nil {
			to.t.Fatal(err)
		}
		if after != "" {
			q.Set("after", after)
		}
		page := decode[object.List](to.t, to.do("GET", "", api+"?"+q.Encode(), "").want(to.t, 200))
		for _, info := range page.Objects {
			paths = append(paths, info.Path)
		}
		if after = page.Next; after == "" {
			return paths
		}
	}
}

func TestConditionalPush(t *testing.T) {
	o := start(t)
	a := o.put("/a", "one", "If-None-Match", "*").want(t, 201)
	one := a.Header.Get("Etag")
	b := o.put("/a", "two", "If-Match", `"x", `+one).want(t, 200)
	o.put("/a", "three", "If-Match", one).want(t, 412)
	o.put("/a", "three", "If-None-Match", b.Header.Get("Etag")).want(t, 412)
	o.do("DELETE", "", api+"/a", "", "If-Match", one).want(t, 412)
	if got := o.do("GET", "", api+"/a", "").want(t, 200); got.body != "two" {
		t.Fatalf("content %q", got.body)
	}
	o.do("DELETE", "", api+"/a", "", "If-Match", b.Header.Get("Etag")).want(t, 204)
}

func TestRacingCreatesHaveOneWinner(t *testing.T) {
	o := start(t)
	const n = 8
	codes := make(chan int, n)
	for i := range n {
		go func() { codes <- o.put("/a", fmt.Sprint("content ", i), "If-None-Match", "*").StatusCode }()
	}
	count := map[int]int{}
	for range n {
		count[<-codes]++
	}
	if count[201] != 1 || count[412] != n-1 {
		t.Fatalf("statuses %v", count)
	}
}

func TestDigestsAreChecked(t *testing.T) {
	o := start(t)
	sum, old := sha256.Sum256([]byte("body")), md5.Sum([]byte("body"))
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	o.put("/a", "body", "Content-Digest", "sha-512=:AAAA:, "+digest, "Repr-Digest", digest,
		"Content-Md5", base64.StdEncoding.EncodeToString(old[:])).want(t, 201)
	o.put("/b", "body", "Content-Digest", "sha-512=:AAAA:").want(t, 201) // one that we do not know
	got := o.do("HEAD", "", api+"/a", "").want(t, 200)
	if got.Header.Get("Repr-Digest") != digest || got.ContentLength != 4 {
		t.Fatalf("head %v", got.Header)
	}
}

func TestList(t *testing.T) {
	o := start(t)
	if page := o.do("GET", "", api, "").want(t, 200); !strings.Contains(page.body, `"objects":[]`) {
		t.Fatalf("an empty list is %s", page.body)
	}
	want := []string{"/a b", "/a/1", "/a/2", "/a/3", "/b", "/ü"}
	for _, p := range want {
		o.put(object.EscapePath(p), p, "Cache-Control", "no-cache").want(t, 201)
	}
	for _, query := range []string{"", "limit=1", "limit=2", "limit=6", "prefix=/"} {
		if got := o.paths(query); !slices.Equal(got, want) {
			t.Errorf("%q lists %q", query, got)
		}
	}
	if got := o.paths("prefix=/a/&limit=2"); !slices.Equal(got, want[1:4]) {
		t.Errorf("the prefix /a/ lists %q", got)
	}
	page := decode[object.List](t, o.do("GET", "", api+"?prefix=/b", "").want(t, 200))
	if len(page.Objects) != 1 || page.Site != "demo" || page.Objects[0].Size != 2 || page.Objects[0].ContentType == "" ||
		page.Objects[0].Headers["Cache-Control"] != "no-cache" || page.Objects[0].Modified.IsZero() {
		t.Errorf("page %+v", page)
	}
}

func TestClientThatBreaksOffLeavesNothing(t *testing.T) {
	for name, fields := range map[string]string{
		"with a length": "Content-Length: 100000\r\n",
		"chunked":       "Transfer-Encoding: chunked\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			conn := o.dial("/x.txt", fields)
			body := strings.Repeat("x", 1000)
			if strings.Contains(fields, "chunked") {
				body = "3e8\r\n" + body + "\r\n"
			}
			if _, err := io.WriteString(conn, body); err != nil {
				t.Fatal(err)
			}
			o.wantStaged(1)
			conn.Close()
			o.wantStaged(0)
			if got := o.paths(""); len(got) != 0 {
				t.Fatalf("objects %q", got)
			}
		})
	}
}

func TestStalledClientLosesItsSlot(t *testing.T) {
	o := start(t, func(o *Origin) { o.limits.idle, o.limits.uploads = 300*time.Millisecond, 1 })
	conn := o.dial("/slow.txt", "Content-Length: 100\r\n")
	defer conn.Close()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	o.wantStaged(1)
	if a := o.put("/other", "x").want(t, 503); a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 408 ") {
		t.Fatalf("answer %q, %v", line, err)
	}
	o.wantStaged(0)
	o.put("/other", "x").want(t, 201)
}

func TestSlowButSteadyClientIsServed(t *testing.T) {
	// Each pause is well below the idle time; all of them together are above it.
	o := start(t, func(o *Origin) { o.limits.idle = 500 * time.Millisecond })
	const pieces = 8
	conn := o.dial("/slow", fmt.Sprintf("Content-Length: %d\r\n", pieces))
	defer conn.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range pieces {
		<-tick.C
		if _, err := io.WriteString(conn, "x"); err != nil {
			t.Fatal(err)
		}
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 201 ") {
		t.Fatalf("answer %q, %v", line, err)
	}
}

func FuzzDigests(f *testing.F) {
	f.Add("sha-256=:AAAA:", "AAAA")
	f.Add("sha-256=(1 2), x", "")
	f.Add("a=1;b=?0, sha-256", "AAAAAAAAAAAAAAAAAAAAAA==")
	f.Fuzz(func(t *testing.T, digest, md5 string) {
		d, err := readDigests(map[string][]string{"Content-Digest": {digest}, "Content-Md5": {md5}})
		if err != nil {
			if status(err) != 400 {
				t.Fatalf("%v has the status %d", err, status(err))
			}
			return
		}
		if _, err := d.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = d.check(sha256.Sum256([]byte("x")))
	})
}

func FuzzListQuery(f *testing.F) {
	f.Add("prefix=/a&after=/a/b&limit=10")
	f.Add("limit=1e9&%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := readListQuery(raw)
		if err == nil && (q.limit < 1 || q.limit > object.MaxList || len(q.prefix) > object.MaxPath || len(q.after) > object.MaxPath) {
			t.Fatalf("%q became %+v", raw, q)
		}
	})
}
