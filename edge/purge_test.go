package edge

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/internal/node"
)

// startTagged is an origin whose answers say how often their path was asked for, and name
// a surrogate key. What a conditional request holds of the last version is confirmed.
func startTagged(t *testing.T) (o *origin, publish func()) {
	t.Helper()
	var version atomic.Int64
	return startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		tag := fmt.Sprintf(`"%d"`, version.Load())
		w.Header().Set("Cache-Control", "max-age=600, stale-while-revalidate=60")
		w.Header().Set("Surrogate-Key", "all "+strings.Trim(r.URL.Path, "/"))
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprintf(w, "version %d", version.Load())
	}), func() { version.Add(1) }
}

func wantBody(t *testing.T, a answer, body, status string) {
	t.Helper()
	if a.status != http.StatusOK || a.body != body {
		t.Errorf("status %d, %q, want %q", a.status, a.body, body)
	}
	wantStatus(t, a, status)
}

func mustPurge(t *testing.T, url string, header ...string) answer {
	t.Helper()
	a := do(t, methodPurge, url, nil, header...)
	if a.status != http.StatusOK || !strings.HasPrefix(a.body, `{"status":"ok",`) {
		t.Errorf("PURGE %s: %d %s", url, a.status, a.body)
	}
	return a
}

func TestPURGE(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		target string
		header []string
		gone   string // of these paths
		kept   string
		says   string
	}{
		{"a URL", "/a?b=c", nil, "/a?b=c", "/a /d/e", `"covers":["url /a?b=c"]`},
		{"all below a path", "/d/*", nil, "/d/e /d/f/g", "/a /d", `"covers":["prefix /d/"]`},
		{"all", "/*", nil, "/a /d/e /a?b=c", "", `"kind":"purge","site":"upstream","covers":["prefix /"]`},
		{"a surrogate key", "/x", []string{"Surrogate-Key: a"}, "/a /a?b=c", "/d /d/e", `"covers":["tag a"]`},
		{"surrogate keys", "/", []string{"Surrogate-Key: a  d d", "Surrogate-Key: d/e"}, "/a /d /d/e", "/d/f/g", `"covers":["tag a","tag d","tag d/e"]`},
		{"soft with 0 is hard", "/a", []string{"Fastly-Soft-Purge: 0"}, "/a", "/d", `"kind":"purge"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o, publish := startTagged(t)
			url, e := startLone(t, o.URL)
			for _, path := range strings.Fields(test.gone + " " + test.kept) {
				get(t, url+path)
			}
			publish()
			a := mustPurge(t, url+test.target, test.header...)
			if !strings.Contains(a.body, test.says) || !strings.Contains(a.body, `"sequence":"1.2"`) {
				t.Errorf("it says %s, want %s in it", a.body, test.says)
			}
			for _, path := range strings.Fields(test.gone) {
				wantBody(t, get(t, url+path), "version 1", "fwd=miss")
			}
			for _, path := range strings.Fields(test.kept) {
				wantBody(t, get(t, url+path), "version 0", "hit")
			}
			if n := testutil.ToFloat64(e.own.asked.WithLabelValues("purged")); n != 1 {
				t.Errorf("%v are counted", n)
			}
		})
	}
}

// TestSoftPURGE: what it covers is served stale within its window, and validated behind
// that; what has changed is then there.
func TestSoftPURGE(t *testing.T) {
	t.Parallel()
	o, publish := startTagged(t)
	url, _ := startLone(t, o.URL)
	get(t, url+"/a")
	publish()
	if a := mustPurge(t, url+"/a", "Fastly-Soft-Purge: 1"); !strings.Contains(a.body, `"kind":"invalidate"`) {
		t.Errorf("it says %s", a.body)
	}
	wantBody(t, get(t, url+"/a"), "version 0", "detail=stale-while-revalidate")
	waitFor(t, func() bool { return get(t, url+"/a").body == "version 1" })
	wantBody(t, get(t, url+"/a"), "version 1", "hit")
}

func TestWhoMayPURGE(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		from   node.Addresses
		header string
		status int
	}{
		{"the machine itself, if nothing is said", nil, "", 200},
		{"nobody", node.Addresses{}, "", 405},
		{"a stranger", node.Addresses{"10.0.0.0/8"}, "", 403},
		{"one who is named", node.Addresses{"10.0.0.0/8", "127.0.0.1"}, "", 200},
		{"a stranger who says to be another", node.Addresses{"10.0.0.0/8"}, "X-Forwarded-For: 10.0.0.1", 403},
		{"who came through a proxy beside it", nil, "X-Forwarded-For: 203.0.113.9", 403},
		{"likewise", nil, "Via: 1.1 proxy", 403},
		{"or a CDN", nil, "CDN-Loop: cdn", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			asked := atomic.Int64{}
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Cache-Control", "max-age=600")
			})
			url, e := startLoneFile(t, node.Cache{Memory: 64 << 20, Upstream: o.URL, Purge: test.from})
			get(t, url+"/a")
			var header []string
			if test.header != "" {
				header = append(header, test.header)
			}
			if a := do(t, methodPurge, url+"/a", nil, header...); a.status != test.status {
				t.Errorf("status %d, want %d: %s", a.status, test.status, a.body)
			}
			get(t, url+"/a")
			if purged := asked.Load() == 2; purged != (test.status == 200) || asked.Load() > 2 {
				t.Errorf("%d requests at the origin", asked.Load())
			}
			if n := testutil.ToFloat64(e.own.asked.WithLabelValues("refused")); (n == 1) != (test.status != 200) {
				t.Errorf("%v refused", n)
			}
		})
	}
}

// TestBadPURGEs are refused, and cover nothing.
func TestBadPURGEs(t *testing.T) {
	t.Parallel()
	o, publish := startTagged(t)
	url, e := startLone(t, o.URL)
	get(t, url+"/a")
	publish()
	var many []string
	for i := range maxPurgeTags + 1 {
		many = append(many, fmt.Sprint(i))
	}
	for name, header := range map[string]string{
		"no key":        "Surrogate-Key:  ",
		"too many keys": "Surrogate-Key: " + strings.Join(many, " "),
		"a long key":    "Surrogate-Key: " + strings.Repeat("x", 1025),
		"not UTF-8":     "Surrogate-Key: \xff",
	} {
		if a := do(t, methodPurge, url+"/a", nil, header); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := do(t, methodPurge, url+"/"+strings.Repeat("d/", 20)+"*", nil); a.status != http.StatusBadRequest {
		t.Errorf("a deep prefix: %d %s", a.status, a.body)
	}
	wantBody(t, get(t, url+"/a"), "version 0", "hit")
	if n := e.table.Marks(); n != 0 {
		t.Errorf("%d marks", n)
	}
}

// TestPURGEIsNotOfAClusterAndGoesNoFurther: its edges refuse it, and no parent sees it.
func TestPURGEIsNotOfAClusterAndGoesNoFurther(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	n := x.start("edge", "e1", tierSecret)
	if a := do(t, methodPurge, n.url+"/a", nil, "Host: www.test"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("status %d: %s", a.status, a.body)
	}
}

// TestPURGEsAreDurable: what was acknowledged holds over a restart, and sequences go on.
func TestPURGEsAreDurable(t *testing.T) {
	t.Parallel()
	o, publish := startTagged(t)
	const host = "Host: www.test" // whose port changes
	dir := t.TempDir()
	step := func(name string, do func(t *testing.T, url string, e *Edge)) {
		t.Run(name, func(t *testing.T) {
			c := onDisk(dir)
			c.Upstream = o.URL
			url, e := startLoneFile(t, c) // until the end of the step
			do(t, url, e)
		})
	}
	step("fill", func(t *testing.T, url string, e *Edge) {
		for _, path := range []string{"/a", "/b", "/c/d", "/e", "/f"} {
			get(t, url+path, host)
		}
	})
	publish()
	killed := t.TempDir()
	step("purge", func(t *testing.T, url string, e *Edge) {
		wantBody(t, get(t, url+"/b", host), "version 0", "hit")
		mustPurge(t, url+"/a", host)
		mustPurge(t, url+"/c/*", host)
		mustPurge(t, url+"/", host, "Surrogate-Key: e")
		if a := mustPurge(t, url+"/f", host, "Fastly-Soft-Purge: 1"); !strings.Contains(a.body, `"sequence":"1.5"`) {
			t.Errorf("it says %s", a.body)
		}
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil { // as kill -9 would leave it
			t.Fatal(err)
		}
	})
	for _, dir = range []string{dir, killed} {
		step("restart", func(t *testing.T, url string, e *Edge) {
			wantBody(t, get(t, url+"/f", host), "version 0", "detail=stale-while-revalidate")
			for _, path := range []string{"/a", "/c/d", "/e"} {
				if a := get(t, url+path, host); a.body != "version 1" {
					t.Errorf("%s: %q (%s)", path, a.body, a.header.Get("Cache-Status"))
				}
			}
			wantBody(t, get(t, url+"/b", host), "version 0", "hit")
			if a := mustPurge(t, url+"/b", host); !strings.Contains(a.body, `"sequence":"1.6"`) {
				t.Errorf("it says %s", a.body)
			}
			wantBody(t, get(t, url+"/b", host), "version 1", "fwd=")
		})
	}
}

// TestPURGEsUnderLoad: 2,000 of them from several clients at a time, while others read.
// Nobody who begins to ask after a purge was acknowledged gets what was published before.
func TestPURGEsUnderLoad(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 250
	var versions [clients]atomic.Int64
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscanf(r.URL.Path, "/%d", &n)
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprint(w, versions[n].Load())
	})
	c := onDisk(t.TempDir())
	c.Upstream = o.URL
	url, e := startLoneFile(t, c)
	var acknowledged [clients]atomic.Int64
	var purgers, readers sync.WaitGroup
	stop := make(chan struct{})
	for i := range clients {
		path := fmt.Sprintf("%s/%d", url, i)
		read := func() {
			least := acknowledged[i].Load()
			var version int64
			a := get(t, path)
			if _, err := fmt.Sscan(a.body, &version); err != nil || version < least {
				t.Errorf("version %q after %d was acknowledged (%s)", a.body, least, a.header.Get("Cache-Status"))
			}
		}
		purgers.Go(func() {
			for v := int64(1); v <= each; v++ {
				versions[i].Store(v)
				mustPurge(t, path)
				acknowledged[i].Store(v)
				if v%16 == 0 {
					read()
				}
			}
		})
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					read()
				}
			}
		})
	}
	purgers.Wait()
	close(stop)
	readers.Wait()
	if seq := e.table.Clock().Seq.String(); seq != "1.2001" {
		t.Errorf("the log ends at %s", seq)
	}
}
