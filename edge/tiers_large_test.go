package edge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/command"
)

// largeSize is that of the large contents of tiers, in bytes.
const largeSize = 3*mib + 100

var largeBodies sync.Map // of versions

// largeBody is the content of a version.
func largeBody(version int) []byte {
	if b, ok := largeBodies.Load(version); ok {
		return b.([]byte)
	}
	b := []byte(strings.Repeat(fmt.Sprintf("%09d,", version), largeSize/10+1)[:largeSize])
	largeBodies.Store(version, b)
	return b
}

// answerLarge answers with the version of a path, in a large body, under an entity-tag or,
// by the first letter of the path, under none that is strong.
func (v *versions) answerLarge(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	n := v.mu.of[r.URL.Path]
	v.mu.Unlock()
	w.Header().Set("Cache-Control", "max-age=600")
	switch r.URL.Path[1] {
	case 'w':
		w.Header().Set("ETag", fmt.Sprintf(`W/"%d"`, n))
	case 's':
		w.Header().Set("Cache-Control", "max-age=0")
		fallthrough
	default:
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(largeBody(n)))
}

// fetchLarge asks a tier for a range, "" for all. The version is -1 where the transfer broke
// off, with a nil error; an error says what is wrong.
func (n *tier) fetchLarge(path, ranged string) (version int, err error) {
	req, err := http.NewRequest("GET", n.url+path, nil)
	if err != nil {
		return -1, err
	}
	req.Host = "www.test"
	if ranged != "" {
		req.Header.Set("Range", ranged)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if errors.Is(err, io.EOF) {
		return -1, nil // before the head was out
	}
	if err != nil {
		return -1, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	what := fmt.Sprintf("%s%s %q: status %d, ETag %s, %d bytes, %s", n.name, path, ranged, res.StatusCode,
		res.Header.Get("ETag"), len(got), res.Header.Get("Cache-Status"))
	version, err = strconv.Atoi(strings.Trim(res.Header.Get("ETag"), `W/"`))
	if err != nil {
		return -1, errors.New(what)
	}
	from, to, size := 0, largeSize-1, largeSize
	if res.StatusCode == 206 {
		_, err = fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size)
	}
	if err != nil || size != largeSize || !bytes.Equal(got, largeBody(version)[from:to+1]) {
		return -1, errors.New(what + ": not the bytes of that version")
	}
	return version, nil
}

func (n *tier) wantLarge(t *testing.T, path, ranged string, version int) {
	t.Helper()
	got, err := n.fetchLarge(path, ranged)
	if err != nil || got != version {
		t.Errorf("%s%s %s: version %d, %v, want %d", n.name, path, ranged, got, err, version)
	}
}

func startLargeTree(t *testing.T) (x *tiers, mid, e1, e2 *tier) {
	x, mid, e1, e2 = startTree(t)
	var h http.HandlerFunc = x.origin.answerLarge
	x.origin.serve.Store(&h)
	return x, mid, e1, e2
}

// An edge that knows of a purge which its mid has not heard of gets every slice anew.
func TestPurgeOfALargeContentThatTheMidHasNotHeardOf(t *testing.T) {
	t.Parallel()
	x, mid, e1, e2 := startLargeTree(t)
	mid.log.shut(true) // it hears of none of the purges
	for i, ranged := range []string{"", "bytes=1000000-2500000", "bytes=-10", "bytes=0-"} {
		for _, path := range []string{"/l", "/w", "/s"} {
			path += strconv.Itoa(i)
			for _, n := range []*tier{mid, e1, e2} {
				n.wantLarge(t, path, "", 0)
			}
			x.origin.publish(path)
			purged := x.purge(path)
			x.applied(purged, e1)
			e1.wantLarge(t, path, ranged, 1)
			e1.wantLarge(t, path, "", 1)
			x.applied(purged, e2)
			e2.wantLarge(t, path, ranged, 1)
			e2.wantLarge(t, path, "", 1)
		}
	}
}

// TestRandomHistoriesOfLargeContents is TestRandomHistoriesOfTiers for contents in slices:
// none of the slices of an answer is older than a purge that the node had applied when the
// request came, and all are of one version. A transfer may break off where the content
// changes under it.
func TestRandomHistoriesOfLargeContents(t *testing.T) {
	t.Parallel()
	paths := []string{"/l", "/w", "/s"}
	steps := share(24, 120)
	for seed := range uint64(2) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			x, mid, e1, e2 := startLargeTree(t)
			h := &history{tiers: x, nodes: []*tier{mid, e1, e2}, paths: paths}
			head, err := x.bus.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h.mu.logs = map[command.LogID]int{head.Log: 1}
			var broken atomic.Int64
			var clients sync.WaitGroup
			for c := range uint64(4) {
				clients.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, c+1))
					for range 6*steps/4 + 10 {
						h.askLarge(rnd, &broken)
					}
				})
			}
			h.happen(rand.New(rand.NewPCG(seed, 0)), steps, seed%2 == 1)
			clients.Wait()
			for _, n := range h.nodes {
				n.log.shut(false)
			}
			h.mu.Lock()
			last := h.purge("")
			h.mu.Unlock()
			h.applied(last, h.nodes...)
			for path, version := range h.origin.all() {
				for _, n := range h.nodes {
					n.wantLarge(t, path, "", version)
				}
			}
			t.Logf("%d requests, %d purges, %d logs, %d of the origin: %d violations, %d broke off",
				h.requests.Load(), h.purges.Load(), len(h.mu.logs), x.origin.asked.Load(), h.violated.Load(), broken.Load())
			if broken.Load() > h.requests.Load()/4 {
				t.Errorf("%d of %d transfers broke off", broken.Load(), h.requests.Load())
			}
		})
	}
}

// askLarge sends one request and holds the answer to what was promised when it left.
func (h *history) askLarge(rnd *rand.Rand, broken *atomic.Int64) {
	n, path := h.nodes[rnd.IntN(len(h.nodes))], h.paths[rnd.IntN(len(h.paths))]
	ranged := ""
	switch at := rnd.IntN(largeSize); rnd.IntN(4) {
	case 0:
		ranged = fmt.Sprintf("bytes=%d-", at)
	case 1:
		ranged = fmt.Sprintf("bytes=%d-%d", at, at+rnd.IntN(mib))
	case 2:
		ranged = fmt.Sprintf("bytes=-%d", at+1)
	}
	clock := n.table.Clock()
	due := h.due(clock, path)
	got, err := n.fetchLarge(path, ranged)
	h.requests.Add(1)
	switch {
	case err != nil:
		h.t.Errorf("at %s: %v", clock, err)
	case got < 0:
		broken.Add(1)
	case got < due:
		h.violated.Add(1)
		h.t.Errorf("%s%s %s at %s: version %d, want %d or later", n.name, path, ranged, clock, got, due)
	}
}
