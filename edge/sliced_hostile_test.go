package edge

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/header"
)

// What a request forbids to store is not fetched slice by slice for it: where one is
// missing it gets the whole, rather than a transfer that breaks off there.
func TestARequestThatForbidsStoringGetsTheWhole(t *testing.T) {
	body := someBytes(6 * mib)
	for _, forbids := range []string{"Authorization: Basic eDp5", "Cache-Control: no-store"} {
		for _, missing := range []int64{0, 3} {
			for _, some := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s slice %d some=%t", forbids[:8], missing, some), func(t *testing.T) {
					o := startSizes(t, body, `"v1"`)
					url, e := startLone(t, o.URL)
					url += "/a"
					get(t, url)
					lose(t, e, url, missing)
					if some { // a few bytes of it are there
						spendCredit(e)
						get(t, url, fmt.Sprintf("Range: bytes=%d-%d", missing*mib+5, missing*mib+9))
						waitFor(t, func() bool { return slicesOf(t, e, url) == "0-5" })
					}
					for range 2 {
						res, err := http.DefaultTransport.RoundTrip(request(t, url, forbids))
						if err != nil {
							t.Fatal(err)
						}
						if got, err := readAll(res); err != nil || res.StatusCode != 200 || got != string(body) {
							t.Errorf("status %d, %d bytes, %v", res.StatusCode, len(got), err)
						}
					}
					at := int(missing)*mib + 20
					wantBytes(t, "a range", get(t, url, forbids, fmt.Sprintf("Range: bytes=%d-%d", at, at+9)), body, at, at+10)
				})
			}
		}
	}
}

func request(t *testing.T, url string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// RFC 9111 §5.2.1.7: a client that wants only what is stored gets that or a 504, and
// nobody is asked: also where a slice is there that is dead, or only in part.
func TestOnlyIfCachedAsksNobodyForASlice(t *testing.T) {
	body := someBytes(6 * mib)
	for _, how := range []string{"dead", "in part", "gone"} {
		t.Run(how, func(t *testing.T) {
			o := startSizes(t, body, `"v1"`)
			url, e := startLone(t, o.URL)
			url += "/a"
			get(t, url)
			switch how {
			case "dead":
				scope := command.Scope{Kind: command.ScopeURL, Site: "upstream", Value: "/a"}
				if err := e.Apply(e.table.Clock().Seq+1, command.Command{Scopes: []command.Scope{scope}}); err != nil {
					t.Fatal(err)
				}
				get(t, url, "Range: bytes=0-9")
				waitFor(t, func() bool { return slicesOf(t, e, url) == "0" })
			case "in part":
				lose(t, e, url, 2)
				spendCredit(e)
				get(t, url, "Range: bytes=2500000-2500009")
				waitFor(t, func() bool { return slicesOf(t, e, url) == "0-5" })
			default:
				lose(t, e, url, 2)
			}
			asked := o.asked.Load()
			for _, ranged := range []string{"bytes=0-", "bytes=0-2600000", "lines=1-2"} {
				res, err := http.DefaultTransport.RoundTrip(request(t, url, "Cache-Control: only-if-cached", "Range: "+ranged))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := readAll(res); err != nil || res.StatusCode != 504 {
					t.Errorf("%s: status %d, %d bytes, %v", ranged, res.StatusCode, len(got), err)
				}
			}
			wantBytes(t, "what is there", get(t, url, "Cache-Control: only-if-cached", "Range: bytes=0-9"), body, 0, 10)
			if n := o.asked.Load() - asked; n != 0 {
				t.Errorf("the origin was asked %d times", n)
			}
		})
	}
}

// A suffix of a content that has become shorter can be had: that a slice of what it was
// cannot is no answer to it.
func TestASuffixOfAContentThatHasBecomeShorter(t *testing.T) {
	one, two := someBytes(5*mib), someBytes(200)[100:]
	o := startSizes(t, one, `"v1"`)
	url, _ := startLone(t, o.URL)
	url += "/a"
	get(t, url, "Range: bytes=0-9")
	o.set(two, `"v2"`)
	wantBytes(t, "a suffix", get(t, url, "Range: bytes=-10"), two, 90, 100)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// An origin that goes on beyond the part that it has announced does not fill the RAM.
func TestAPartWithoutEnd(t *testing.T) {
	for _, kind := range []string{"a slice", "all of it"} {
		t.Run(kind, func(t *testing.T) {
			ends := "bytes 0-1048575/5000000"
			if kind == "all of it" {
				ends = "bytes 0-99/100"
			}
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("ETag", `"v1"`)
				w.Header().Set("Content-Range", ends)
				w.WriteHeader(206)
				w.(http.Flusher).Flush() // chunked from here on
				_, _ = io.Copy(w, io.LimitReader(zeros{}, 40*mib))
			})
			url, e := startLone(t, o.URL)
			url += "/a"
			done := make(chan struct{})
			go func() {
				defer close(done)
				res, err := http.DefaultTransport.RoundTrip(request(t, url, "Range: bytes=5-9"))
				if err == nil {
					_, _ = readAll(res)
				}
			}()
			most := int64(0)
			for running := true; running || e.fills.Held() > 0; {
				select {
				case <-done:
					running = false
				default:
					most = max(most, e.fills.Held())
				}
			}
			if most > 3*mib {
				t.Errorf("the fill held %d bytes", most)
			}
			if x := explainNow(t, e, url); x.Stored != nil {
				t.Errorf("stored: %+v", x.Stored)
			}
		})
	}
}

// RFC 9111 §4.3.5: a HEAD that tells of another length speaks of another content.
func TestAHeadOfAnotherLength(t *testing.T) {
	for _, size := range []int{100, 3 * mib} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			one, two := someBytes(size), someBytes(size+1)
			modified := time.Now().Add(-240 * time.Hour)
			now := one
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				http.ServeContent(w, r, "", modified, bytes.NewReader(now))
			})
			url, _ := startLone(t, o.URL)
			url += "/a"
			get(t, url)
			do(t, "HEAD", url, nil, "Cache-Control: no-cache")
			wantStatus(t, get(t, url), "; hit")
			now = two
			do(t, "HEAD", url, nil, "Cache-Control: no-cache")
			if a := get(t, url); a.body != string(two) {
				t.Errorf("%d bytes, %s", len(a.body), a.header.Get("Cache-Status"))
			}
		})
	}
}

// RFC 9530 §2: a digest of what one message carried is not one of a part of that, nor of
// the whole that it was a part of.
func TestDigestsOfOtherMessages(t *testing.T) {
	body := someBytes(3 * mib)
	for _, withheld := range []string{"", ", no-cache=\"X-Own\""} {
		for _, etag := range []string{`"v1"`, `W/"v1"`} {
			t.Run(etag+withheld, func(t *testing.T) {
				for path, size := range map[string]int{"/small": 1000, "/large": len(body)} {
					o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Cache-Control", "max-age=60"+withheld)
						w.Header().Set("X-Own", "y")
						w.Header().Set("ETag", etag)
						w.Header().Set("Repr-Digest", "of all")
						rec := httptest.NewRecorder()
						rec.Header().Set("ETag", etag)
						http.ServeContent(rec, r, "", time.Time{}, bytes.NewReader(body[:size]))
						w.Header().Set("Content-Digest", digest(rec.Body.Bytes()))
						w.Header().Set("Content-MD5", digest(rec.Body.Bytes()))
						maps.Copy(w.Header(), rec.Header())
						w.WriteHeader(rec.Code)
						_, _ = w.Write(rec.Body.Bytes())
					})
					url, _ := startLone(t, o.URL)
					for _, header := range []string{"Range: bytes=5-9", "Range: bytes=5-9, 500-509", "X-No: range", "Range: bytes=5-9", "Range: bytes=5-9, 500-509"} {
						a := get(t, url+path, header)
						for _, name := range []string{"Content-Digest", "Content-MD5"} {
							if got := a.header.Get(name); got != "" && got != digest([]byte(a.body)) {
								t.Errorf("%s %s: status %d with another %s", path, header, a.status, name)
							}
						}
						if a.header.Get("Repr-Digest") != "of all" {
							t.Errorf("%s %s: Repr-Digest is lost", path, header)
						}
					}
				}
			})
		}
	}
}

func digest(body []byte) string { return fmt.Sprintf("%x", sha256.Sum256(body)) }

// A content that is gone, or is no more to be kept, is what the next request is told, not
// that the transfer breaks off at the first slice that is missing, again and again.
func TestAContentThatIsGoneBetweenSlices(t *testing.T) {
	body := someBytes(4 * mib)
	for name, now := range map[string]http.HandlerFunc{
		"not found":  answers(404, "gone"),
		"not stored": whole("new", "Cache-Control: no-store"),
		"for one":    whole("new", "Cache-Control: private"),
		"multipart": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				whole("new", "Cache-Control: max-age=60")(w, r)
				return
			}
			answers(206, "--x--", "Content-Type: multipart/byteranges; boundary=x")(w, r)
		},
		"of unknown size": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				whole("new", "Cache-Control: max-age=60")(w, r)
				return
			}
			answers(206, "n", "Content-Range: bytes 2097152-2097152/*", `ETag: "v1"`)(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := startSizes(t, body, `"v1"`)
			url, e := startLone(t, o.URL)
			url += "/a"
			get(t, url)
			lose(t, e, url, 2)
			o.serve.Store(&now)
			res, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(res); err == nil || !strings.HasPrefix(string(body), got) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if res, err = http.Get(url); err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(res); err != nil || got != "gone" && got != "new" {
				t.Errorf("then: status %d, %d bytes, %v", res.StatusCode, len(got), err)
			}
			waitFor(t, func() bool { return e.fills.Held() == 0 })
		})
	}
}

// What came for a request that is given up on, as the content is another one each time,
// is not left to wait for its client.
func TestAContentThatChangesAtEveryRequest(t *testing.T) {
	body := someBytes(12 * mib)
	var n atomic.Int64
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		n := int(n.Add(1))
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, n))
		content := body[:min(n, 5)*2*mib+5] // what the client wants the end of has always moved on
		switch {
		case n >= 5:
			r.Header.Del("Range")
			content = body
		case n == 1: // less than was asked for
			r.Header.Set("Range", "bytes=-1")
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	url, e := startLone(t, o.URL)
	if a := get(t, url+"/a", "Range: bytes=-10"); a.status != 502 {
		t.Errorf("status %d after %d requests, not given up on", a.status, n.Load())
	}
	waitFor(t, func() bool { return e.fills.Held() == 0 })
}

// A content of absurd size can be explained.
func TestExplainOfAnAbsurdSize(t *testing.T) {
	body := someBytes(mib)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", mib-1, int64(1<<62-2)))
		w.WriteHeader(206)
		_, _ = w.Write(body)
	})
	url, e := startLone(t, o.URL)
	url += "/a"
	a := get(t, url, "Range: bytes=0-9")
	if a.status != 206 || a.body != string(body[:10]) {
		t.Fatalf("status %d, %d bytes", a.status, len(a.body))
	}
	waitFor(t, func() bool { return e.fills.Held() == 0 })
	if held := slicesOf(t, e, url); held != "0" {
		t.Errorf("slices %s", held)
	}
}

// What was begun to be fetched before the content changed does not take the place of the
// new one, of which a part is stored meanwhile (RFC 9111 §4: the most recent response).
func TestALateWholeDoesNotReplaceANewerContent(t *testing.T) {
	one, two := someBytes(6*mib), someBytes(7 * mib)[mib:]
	o := startSizes(t, one, `"v1"`)
	release := make(chan struct{})
	var slow http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(one)))
		_, _ = w.Write(one[:5*mib])
		w.(http.Flusher).Flush()
		<-release
		_, _ = w.Write(one[5*mib:])
	}
	o.serve.Store(&slow)
	url, e := startLone(t, o.URL)
	url += "/a"
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	o.set(two, `"v2"`)
	wantBytes(t, "the new one", get(t, url, "Range: bytes=0-9"), two, 0, 10)
	waitFor(t, func() bool { x := explainNow(t, e, url); return x.Stored != nil && x.Stored.Kind == "sliced" })
	close(release)
	if got, err := readAll(res); err != nil || got != string(one) {
		t.Errorf("the old one: %d bytes, %v", len(got), err)
	}
	waitFor(t, func() bool { return e.fills.Held() == 0 })
	wantBytes(t, "then", get(t, url, "Range: bytes=5-9"), two, 5, 10)
	if a := get(t, url); a.body != string(two) {
		t.Errorf("then %d bytes that are not the new one", len(a.body))
	}
}

// A part that is late does not, either.
func TestALatePartDoesNotReplaceANewerContent(t *testing.T) {
	one, two := someBytes(6*mib), someBytes(7 * mib)[mib:]
	o := startSizes(t, one, `"v1"`)
	release := make(chan struct{})
	var slow http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", 3*mib, 4*mib-1, len(one)))
		w.Header().Set("Content-Length", fmt.Sprint(mib))
		w.WriteHeader(206)
		_, _ = w.Write(one[3*mib : 3*mib+100_000])
		w.(http.Flusher).Flush()
		<-release
		_, _ = w.Write(one[3*mib+100_000 : 4*mib])
	}
	o.serve.Store(&slow)
	url, e := startLone(t, o.URL)
	url += "/a"
	res, err := http.DefaultTransport.RoundTrip(request(t, url, fmt.Sprintf("Range: bytes=%d-%d", 3*mib, 4*mib-1)))
	if err != nil {
		t.Fatal(err)
	}
	o.set(two, `"v2"`)
	wantBytes(t, "the new one", get(t, url, "Range: bytes=0-9"), two, 0, 10)
	waitFor(t, func() bool { x := explainNow(t, e, url); return x.Stored != nil && x.Stored.Kind == "sliced" })
	close(release)
	if got, err := readAll(res); err != nil || got != string(one[3*mib:4*mib]) {
		t.Errorf("the old one: %d bytes, %v", len(got), err)
	}
	waitFor(t, func() bool { return e.fills.Held() == 0 })
	a := get(t, url, "Range: bytes=5-9")
	wantBytes(t, "then", a, two, 5, 10)
	wantStatus(t, a, "; hit")
}

// A client so late that the store has lost even the last slice of a body that has ended
// gets it from the origin.
func TestTheLastSliceIsLoadedBack(t *testing.T) {
	body := someBytes(6*mib + 5)
	o := startSizes(t, body, `"v1"`)
	url, e := startLone(t, o.URL)
	url += "/a"
	get(t, url)
	x := explainNow(t, e, url)
	head := e.store.Get(response.NewKey(x.Key + x.Variant))
	lose(t, e, url, 6)
	req := &exchange.Request{Method: "GET", Scheme: "http", Host: "a", Target: "/a", Header: new(header.Block), Received: time.Now()}
	w := new(walk)
	w.enlist(e, t.Context(), req, nil)
	if _, text := w.admit(); text != "" {
		t.Fatal(text)
	}
	f := w.fill("GET")
	r := head.WithBody(nil)
	r.Kind, r.Complete = response.Content, 0 // as it was when the fill began
	b, err := f.load(t.Context(), r, 6)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Bytes(); string(got) != string(body[6*mib:]) {
		t.Errorf("%d bytes", len(got))
	}
}

// However often others store pieces of a slice that a client waits for, its transfer does
// not break off.
func TestASliceThatOthersKeepStoring(t *testing.T) {
	body := someBytes(2 * mib)
	o := startSizes(t, body, `"v1"`)
	url, e := startLone(t, o.URL)
	url += "/a"
	spendCredit(e)
	get(t, url, "Range: bytes=0-9")
	waitFor(t, func() bool { return slicesOf(t, e, url) == "0" })
	x := explainNow(t, e, url)
	key := response.SliceKey(response.NewKey(x.Key), e.store.Get(response.NewKey(x.Key)).Set, 0)
	ended := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				if held := e.store.Get(key); held != nil {
					e.put(held)
				}
				runtime.Gosched()
			}
		}
	})
	for at := range 4 {
		wantBytes(t, "a range", get(t, url, fmt.Sprintf("Range: bytes=%d-%d", at*30_000, at*30_000+20_000)), body, at*30_000, at*30_000+20_001)
	}
	close(ended)
	others.Wait()
}
