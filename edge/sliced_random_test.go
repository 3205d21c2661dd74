package edge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
)

// edition is one version of a content.
type edition struct {
	n    int
	body []byte
	tag  string
	how  string // it is served
}

// editions is an origin whose content changes, and how it serves it.
type editions struct {
	all []edition
	now atomic.Int64
}

var servedHow = []string{"strong", "strong", "strong", "weak", "none", "ignoring ranges", "of unknown length", "small"}

func newEditions(rnd *rand.Rand, n int) *editions {
	e := &editions{}
	for i := range n {
		how := servedHow[rnd.IntN(len(servedHow))]
		size := 2*mib + rnd.IntN(4*mib)
		if how == "small" {
			size = 1 + rnd.IntN(mib)
		}
		body := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(i), 7}).Read(body)
		tag := fmt.Sprintf(`"v%d"`, i)
		switch how {
		case "weak":
			tag = "W/" + tag
		case "none":
			tag = ""
		}
		e.all = append(e.all, edition{i, body, tag, how})
	}
	return e
}

// ServeHTTP answers from the edition of now, to its end.
func (e *editions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := e.all[e.now.Load()]
	h := w.Header()
	h.Set("Cache-Control", "max-age=60")
	h.Set("X-Edition", fmt.Sprint(v.n))
	if v.tag != "" {
		h.Set("ETag", v.tag)
	}
	switch v.how {
	case "ignoring ranges":
		h.Set("Content-Length", fmt.Sprint(len(v.body)))
		_, _ = w.Write(v.body)
	case "of unknown length":
		w.(http.Flusher).Flush()
		_, _ = w.Write(v.body)
	default:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(v.body))
	}
}

// check reports what is wrong with an answer whose body was read to its end: nothing if
// it is part of one edition, the one that it names.
func (e *editions) check(res *http.Response, body []byte, asked string) error {
	var n int
	if _, err := fmt.Sscan(res.Header.Get("X-Edition"), &n); err != nil {
		return fmt.Errorf("%s: status %d without edition", asked, res.StatusCode)
	}
	v := e.all[n]
	if tag := res.Header.Get("ETag"); tag != v.tag {
		return fmt.Errorf("%s: edition %d with ETag %s", asked, n, tag)
	}
	from, to := 0, len(v.body)
	if res.StatusCode == 206 {
		var size int
		if _, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil || size != len(v.body) {
			return fmt.Errorf("%s: edition %d of %d bytes (%s): Content-Range %q", asked, n, len(v.body), v.how, res.Header.Get("Content-Range"))
		}
		to++
	}
	if res.StatusCode != 200 && res.StatusCode != 206 {
		return fmt.Errorf("%s: status %d", asked, res.StatusCode)
	}
	if !bytes.Equal(body, v.body[from:to]) {
		return fmt.Errorf("%s: edition %d (%s): %d bytes of %d-%d are not its", asked, n, v.how, len(body), from, to)
	}
	return nil
}

// TestRandomRangesOfRandomEditions: whatever ranges clients ask for while the content
// changes, is purged and evicted, every body that ends well is of exactly one edition.
// The seed settles what is done, not how it interleaves.
func TestRandomRangesOfRandomEditions(t *testing.T) {
	asks := share(30, 120) // of each client
	for i, on := range stores {
		for n := range share(1, 4) {
			seed := uint64(i + n)
			t.Run(fmt.Sprintf("%s seed=%d", on.name, seed), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				eds := newEditions(rnd, 24)
				o := startOrigin(t, eds.ServeHTTP)
				url, e := startOn(t, on.cache(t), o.URL)
				url += "/a"
				var whole, broken, done atomic.Int64
				var clients sync.WaitGroup
				for c := range uint64(5) {
					clients.Go(func() {
						rnd := rand.New(rand.NewPCG(seed, c+1))
						for range asks {
							askForAnEdition(t, rnd, url, eds, &whole, &broken)
							done.Add(1)
						}
					})
				}
				for n := range eds.all {
					waitFor(t, func() bool { return done.Load() >= int64(n*5*asks/len(eds.all)) })
					eds.now.Store(int64(n))
					happensToAContent(e, url, rnd, eds)
				}
				clients.Wait()
				t.Logf("%d bodies were right, %d transfers broke off, the origin was asked %d times", whole.Load(), broken.Load(), o.asked.Load())
				if whole.Load() < 2*broken.Load() {
					t.Errorf("%d transfers broke off of %d", broken.Load(), done.Load())
				}
			})
		}
	}
}

// happensToAContent purges it, or loses slices, or spends its credit, or does nothing.
func happensToAContent(e *Edge, url string, rnd *rand.Rand, eds *editions) {
	switch rnd.IntN(4) {
	case 0:
		scope := command.Scope{Kind: command.ScopeURL, Site: "upstream", Value: "/a"}
		_ = e.Apply(e.table.Clock().Seq+1, command.Command{Scopes: []command.Scope{scope}})
	case 1:
		for _, v := range eds.all {
			for range 3 {
				dropSlice(e, url, v, int64(rnd.IntN(6)))
			}
		}
	case 2:
		for i := range e.slicing.credits {
			e.slicing.credits[i].bytes.Store(-response.SliceSize)
		}
	}
}

// dropSlice makes the store lose a slice of an edition of what is at url.
func dropSlice(e *Edge, url string, v edition, n int64) {
	key := response.NewKey("upstream\n" + strings.TrimPrefix(url, "http://"))
	if head := e.store.Get(key); head != nil && head.ETag == v.tag {
		e.store.Delete(response.SliceKey(key, head.Set, n))
	}
}

func askForAnEdition(t *testing.T, rnd *rand.Rand, url string, eds *editions, whole, broken *atomic.Int64) {
	size := len(eds.all[eds.now.Load()].body)
	var header []string
	at := rnd.IntN(size)
	switch rnd.IntN(8) {
	case 0:
	case 1:
		header = append(header, fmt.Sprintf("Range: bytes=-%d", 1+rnd.IntN(size)))
	case 2:
		header = append(header, fmt.Sprintf("Range: bytes=%d-", at))
	case 3:
		header = append(header, fmt.Sprintf("Range: bytes=%d-%d", at, at))
	default:
		header = append(header, fmt.Sprintf("Range: bytes=%d-%d", at, at+rnd.IntN(2*mib)))
	}
	if rnd.IntN(6) == 0 {
		header = append(header, "If-Range: "+eds.all[eds.now.Load()].tag)
	}
	if rnd.IntN(6) == 0 {
		header = append(header, "Cache-Control: no-cache")
	}
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		broken.Add(1) // before its head
		return
	}
	defer res.Body.Close()
	if rnd.IntN(5) == 0 {
		_, _ = io.CopyN(io.Discard, res.Body, int64(rnd.IntN(size)))
		return
	}
	body, err := io.ReadAll(res.Body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		broken.Add(1)
		return
	case err != nil:
		t.Errorf("%q: %v", header, err)
		return
	case res.StatusCode == 416:
		return
	}
	if err := eds.check(res, body, fmt.Sprintf("%q", header)); err != nil {
		t.Error(err)
		return
	}
	whole.Add(1)
}
