package edge

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"freshet/edge/response"
)

// Many clients that want overlapping ranges of something cold share the fetches of its
// slices.
func TestOverlappingRangesCollapse(t *testing.T) {
	body := someBytes(10 * mib)
	o := startSizes(t, body, `"v1"`)
	url, e := startLone(t, o.URL)
	url += "/a"
	e.slicing.credits.of(response.NewKey(explainNow(t, e, url).Key)).bytes.Store(1 << 40) // whole slices alone
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			from := (i * 77777) % (8 * mib)
			a := get(t, url, fmt.Sprintf("Range: bytes=%d-%d", from, from+2*mib-1))
			wantBytes(t, fmt.Sprint(i), a, body, from, from+2*mib)
		})
	}
	wg.Wait()
	if n := o.sent.Load(); n != 7*mib { // the last range ends within the seventh slice
		t.Errorf("the origin sent %d bytes of %d", n, 7*mib)
	}
}

// holding sends some bytes of an answer and waits with the rest.
type holding struct {
	http.ResponseWriter
	left int
	rest <-chan struct{}
}

func (w *holding) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left <= 0 {
		w.ResponseWriter.(http.Flusher).Flush()
		<-w.rest
	}
	return w.ResponseWriter.Write(p)
}

// A slice that one fetches who as yet knows nothing of the content, and that another wants
// who has its head from another slice, is fetched once, whoever is first.
func TestASliceIsFetchedOnceWhoeverKnowsTheHead(t *testing.T) {
	body := someBytes(3 * mib)
	knows, knowsNot := "Range: bytes=0-2097151", "Range: bytes=1048576-2097151"
	for _, order := range [][]string{{knows, knowsNot}, {knowsNot, knows}} {
		t.Run(order[0], func(t *testing.T) {
			asked, rest := make(chan string, 100), make(chan struct{})
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				asked <- r.Header.Get("Range")
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("ETag", `"v1"`)
				if r.Header.Get("Range") == "bytes=1048576-2097151" {
					w = &holding{w, mib / 2, rest}
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			})
			url, e := startLone(t, o.URL)
			url += "/a"
			e.slicing.credits.of(response.NewKey(explainNow(t, e, url).Key)).bytes.Store(1 << 40) // whole slices alone
			var all []*http.Response
			release := sync.OnceFunc(func() { close(rest) })
			defer release()
			for _, header := range order {
				res, err := http.DefaultTransport.RoundTrip(request(t, url, header))
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				n := map[string]int{knows: mib + 1, knowsNot: 1}[header] // up to a byte of what is held up
				if _, err := io.ReadFull(res.Body, make([]byte, n)); err != nil {
					t.Fatal(err)
				}
				all = append(all, res)
			}
			release()
			for i, res := range all {
				if got, err := readAll(res); err != nil || got != string(body[mib+1:2*mib]) {
					t.Errorf("%s: %d bytes, %v", order[i], len(got), err)
				}
			}
			close(asked)
			times := make(map[string]int)
			for ranged := range asked {
				times[ranged]++
			}
			if len(times) != 2 || times["bytes=0-1048575"] != 1 || times["bytes=1048576-2097151"] != 1 {
				t.Errorf("the origin was asked for %v", times)
			}
		})
	}
}

// Who has the head of a content does not take for a slice of it what another fetches who
// does not, when that turns out to be of an older one: it is fetched for him anew.
func TestASliceOfAnotherEditionIsNotTakenForOne(t *testing.T) {
	older, newer := someBytes(3*mib), someBytes(4 * mib)[mib:]
	rest := make(chan struct{})
	o := startOrigin(t, nil)
	serve := func(body []byte, etag string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("ETag", etag)
			if etag == `"older"` {
				w = &holding{w, mib / 2, rest}
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		}
	}
	old, young := serve(older, `"older"`), serve(newer, `"newer"`)
	o.serve.Store(&old)
	url, e := startLone(t, o.URL)
	url += "/a"
	e.slicing.credits.of(response.NewKey(explainNow(t, e, url).Key)).bytes.Store(1 << 40)
	late, err := http.DefaultTransport.RoundTrip(request(t, url, "Range: bytes=1048576-2097151"))
	if err != nil {
		t.Fatal(err)
	}
	defer late.Body.Close()
	o.serve.Store(&young)
	// What waits for the older one gets it in the end, and fails.
	release := sync.OnceFunc(func() { close(rest) })
	defer release()
	defer time.AfterFunc(20*time.Second, release).Stop()
	wantBytes(t, "newer", get(t, url, "Range: bytes=0-2097151"), newer, 0, 2*mib)
	release()
	if got, err := readAll(late); err != nil || got != string(older[mib:2*mib]) {
		t.Errorf("older: %d bytes, %v", len(got), err)
	}
}
