package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/node"
)

// slicesOf are the numbers of the slices that an edge holds of a path, as explained.
func slicesOf(t *testing.T, e *Edge, url string) string {
	t.Helper()
	x := explainNow(t, e, url)
	if x.Stored == nil || x.Stored.Kind != "sliced" {
		t.Fatalf("%s is not stored in slices: %+v", url, x.Stored)
	}
	return x.Stored.Held
}

// lose makes the store lose a slice.
func lose(t *testing.T, e *Edge, url string, n int64) {
	t.Helper()
	x := explainNow(t, e, url)
	head := e.store.Get(response.NewKey(x.Key + x.Variant))
	if head == nil || head.Kind != response.Sliced {
		t.Fatalf("%s has no head: %+v", url, x)
	}
	key := response.SliceKey(head.Key, head.Set, n)
	if !e.store.Has(key) {
		t.Fatalf("slice %d of %s is not there", n, url)
	}
	e.store.Delete(key)
}

func TestAMissingSliceIsFetchedAlone(t *testing.T) {
	body := someBytes(5*mib + 5)
	for _, on := range stores {
		t.Run(on.name, func(t *testing.T) {
			o := startSizes(t, body, `"v1"`)
			url, e := startOn(t, on.cache(t), o.URL)
			url += "/a"
			get(t, url)
			if held := slicesOf(t, e, url); held != "0-5" {
				t.Fatalf("slices %s", held)
			}
			lose(t, e, url, 1)
			lose(t, e, url, 4)
			sent := o.sent.Load()
			a := get(t, url)
			if a.status != 200 || a.body != string(body) {
				t.Errorf("status %d, %d bytes", a.status, len(a.body))
			}
			wantStatus(t, a, "fwd=partial")
			if n := o.sent.Load() - sent; n != 2*mib || slicesOf(t, e, url) != "0-5" {
				t.Errorf("the origin sent %d bytes; there are the slices %s", n, slicesOf(t, e, url))
			}
			wantStatus(t, get(t, url), "; hit")
		})
	}
}

// Without a strong validator slices of two fetches are never put together: what misses
// one counts as not stored, for those who want that one.
func TestASetWithoutStrongValidator(t *testing.T) {
	body := someBytes(5*mib + 5)
	for _, etag := range []string{`W/"v1"`, ""} {
		t.Run("ETag "+etag, func(t *testing.T) {
			o := startSizes(t, body, etag)
			url, e := startLone(t, o.URL)
			url += "/a"
			get(t, url)
			wantStatus(t, get(t, url), "; hit")
			wantBytes(t, "a hit", get(t, url, "Range: bytes=1000000-3000000"), body, 1000000, 3000001)
			if n := o.asked.Load(); n != 1 {
				t.Errorf("the origin was asked %d times", n)
			}
			lose(t, e, url, 3)
			wantBytes(t, "of what is there", get(t, url, "Range: bytes=1000000-3000000"), body, 1000000, 3000001)
			wantStatus(t, get(t, url, "Range: bytes=-10"), "; hit")
			if n := o.asked.Load(); n != 1 {
				t.Errorf("the origin was asked %d times", n)
			}
			wantBytes(t, "of what is not", get(t, url, "Range: bytes=3500000-3500009"), body, 3500000, 3500010)
			a := get(t, url)
			if a.body != string(body) || strings.Contains(a.header.Get("Cache-Status"), "; hit") {
				t.Errorf("%d bytes, %s", len(a.body), a.header.Get("Cache-Status"))
			}
			wantStatus(t, get(t, url), "; hit")
		})
	}
}

// A slice under another validator sends a request back that has had nothing yet, and
// takes the set's place.
func TestTheContentChangesBetweenSlices(t *testing.T) {
	for _, size := range []int{5 * mib, 3*mib + 1, 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			one, two := someBytes(5*mib), someBytes(size + 1)[1:]
			o := startSizes(t, one, `"v1"`)
			url, e := startLone(t, o.URL)
			url += "/a"
			wantBytes(t, "before", get(t, url, "Range: bytes=0-9"), one, 0, 10)
			o.set(two, `"v2"`)
			wantBytes(t, "what is held", get(t, url, "Range: bytes=5-9"), one, 5, 10)
			a := get(t, url, "Range: bytes=3000000-")
			if size > 3000000 {
				wantBytes(t, "what is not", a, two, 3000000, size)
			} else if a.status != 416 || a.header.Get("Content-Range") != fmt.Sprintf("bytes */%d", size) {
				t.Errorf("status %d, %q", a.status, a.header.Get("Content-Range"))
			}
			if size > 3000000 {
				wantBytes(t, "from then on", get(t, url, "Range: bytes=0-9"), two, 0, 10)
				if a := get(t, url); a.status != 200 || a.body != string(two) {
					t.Errorf("the whole: status %d, %d bytes", a.status, len(a.body))
				}
			}
			waitFor(t, func() bool { return e.fills.Held() == 0 })
		})
	}
}

// Once something was sent, another validator breaks the transfer off.
func TestTheContentChangesDuringATransfer(t *testing.T) {
	one, two := someBytes(6*mib), someBytes(7 * mib)[mib:]
	o := startSizes(t, one, `"v1"`)
	url, e := startLone(t, o.URL)
	url += "/a"
	get(t, url)
	for n := range int64(3) {
		lose(t, e, url, n+2)
	}
	o.set(two, `"v2"`)
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(res)
	if err == nil || len(got) >= len(one) || !strings.HasPrefix(string(one), got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if a := get(t, url); a.status != 200 || a.body != string(two) {
		t.Errorf("then: status %d, %d bytes", a.status, len(a.body))
	}
}

// What breaks off at the origin breaks off at the client, and leaves nothing by which
// the rest could be taken for stored.
func TestABrokenOriginOfALargeContent(t *testing.T) {
	body := someBytes(6 * mib)
	for _, how := range []string{"whole", "range", "unknown length"} {
		t.Run(how, func(t *testing.T) {
			o := startSizes(t, body, `"v1"`)
			good := *o.serve.Load()
			bad := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("ETag", `"v1"`)
				switch how {
				case "whole":
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				case "range":
					w.Header().Set("Content-Length", fmt.Sprint(mib))
					w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", mib-1, len(body)))
					w.WriteHeader(206)
					_, _ = w.Write(body[:mib/2])
					panic(http.ErrAbortHandler)
				}
				_, _ = w.Write(body[:3*mib+5])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			})
			o.serve.Store(&bad)
			url, e := startLone(t, o.URL)
			url += "/a"
			req, _ := http.NewRequest("GET", url, nil)
			if how == "range" {
				req.Header.Set("Range", "bytes=0-")
			}
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(res); err == nil {
				t.Errorf("the client takes %d bytes for whole", len(got))
			}
			if x := explainNow(t, e, url); x.Stored != nil && x.Stored.Kind == "sliced" && how != "range" {
				t.Errorf("a head is stored: %+v", x.Stored)
			}
			o.serve.Store(&good)
			for range 2 {
				if a := get(t, url); a.status != 200 || a.body != string(body) {
					t.Errorf("then: status %d, %d bytes", a.status, len(a.body))
				}
			}
		})
	}
}

// A stale head is validated by the request for the range itself: that costs nothing of
// the body where nothing has changed, and a slice where something has.
func TestValidationOfALargeContentIsCheap(t *testing.T) {
	one, two := someBytes(6*mib), someBytes(7 * mib)[mib:]
	o := startSizes(t, one, `"v1"`, "Cache-Control: max-age=0")
	url, _ := startLone(t, o.URL)
	url += "/a"
	get(t, url)
	for _, spec := range [][]string{{"Range: bytes=5-9"}, {"Range: bytes=-10"}, {"Range: bytes=2000000-"}, nil, {"Range: bytes=1-2,5000000-5000010"}} {
		sent := o.sent.Load()
		a := get(t, url, spec...)
		if a.status != 200 && a.status != 206 || o.sent.Load() != sent {
			t.Errorf("%q: status %d, %d bytes sent by the origin", spec, a.status, o.sent.Load()-sent)
		}
		wantStatus(t, a, "fwd=stale; fwd-status=304; stored")
	}
	o.set(two, `"v2"`, "Cache-Control: max-age=0")
	sent := o.sent.Load()
	wantBytes(t, "changed", get(t, url, "Range: bytes=5-9"), two, 5, 10)
	if n := o.sent.Load() - sent; n > mib {
		t.Errorf("the origin sent %d bytes for a range of five", n)
	}
	if a := get(t, url); a.body != string(two) {
		t.Errorf("the whole has %d bytes that differ", len(a.body))
	}
}

// What was served stale is validated behind, without a body.
func TestARefreshOfALargeContent(t *testing.T) {
	body := someBytes(3 * mib)
	o := startSizes(t, body, `"v1"`, "Cache-Control: max-age=0, stale-while-revalidate=60")
	url, e := startLone(t, o.URL)
	url += "/a"
	get(t, url)
	for _, header := range [][]string{nil, {"Range: bytes=5-9"}} {
		sent, asked := o.sent.Load(), o.asked.Load()
		wantStatus(t, get(t, url, header...), "; detail=stale-while-revalidate")
		waitFor(t, func() bool { return o.asked.Load() == asked+1 && e.fills.Held() == 0 })
		if n := o.sent.Load() - sent; n != 0 {
			t.Errorf("%q: the origin sent %d bytes", header, n)
		}
	}
}

func TestPurgeOfALargeContent(t *testing.T) {
	one, two := someBytes(4*mib), someBytes(5 * mib)[mib:]
	for _, same := range []bool{false, true} {
		t.Run(fmt.Sprintf("same validator=%t", same), func(t *testing.T) {
			o := startSizes(t, one, `"v1"`)
			url, e := startLone(t, o.URL)
			url += "/a"
			get(t, url)
			tag, now := `"v2"`, two
			if same {
				tag, now = `"v1"`, one
			}
			o.set(now, tag)
			scope := command.Scope{Kind: command.ScopeURL, Site: "upstream", Value: "/a"}
			if err := e.Apply(e.table.Clock().Seq+1, command.Command{Scopes: []command.Scope{scope}}); err != nil {
				t.Fatal(err)
			}
			sent := o.sent.Load()
			wantBytes(t, "after the purge", get(t, url, "Range: bytes=2000000-2000009"), now, 2000000, 2000010)
			if a := get(t, url); a.body != string(now) {
				t.Error("the whole differs")
			}
			if n := o.sent.Load() - sent; n < 4*mib {
				t.Errorf("the origin sent %d bytes after the purge: slices of before were used", n)
			}
		})
	}
}

// A client that goes away leaves what has come of it, and is not fetched for.
func TestAClientThatLeavesALargeContent(t *testing.T) {
	const size = 40 * mib
	body := someBytes(size)
	o := startSizes(t, body, `"v1"`)
	url, e := startOn(t, node.Cache{Memory: 256 << 20}, o.URL)
	url += "/a"
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, res.Body, 100); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	waitFor(t, func() bool { return e.fills.Held() == 0 })
	waitFor(t, func() bool { return explainNow(t, e, url).Stored != nil })
	if held := slicesOf(t, e, url); !strings.HasPrefix(held, "0") || strings.HasSuffix(held, "39") {
		t.Errorf("slices %s", held)
	}
	wantStatus(t, get(t, url, "Range: bytes=0-99"), "; hit")
	if a := get(t, url); a.status != 200 || a.body != string(body) {
		t.Errorf("then: status %d, %d bytes", a.status, len(a.body))
	}
	if n := o.wholes.Load(); n != 1 {
		t.Errorf("the whole was asked for %d times", n)
	}
}

// A client slower than the others gets what the fill has let go of from the store, and
// where the store has not kept it, from the origin.
func TestAClientSlowerThanOthers(t *testing.T) {
	body := someBytes(12 * mib)
	for _, memory := range []int64{64 << 20, 9 << 20} {
		t.Run(fmt.Sprintf("%d MiB", memory>>20), func(t *testing.T) {
			gate := make(chan struct{})
			o := startSizes(t, body, `"v1"`)
			url, e := startOn(t, node.Cache{Memory: 64 << 20}, o.URL)
			url += "/a"
			slow, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				defer close(gate)
				if a := get(t, url); a.body != string(body) {
					t.Errorf("the fast one got %d bytes", len(a.body))
				}
			})
			<-gate
			if memory < 10<<20 {
				for n := range int64(12) {
					lose(t, e, url, n)
				}
			}
			got, err := readAll(slow)
			if err != nil || got != string(body) {
				t.Errorf("the slow one got %d bytes, %v", len(got), err)
			}
			wg.Wait()
		})
	}
}

// Where the store takes no slices nothing larger than it takes is kept.
func TestAStoreTooSmallForSlices(t *testing.T) {
	body := someBytes(3 * mib)
	o := startSizes(t, body, `"v1"`)
	url, e := startOn(t, node.Cache{Memory: 4 << 20}, o.URL)
	for _, header := range [][]string{nil, {"Range: bytes=5-"}, {"Range: bytes=1000000-2000000"}, nil} {
		a := get(t, url+"/a", header...)
		if a.status == 200 && a.body != string(body) || a.status != 200 && a.status != 206 {
			t.Errorf("%q: status %d, %d bytes", header, a.status, len(a.body))
		}
	}
	if x := explainNow(t, e, url+"/a"); e.slicing.on || x.Stored != nil && x.Stored.Bytes > 2*e.store.MaxSize() {
		t.Errorf("slices are kept: %+v", x.Stored)
	}
	small := someBytes(100_000)
	o.set(small, `"v1"`)
	get(t, url+"/b")
	wantStatus(t, get(t, url+"/b"), "; hit")
}

// An origin that ignores ranges is asked for the whole once.
func TestAnOriginThatIgnoresRanges(t *testing.T) {
	body := someBytes(5 * mib)
	o := startOrigin(t, whole(string(body), "Cache-Control: max-age=60", `ETag: "1"`))
	url, e := startLone(t, o.URL)
	url += "/a"
	wantBytes(t, "first", get(t, url, "Range: bytes=3000000-3000009"), body, 3000000, 3000010)
	waitFor(t, func() bool { return e.fills.Held() == 0 })
	wantBytes(t, "second", get(t, url, "Range: bytes=-10"), body, len(body)-10, len(body))
	for n := range int64(4) {
		lose(t, e, url, n)
	}
	asked := o.asked.Load()
	wantBytes(t, "lost slices", get(t, url, "Range: bytes=1000000-"), body, 1000000, len(body))
	if n := o.asked.Load() - asked; n > 2 {
		t.Errorf("the origin was asked %d times for the whole", n)
	}
	waitFor(t, func() bool { return e.fills.Held() == 0 })
	if a := get(t, url); a.body != string(body) {
		t.Errorf("%d bytes", len(a.body))
	}
}

// A transfer that waits for a slice ends when nobody answers.
func TestAnOriginThatGoesAwayBetweenSlices(t *testing.T) {
	body := someBytes(5 * mib)
	o := startSizes(t, body, `"v1"`)
	url, e := startLone(t, o.URL)
	url += "/a"
	get(t, url)
	lose(t, e, url, 2)
	lose(t, e, url, 4)
	down := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	o.serve.Store(&down)
	if a := get(t, url, "Range: bytes=5000000-"); a.status != 502 {
		t.Errorf("status %d", a.status)
	}
	wantStatus(t, get(t, url, "Range: bytes=0-2000000"), "; hit")
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(res); !errors.Is(err, io.ErrUnexpectedEOF) || got != string(body[:2*mib]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Variants, and queries that mean the same, have slices of their own.
func TestVariantsOfALargeContent(t *testing.T) {
	one, two := someBytes(3*mib), someBytes(4 * mib)[mib:]
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "X-Kind")
		w.Header().Set("No-Vary-Search", `params=("utm")`)
		body := one
		if r.Header.Get("X-Kind") == "2" {
			body = two
		}
		ranged(body, `"same"`)(w, r)
	})
	url, _ := startLone(t, o.URL)
	for _, first := range []string{"Range: bytes=1500000-2500000", "X-Nothing: 1"} {
		target := url + "/" + first[:1]
		for range 2 {
			for kind, body := range map[string][]byte{"1": one, "2": two} {
				a := get(t, target+"?q&utm="+kind, "X-Kind: "+kind, first)
				if a.status == 200 && a.body != string(body) || a.status == 206 && a.body != string(body[1500000:2500001]) {
					t.Errorf("variant %s: status %d, %d bytes that are not its", kind, a.status, len(a.body))
				}
			}
		}
		asked := o.asked.Load()
		for kind, body := range map[string][]byte{"1": one, "2": two} {
			a := get(t, target+"?utm=else&q", "X-Kind: "+kind, "Range: bytes=1600000-2400000")
			wantBytes(t, "variant "+kind, a, body, 1600000, 2400001)
		}
		if n := o.asked.Load() - asked; n > 0 {
			t.Errorf("%s: the origin was asked %d times for what is stored", first, n)
		}
	}
}

// A part that is shorter or longer than it says, which its framing does not tell, is
// broken off, or cut to what it says, and never kept.
func TestAPartThatIsNotAsLongAsItSays(t *testing.T) {
	body := someBytes(3 * mib)
	for _, more := range []int{-1, 1} {
		t.Run(fmt.Sprint(more), func(t *testing.T) {
			good := ranged(body, `"v1"`)
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("ETag", `"v1"`)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", mib-1, len(body)))
				w.WriteHeader(206)
				w.(http.Flusher).Flush() // chunked from here on
				_, _ = w.Write(body[:mib+more])
			})
			url, e := startLone(t, o.URL)
			req, err := http.NewRequest("GET", url+"/a", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Range", fmt.Sprintf("bytes=5-%d", mib-1))
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(res); more < 0 && err == nil || err == nil && got != string(body[5:mib]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			waitFor(t, func() bool { return e.fills.Held() == 0 })
			if x := explainNow(t, e, url+"/a"); x.Stored != nil {
				t.Errorf("stored: %+v", x.Stored)
			}
			o.serve.Store(&good)
			if a := get(t, url+"/a"); a.body != string(body) {
				t.Errorf("then %d bytes", len(a.body))
			}
		})
	}
}

// Who wants the whole is never handed the answer to the request for a slice.
func TestAWholeIsNotAnsweredByAPart(t *testing.T) {
	body, next := someBytes(4*mib), someBytes(6 * mib)[mib:]
	for _, now := range []struct {
		name   string
		etag   string
		body   []byte
		header string
	}{
		{"no validator", "", next, "X-A: b"}, {"weak", `W/"v2"`, next, "X-A: b"}, {"not for storing", `"v2"`, next, "Cache-Control: no-store"},
		{"for one client", `"v2"`, next, "Cache-Control: private"}, {"too short for the range", `"v2"`, next[:100], "X-A: b"},
	} {
		t.Run(now.name, func(t *testing.T) {
			o := startSizes(t, body, `"v1"`)
			url, e := startLone(t, o.URL)
			url += "/a"
			get(t, url)
			lose(t, e, url, 0)
			lose(t, e, url, 3)
			o.set(now.body, now.etag, now.header)
			for range 2 {
				if a := get(t, url); a.status != 200 || a.body != string(now.body) {
					t.Errorf("the whole: status %d, %d bytes", a.status, len(a.body))
				}
			}
			if len(now.body) > 3500000 {
				wantBytes(t, "a range", get(t, url, "Range: bytes=3400000-3500000"), now.body, 3400000, 3500001)
			}
		})
	}
}

// RFC 9111 §4.3.5 holds for a content in slices, too; and what an unsafe request makes
// untrue is all of it.
func TestHeadAndUnsafeRequestsOfALargeContent(t *testing.T) {
	body := someBytes(3 * mib)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			return
		}
		ranged(body, `"v1"`)(w, r)
	})
	url, _ := startLone(t, o.URL)
	url += "/a"
	get(t, url)
	stale := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Version", "2")
		ranged(body, `"v1"`)(w, r)
	}
	var h http.HandlerFunc = stale
	o.serve.Store(&h)
	if a := do(t, "HEAD", url, nil, "Cache-Control: no-cache"); a.header.Get("X-Version") != "2" || a.header.Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("HEAD: %+v", a.header)
	}
	a := get(t, url)
	if a.body != string(body) || a.header.Get("X-Version") != "2" {
		t.Errorf("%d bytes, %v", len(a.body), a.header)
	}
	wantStatus(t, a, "; hit")
	if a := do(t, "POST", url, strings.NewReader("x")); a.status != 200 {
		t.Fatalf("POST: %d", a.status)
	}
	asked := o.asked.Load()
	wantBytes(t, "after the POST", get(t, url, "Range: bytes=5-9"), body, 5, 10)
	if o.asked.Load() == asked {
		t.Error("a slice of before the POST was used")
	}
}
