package edge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
)

// wayward is an origin that does, now and then, whatever an origin may do wrong and does
// not lie about: it names the edition and the range that it sends.
type wayward struct {
	bodies [][]byte
	now    atomic.Int64
	mu     sync.Mutex
	rnd    *rand.Rand
}

func (o *wayward) draw(n int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rnd.IntN(n)
}

func (o *wayward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(o.now.Load())
	body := o.bodies[n]
	h := w.Header()
	h.Set("X-Edition", fmt.Sprint(n))
	h.Set("Cache-Control", []string{"max-age=60", "max-age=60", "max-age=60", "max-age=0, stale-if-error=60", "max-age=0, stale-while-revalidate=60", "no-cache"}[o.draw(6)])
	h.Set("ETag", fmt.Sprintf(`"v%d"`, n))
	fault := o.draw(40)
	switch fault {
	case 0:
		h.Set("ETag", fmt.Sprintf(`W/"v%d"`, n))
	case 1:
		h.Del("ETag")
	case 2:
		h.Set("Cache-Control", "no-store")
	case 3:
		h.Set("Cache-Control", "private")
	case 4:
		h.Set("Vary", "X-Kind")
	case 5:
		h.Set("Set-Cookie", "a=b")
	case 6:
		w.WriteHeader([]int{404, 410, 416, 429, 500, 503, 304}[o.draw(7)])
		return
	case 7, 8, 9: // it breaks off
		w = &breaking{w, o.draw(len(body))}
	case 10, 11:
		r.Header.Del("Range")
	case 12: // of unknown length
		w.(http.Flusher).Flush()
		_, _ = w.Write(body)
		return
	case 13, 14, 15, 16, 17, 18: // a part that is not the one asked for, not framed as it should be
		from := o.draw(len(body))
		if fault > 14 {
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		}
		if from = max(from, 0); from >= len(body) {
			w.WriteHeader(416)
			return
		}
		to := from + 1 + o.draw(min(len(body)-from, mib-from%mib))
		size := fmt.Sprint(len(body))
		if fault == 18 {
			size = "*"
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", from, to-1, size))
		w.WriteHeader(206)
		w.(http.Flusher).Flush()
		switch fault {
		case 15:
			_, _ = w.Write(append(bytes.Clone(body[from:to]), "and more than that"...))
		case 16:
			_, _ = w.Write(body[from : from+(to-from)/2])
		default:
			_, _ = w.Write(body[from:to])
		}
		return
	case 19:
		r.Header.Set("Range", "bytes=0-5,1000-1005")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// breaking breaks an answer off after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (w *breaking) Write(p []byte) (int, error) {
	n, _ := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	if w.left -= n; w.left == 0 {
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// check reports what is wrong with an answer that was read to its end.
func (o *wayward) check(res *http.Response, body []byte) error {
	var n, from int
	if res.StatusCode != 200 && res.StatusCode != 206 || res.Header.Get("Content-Range") == "" && res.StatusCode == 206 {
		return nil
	}
	if _, err := fmt.Sscan(res.Header.Get("X-Edition"), &n); err != nil {
		return fmt.Errorf("status %d without edition", res.StatusCode)
	}
	want := o.bodies[n]
	if res.StatusCode == 206 {
		var to int
		if _, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/", &from, &to); err != nil || to >= len(want) {
			return fmt.Errorf("edition %d: Content-Range %q", n, res.Header.Get("Content-Range"))
		}
		want = want[from : to+1]
	}
	if res.ContentLength < 0 && res.StatusCode == 206 && len(body) != len(want) {
		return nil // handed on as it came: the client can tell
	}
	if !bytes.Equal(body, want) {
		return fmt.Errorf("edition %d: %d bytes from %d are not its %d", n, len(body), from, len(want))
	}
	return nil
}

// Whatever an origin does wrong, whoever asks and goes away: an answer that ends well has
// the bytes that it names, and nothing stays under way.
func TestRandomFaultsOfTheOriginOfALargeContent(t *testing.T) {
	asks := share(40, 160) // of each client
	for i, on := range stores {
		for n := range share(1, 2) {
			seed := uint64(i + n)
			t.Run(fmt.Sprintf("%s seed=%d", on.name, seed), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 11))
				way := &wayward{rnd: rand.New(rand.NewPCG(seed, 12))}
				for i := range 8 {
					body := make([]byte, []int{1 + rnd.IntN(mib), 2*mib + rnd.IntN(5*mib)}[min(1, rnd.IntN(4))])
					_, _ = rand.NewChaCha8([32]byte{byte(i), 9}).Read(body)
					way.bodies = append(way.bodies, body)
				}
				o := startOrigin(t, way.ServeHTTP)
				url, e := startOn(t, on.cache(t), o.URL)
				url += "/a"
				var right, broken, done atomic.Int64
				var clients sync.WaitGroup
				for c := range uint64(5) {
					clients.Go(func() {
						rnd := rand.New(rand.NewPCG(seed, 20+c))
						for range asks {
							askAWayward(t, rnd, url, way, &right, &broken)
							done.Add(1)
						}
					})
				}
				for n := range way.bodies {
					waitFor(t, func() bool { return done.Load() >= int64(n*5*asks/len(way.bodies)) })
					way.now.Store(int64(n))
					switch rnd.IntN(3) {
					case 0:
						scope := command.Scope{Kind: command.ScopeURL, Site: "upstream", Value: "/a"}
						_ = e.Apply(e.table.Clock().Seq+1, command.Command{Scopes: []command.Scope{scope}})
					case 1:
						for i := range e.slicing.credits {
							e.slicing.credits[i].bytes.Store(-response.SliceSize)
						}
					}
				}
				clients.Wait()
				t.Logf("%d bodies were right, %d transfers broke off, the origin was asked %d times", right.Load(), broken.Load(), o.asked.Load())
				if right.Load() < broken.Load() {
					t.Errorf("%d transfers broke off of %d", broken.Load(), done.Load())
				}
				waitFor(t, func() bool { return e.fills.Held() == 0 })
			})
		}
	}
}

func askAWayward(t *testing.T, rnd *rand.Rand, url string, way *wayward, right, broken *atomic.Int64) {
	size := len(way.bodies[way.now.Load()])
	at := rnd.IntN(size)
	header := []string{[]string{
		"X-No: range", "Range: bytes=0-", fmt.Sprintf("Range: bytes=-%d", 1+rnd.IntN(size)), fmt.Sprintf("Range: bytes=%d-", at),
		fmt.Sprintf("Range: bytes=%d-%d", at, at), fmt.Sprintf("Range: bytes=%d-%d", at, at+rnd.IntN(2*mib)),
		fmt.Sprintf("Range: bytes=0-9,%d-%d", at, at+rnd.IntN(mib)),
	}[rnd.IntN(7)]}
	tag := fmt.Sprintf(`"v%d"`, rnd.IntN(len(way.bodies)))
	if more := []string{
		"", "", "", "", "Cache-Control: no-cache", "Cache-Control: no-store", "Cache-Control: only-if-cached", "Authorization: x",
		"If-Range: " + tag, "If-None-Match: " + tag, "X-Kind: 2",
	}[rnd.IntN(11)]; more != "" {
		header = append(header, more)
	}
	req := request(t, url, header...)
	if rnd.IntN(20) == 0 {
		req.Method = "HEAD"
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		broken.Add(1)
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
	case err != nil:
		t.Errorf("%s %q: %v", req.Method, header, err)
	case req.Method == "HEAD":
	default:
		if err := way.check(res, body); err != nil {
			t.Errorf("%q: %v, %s", header, err, res.Header.Get("Cache-Status"))
			return
		}
		right.Add(1)
	}
}
