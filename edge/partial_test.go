package edge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// ranged is an origin of one body that answers ranges.
func ranged(body []byte, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "application/octet-stream")
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

func someBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(b)
	return b
}

func wantPart(t *testing.T, a answer, body []byte, from, to int, status string) {
	t.Helper()
	if a.status != 206 || a.body != string(body[from:to]) {
		t.Errorf("bytes %d-%d: status %d, %d bytes", from, to-1, a.status, len(a.body))
	}
	if got, want := a.header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(body)); got != want {
		t.Errorf("Content-Range %q, want %q", got, want)
	}
	wantStatus(t, a, status)
}

// spendCredit leaves nothing of the range credit of any content, however much is earned.
func spendCredit(e *Edge) {
	for i := range e.slicing.credits {
		e.slicing.credits[i].bytes.Store(-1 << 40)
	}
}

// What the range credit allows is fetched and kept by whole slices: of something small
// that is all of it.
func TestARangeOfSomethingSmallFetchesAllOfIt(t *testing.T) {
	body := someBytes(10_000)
	o := startOrigin(t, ranged(body, `"v1"`))
	url, e := startLone(t, o.URL)
	wantPart(t, get(t, url+"/a", "Range: bytes=100-199"), body, 100, 200, "fwd=uri-miss; fwd-status=206; stored")
	waitFor(t, func() bool { return e.fills.Held() == 0 }) // the rest of it has come
	wantPart(t, get(t, url+"/a", "Range: bytes=-10"), body, 9990, 10000, "; hit")
	if a := get(t, url+"/a"); a.status != 200 || a.body != string(body) {
		t.Errorf("the whole: status %d, %d bytes", a.status, len(a.body))
	}
	if n := o.asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
}

func TestWithoutCreditARangeFetchesAndKeepsThatRange(t *testing.T) {
	body := someBytes(10_000)
	o := startOrigin(t, ranged(body, `"v1"`))
	url, e := startLone(t, o.URL)
	spendCredit(e)
	wantPart(t, get(t, url+"/a", "Range: bytes=100-199"), body, 100, 200, "fwd=uri-miss; fwd-status=206; stored")
	wantPart(t, get(t, url+"/a", "Range: bytes=100-199"), body, 100, 200, "; hit")
	wantPart(t, get(t, url+"/a", "Range: bytes=150-160"), body, 150, 161, "; hit")
	wantPart(t, get(t, url+"/a", "Range: bytes=150-250"), body, 150, 251, "fwd=partial")
	wantPart(t, get(t, url+"/a", "Range: bytes=100-250"), body, 100, 251, "; hit") // put together
	wantPart(t, get(t, url+"/a", "Range: bytes=-10"), body, 9990, 10000, "fwd=partial")
	wantPart(t, get(t, url+"/a", "Range: bytes=9995-"), body, 9995, 10000, "; hit")
	wantPart(t, get(t, url+"/a", "Range: bytes=5000-5009"), body, 5000, 5010, "fwd=partial; fwd-status=206; stored")
	if n := o.asked.Load(); n != 4 {
		t.Errorf("the origin was asked %d times, want 4", n)
	}
	whole := get(t, url+"/a")
	if whole.status != 200 || whole.body != string(body) {
		t.Errorf("the whole: status %d, %d bytes", whole.status, len(whole.body))
	}
	wantPart(t, get(t, url+"/a", "Range: bytes=0-4"), body, 0, 5, "; hit")
	if a := get(t, url+"/a", "Range: bytes=10000-"); a.status != 416 || a.header.Get("Content-Range") != "bytes */10000" {
		t.Errorf("past the end: %d, %q", a.status, a.header.Get("Content-Range"))
	}
}

func TestPartsThatMakeTheWholeBecomeIt(t *testing.T) {
	body := someBytes(300)
	o := startOrigin(t, ranged(body, `"v1"`))
	url, e := startLone(t, o.URL)
	spendCredit(e)
	for _, r := range []string{"bytes=100-199", "bytes=200-", "bytes=0-120"} {
		get(t, url+"/a", "Range: "+r)
	}
	if a := get(t, url+"/a"); a.body != string(body) || !strings.Contains(a.header.Get("Cache-Status"), "; hit") {
		t.Errorf("%d bytes, %s", len(a.body), a.header.Get("Cache-Status"))
	}
	if n := o.asked.Load(); n != 3 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestPartsOfDifferentResponsesAreNeverMixed(t *testing.T) {
	for _, tags := range [][2]string{{`"v1"`, `"v2"`}, {"", ""}, {`W/"v1"`, `W/"v1"`}} {
		old, now := bytes.Repeat([]byte("o"), 1000), bytes.Repeat([]byte("n"), 1000)
		o := startOrigin(t, ranged(old, tags[0]))
		url, _ := startLone(t, o.URL)
		get(t, url+"/a", "Range: bytes=0-499")
		next := ranged(now, tags[1])
		o.serve.Store(&next)
		get(t, url+"/a", "Range: bytes=500-999")
		for _, r := range []string{"bytes=0-999", "bytes=400-600", "bytes=0-10"} {
			a := get(t, url+"/a", "Range: "+r)
			if strings.Contains(a.body, "o") && strings.Contains(a.body, "n") {
				t.Errorf("validators %q: %s mixes two responses", tags, r)
			}
		}
	}
}

func TestA206ThatIsNotWhatItSaysIsNeverStored(t *testing.T) {
	for name, contentRange := range map[string]string{
		"wrong length": "bytes 0-9/100", "not a range": "bytes 5", "another unit": "lines 0-4/10", "backwards": "bytes 9-5/10",
	} {
		o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(206)
			fmt.Fprint(w, "12345")
		})
		url, _ := startLone(t, o.URL)
		get(t, url+"/a", "Range: bytes=0-4")
		if a := get(t, url+"/a", "Range: bytes=0-4"); strings.Contains(a.header.Get("Cache-Status"), "; hit") {
			t.Errorf("%s: stored", name)
		}
	}
}

func TestEqualRangesCollapseAndARandomMixIsRight(t *testing.T) {
	body := someBytes(50_000)
	o := startOrigin(t, ranged(body, `"v1"`))
	url, _ := startLone(t, o.URL)
	var wg sync.WaitGroup
	for i := range 200 {
		rng := rand.New(rand.NewPCG(uint64(i%40), 9)) // five clients for each range
		from := rng.IntN(len(body))
		to := min(from+1+rng.IntN(5000), len(body))
		wg.Go(func() {
			a := get(t, url+"/a", fmt.Sprintf("Range: bytes=%d-%d", from, to-1))
			if a.status != 206 || a.body != string(body[from:to]) {
				t.Errorf("bytes %d-%d: status %d, %d bytes", from, to-1, a.status, len(a.body))
			}
		})
	}
	wg.Wait()
	if n := o.asked.Load(); n > 40*maxAsked {
		t.Errorf("the origin was asked %d times for 40 ranges", n)
	}
}

// maxAsked is how often one range may be asked for: by those who came before it was
// stored, and once more by those who came while another range of it was.
const maxAsked = 2
