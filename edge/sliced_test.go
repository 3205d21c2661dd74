package edge

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/document"
	"freshet/internal/node"
)

const mib = 1 << 20

// sizes is an origin of one body under a validator, which can be changed; it answers
// ranges and counts the bytes of bodies that it has sent.
type sizes struct {
	*origin
	sent, most atomic.Int64 // bytes in all; of the longest answer
	wholes     atomic.Int64 // answers 200
	modified   time.Time
}

type countingWriter struct {
	http.ResponseWriter
	n *int64
}

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	*w.n += int64(n)
	return n, err
}

func startSizes(t *testing.T, body []byte, etag string, header ...string) *sizes {
	c := &sizes{}
	c.origin = startOrigin(t, nil)
	c.set(body, etag, header...)
	return c
}

// set makes the origin have another body. Without an ETag it has a Last-Modified of days
// ago.
func (c *sizes) set(body []byte, etag string, header ...string) {
	var h http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
		modified := c.modified
		if etag != "" {
			w.Header().Set("ETag", etag)
			modified = time.Time{}
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/x")
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Set(name, value)
		}
		n := int64(0)
		defer func() {
			c.sent.Add(n)
			for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
			}
		}()
		if r.Header.Get("Range") == "" {
			c.wholes.Add(1)
		}
		http.ServeContent(countingWriter{w, &n}, r, "", modified, bytes.NewReader(body))
	}
	c.serve.Store(&h)
}

// stores are the kinds of stores that contents in slices are tested on.
var stores = []struct {
	name  string
	cache func(t *testing.T) node.Cache
}{
	{"RAM", func(*testing.T) node.Cache { return node.Cache{Memory: 64 << 20} }},
	{"disk", func(t *testing.T) node.Cache {
		return node.Cache{Memory: 16 << 20, Disk: []node.Disk{{Dir: t.TempDir(), Size: document.Size(128 << 20)}}}
	}},
}

func startOn(t *testing.T, cache node.Cache, upstream string) (string, *Edge) {
	t.Helper()
	cache.Upstream = upstream
	return startLoneFile(t, cache)
}

// wantBytes is that an answer has the range of body that it should.
func wantBytes(t *testing.T, what string, a answer, body []byte, from, to int) {
	t.Helper()
	if a.status != 206 || a.body != string(body[from:to]) || a.header.Get("Content-Length") != strconv.Itoa(to-from) {
		t.Errorf("%s: status %d, %d bytes, want 206 with %d", what, a.status, len(a.body), to-from)
	}
	if got, want := a.header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(body)); got != want {
		t.Errorf("%s: Content-Range %q, want %q", what, got, want)
	}
}

// askEveryWay asks for a content in every way that there is.
func askEveryWay(t *testing.T, url string, body []byte, validator, condition string) {
	t.Helper()
	size := len(body)
	for _, tc := range []struct {
		spec     string
		from, to int
	}{
		{"bytes=0-0", 0, 1}, {"bytes=0-1048575", 0, mib}, {"bytes=1048575-1048576", mib - 1, mib + 1},
		{"bytes=1500000-4500000", 1500000, 4500001}, {"bytes=-1", size - 1, size}, {"bytes=-3000000", size - 3000000, size},
		{"bytes=0-", 0, size}, {fmt.Sprintf("bytes=%d-", size-5), size - 5, size}, {"bytes=2097152-3145727", 2 * mib, 3 * mib},
		{"bytes=-99999999999", 0, size}, {"bytes=5-99999999999", 5, size},
	} {
		wantBytes(t, tc.spec, get(t, url, "Range: "+tc.spec), body, tc.from, tc.to)
		wantBytes(t, tc.spec+" with If-Range", get(t, url, "Range: "+tc.spec, "If-Range: "+validator), body, tc.from, tc.to)
	}
	for _, header := range [][]string{nil, {"Range: bytes=7-9", `If-Range: "other"`}, {"Range: bytes=9-7"}} {
		a := get(t, url, header...)
		if a.status != 200 || a.body != string(body) || a.header.Get("Content-Length") != strconv.Itoa(size) || a.header.Get("Content-Range") != "" {
			t.Errorf("%q: status %d, %d bytes, want the whole", header, a.status, len(a.body))
		}
	}
	for _, spec := range []string{fmt.Sprintf("bytes=%d-", size), "bytes=99999999999-", "bytes=-0"} {
		a := get(t, url, "Range: "+spec)
		if a.status != 416 || a.header.Get("Content-Range") != fmt.Sprintf("bytes */%d", size) || a.body != "" {
			t.Errorf("%s: status %d, %q", spec, a.status, a.header.Get("Content-Range"))
		}
	}
	if a := get(t, url, condition); a.status != 304 || a.body != "" {
		t.Errorf("%s: status %d, %d bytes", condition, a.status, len(a.body))
	}
	if a := get(t, url, condition, "Range: bytes=5-6"); a.status != 304 || a.body != "" {
		t.Errorf("%s and Range: status %d, %d bytes", condition, a.status, len(a.body))
	}
	a := do(t, "HEAD", url, nil, "Range: bytes=5-6")
	if a.status != 200 || a.header.Get("Content-Length") != strconv.Itoa(size) || a.body != "" {
		t.Errorf("HEAD: status %d, Content-Length %s", a.status, a.header.Get("Content-Length"))
	}
	a = get(t, url, "Range: bytes=0-9, 2000000-4200000, -20, 3000-3010")
	if a.status != 206 || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
		t.Fatalf("several ranges: status %d, %v", a.status, a.header)
	}
	got := parts(t, a)
	if len(got) != 4 {
		t.Errorf("several ranges: %d parts", len(got))
	}
	for contentRange, text := range got {
		if text != span(t, contentRange, string(body)) {
			t.Errorf("several ranges: part %s is wrong", contentRange)
		}
	}
}

// Every kind of request is answered right from a large content, whether nothing of it
// is stored, some of it or all.
func TestEveryRangeOfALargeContent(t *testing.T) {
	body := someBytes(5*mib + 12345) // more than fewSlices
	for _, on := range stores {
		for _, tc := range []struct{ name, etag string }{{"entity-tag", `"v1"`}, {"date", ""}} {
			t.Run(on.name+" "+tc.name, func(t *testing.T) {
				o := startSizes(t, body, tc.etag)
				o.modified = time.Now().Add(-240 * time.Hour).Truncate(time.Second)
				validator, condition := tc.etag, "If-None-Match: "+tc.etag
				if validator == "" {
					validator = o.modified.UTC().Format(http.TimeFormat)
					condition = "If-Modified-Since: " + validator
				}
				url, _ := startOn(t, on.cache(t), o.URL)
				askEveryWay(t, url+"/by-range", body, validator, condition)
				if got := o.wholes.Load(); got != 0 {
					t.Errorf("the whole was asked for %d times, though all is there in slices", got)
				}
				if a := get(t, url+"/whole"); a.status != 200 || a.body != string(body) {
					t.Errorf("the whole: status %d, %d bytes", a.status, len(a.body))
				}
				sent := o.sent.Load()
				askEveryWay(t, url+"/whole", body, validator, condition)
				if n := o.sent.Load() - sent; n != 0 {
					t.Errorf("%d bytes were fetched of what is stored", n)
				}
			})
		}
	}
}
