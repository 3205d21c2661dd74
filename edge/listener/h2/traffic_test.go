package h2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// random is what bodies are made of.
var random = sync.OnceValue(func() []byte {
	b := make([]byte, 11<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
})

// content is a body of n bytes, at most 10 MiB, other ones for each seed.
func content(n int, seed uint64) []byte {
	from := int(seed * 7919 % (1 << 20))
	return random()[from : from+n : from+n]
}

// writesItself is a body that writes itself in pieces of odd sizes.
type writesItself struct{ io.Reader }

func (b writesItself) WriteTo(w io.Writer) (n int64, err error) {
	all, err := io.ReadAll(b.Reader)
	if err != nil {
		return 0, err
	}
	for size := 1; len(all) > 0; size = size*3 + 1 {
		k, err := w.Write(all[:min(size, len(all))])
		n += int64(k)
		if err != nil {
			return n, err
		}
		all = all[k:]
	}
	return n, nil
}

// echo answers /SIZE/SEED/HOW with that content, in the way that HOW says, and a request
// with a body with that.
func echo(_ context.Context, req *exchange.Request, to exchange.Responder) {
	if req.Body != nil {
		to.Inform(103, block("Link: </a>"))
		sum := sha256.New()
		if _, err := io.Copy(sum, req.Body); err != nil {
			_ = to.Respond(&exchange.Answer{Status: 400})
			return
		}
		b := []byte(fmt.Sprintf("%x", sum.Sum(nil)))
		_ = to.Respond(&exchange.Answer{Status: 200, Header: block("X-Length: " + strconv.FormatInt(req.Length, 10)), Bytes: b, Length: int64(len(b))})
		return
	}
	parts := strings.Split(strings.Trim(req.Target, "/"), "/")
	if parts[0] == "hit" {
		parts = parts[1:]
	}
	size, _ := strconv.Atoi(parts[0])
	seed, _ := strconv.ParseUint(parts[1], 10, 64)
	b := content(size, seed)
	a := exchange.Answer{Status: 200, Header: block("Content-Type: a/b", "X-Seed: "+parts[1], "X-Seen: "+req.Header.Get("X-Mine")), Length: int64(size)}
	switch parts[2] {
	case "bytes":
		a.Bytes = b
	case "stream":
		a.Stream = bytes.NewReader(b)
	case "unknown":
		a.Stream, a.Length = struct{ io.Reader }{bytes.NewReader(b)}, -1
	case "self":
		a.Stream = writesItself{bytes.NewReader(b)}
	case "slow":
		a.Stream = iotest.HalfReader(bytes.NewReader(b))
	case "trailer":
		a.Stream, a.Length = bytes.NewReader(b), -1
		a.Trailer = func() *header.Block { return block("X-Sum: " + parts[1]) }
	}
	_ = to.Respond(&a)
}

// atHand has every small answer at hand that is not for the goroutines.
type atHand struct{ handler }

func (h atHand) ServeQuick(req *exchange.Request, to exchange.Responder) bool {
	if !strings.HasSuffix(req.Target, "/bytes") || strings.HasPrefix(req.Target, "/1000000") {
		return false
	}
	q := &asked{Responder: to}
	h.Serve(context.Background(), req, q)
	return q.err != exchange.ErrNotAtOnce
}

type asked struct {
	exchange.Responder
	err error
}

func (q *asked) Respond(a *exchange.Answer) error {
	q.err = q.Responder.Respond(a)
	return q.err
}

// TestOrdinaryTraffic: what net/http's client gets is what was to be sent, byte by byte,
// with many streams at once, whatever their sizes and ways, over one connection with and
// without TLS; and what it was given was its own in time.
func TestOrdinaryTraffic(t *testing.T) {
	secure, trust := certificate(t)
	for _, withTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", withTLS), func(t *testing.T) {
			s := &Server{Handler: atHand{echo}, scribble: spoil}
			var c *http.Client
			var base string
			if withTLS {
				tr := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true, DisableCompression: true}
				t.Cleanup(tr.CloseIdleConnections)
				c, base = &http.Client{Transport: tr}, "https://"+listen(t, s, secure)
			} else {
				c, base = client(t), "http://"+listen(t, s, nil)
			}
			var wg sync.WaitGroup
			slots := make(chan struct{}, 40)
			for i := range 300 {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					if err := oneRequest(c, base, i); err != nil {
						t.Errorf("request %d: %v", i, err)
					}
				})
			}
			wg.Wait()
		})
	}
}

var (
	sizes = []int{0, 1, 100, 1024, 16 << 10, 16<<10 + 1, 65535, 65536, 200_000, 1 << 20}
	ways  = []string{"bytes", "stream", "unknown", "self", "slow", "trailer"}
)

func oneRequest(c *http.Client, base string, i int) error {
	size, way := sizes[i%len(sizes)], ways[i%len(ways)]
	if i%97 == 0 {
		size = 10 << 20
	}
	want := content(size, uint64(i))
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	switch i % 7 {
	case 3: // it sends a body
		var body io.Reader = bytes.NewReader(want)
		if i%2 == 0 {
			body = struct{ io.Reader }{body} // of unknown length
		}
		req, _ := http.NewRequestWithContext(ctx, "POST", base+"/post", body)
		res, err := c.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if sum := fmt.Sprintf("%x", sha256.Sum256(want)); err != nil || string(got) != sum {
			return fmt.Errorf("status %d, body %q, %v", res.StatusCode, got, err)
		}
		return nil
	case 5: // it goes away
		short, cancel := context.WithTimeout(ctx, time.Duration(i%5)*time.Millisecond)
		defer cancel()
		req, _ := http.NewRequestWithContext(short, "GET", fmt.Sprintf("%s/%d/%d/%s", base, size, i, way), nil)
		if res, err := c.Do(req); err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		}
		return nil
	}
	req, _ := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/%d/%d/%s", base, size, i, way), nil)
	req.Header.Set("X-Mine", strconv.Itoa(i))
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || !bytes.Equal(got, want) {
		return fmt.Errorf("status %d, %d bytes of %d, %v", res.StatusCode, len(got), len(want), err)
	}
	if known := way != "unknown" && way != "trailer"; known && res.ContentLength != int64(size) {
		return fmt.Errorf("Content-Length %d, want %d", res.ContentLength, size)
	}
	if way == "trailer" && res.Trailer.Get("X-Sum") != strconv.Itoa(i) {
		return fmt.Errorf("trailer %v", res.Trailer)
	}
	if res.Header.Get("X-Seed") != strconv.Itoa(i) || res.Header.Get("X-Seen") != strconv.Itoa(i) {
		return fmt.Errorf("header %v", res.Header)
	}
	return nil
}

// TestHeads: methods and statuses that have no body have none, and HEAD says what it
// would be.
func TestHeads(t *testing.T) {
	h := handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		status, _ := strconv.Atoi(req.Target[len(req.Target)-3:])
		b := []byte("hello")
		_ = to.Respond(&exchange.Answer{Status: status, Bytes: b, Length: 5, Extra: block("Age: 7")})
	})
	for _, tc := range []struct {
		method, path string
		status       int
		length       string
		body         string
	}{
		{"GET", "/200", 200, "5", "hello"},
		{"HEAD", "/200", 200, "5", ""},
		{"GET", "/204", 204, "", ""},
		{"GET", "/304", 304, "", ""},
		{"HEAD", "/304", 304, "", ""},
		{"GET", "/404", 404, "5", "hello"},
		{"GET", "/503", 503, "5", "hello"},
	} {
		for _, at := range []string{"", "/hit"} {
			c, addr := client(t), ""
			if at == "" {
				addr = listen(t, &Server{Handler: h}, nil)
			} else {
				addr = listen(t, &Server{Handler: &quick{h, exchange.Answer{Status: tc.status, Bytes: []byte("hello"), Length: 5, Extra: block("Age: 7")}}}, nil)
			}
			req, _ := http.NewRequest(tc.method, "http://"+addr+at+tc.path, nil)
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != tc.status || string(got) != tc.body || res.Header.Get("Content-Length") != tc.length || res.Header.Get("Age") != "7" {
				t.Errorf("%s %s: %d %q %v %v", tc.method, at+tc.path, res.StatusCode, got, res.Header, err)
			}
		}
	}
}

// TestABodyThatBreaksOffIsNeverWhole, even if its last byte has come.
func TestABodyThatBreaksOffIsNeverWhole(t *testing.T) {
	bad := errors.New("bad sum")
	for name, a := range map[string]exchange.Answer{
		"error after some":      {Status: 200, Length: -1, Stream: io.MultiReader(strings.NewReader("some"), iotest.ErrReader(bad))},
		"error after all":       {Status: 200, Length: 4, Stream: io.MultiReader(strings.NewReader("some"), iotest.ErrReader(bad))},
		"much, error after all": {Status: 200, Length: 100_000, Stream: io.MultiReader(bytes.NewReader(make([]byte, 100_000)), iotest.ErrReader(bad))},
		"end before the length": {Status: 200, Length: 5, Stream: strings.NewReader("some")},
		"more than the length":  {Status: 200, Length: 3, Stream: strings.NewReader("some")},
		"bytes too few":         {Status: 200, Length: 5, Bytes: []byte("some")},
		"no answer":             {},
		"panic":                 {Status: -1},
	} {
		t.Run(name, func(t *testing.T) {
			h := handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
				switch a.Status {
				case 0:
				case -1:
					panic("so")
				default:
					if err := to.Respond(&a); !errors.Is(err, exchange.ErrAborted) {
						t.Errorf("Respond: %v", err)
					}
				}
			})
			addr := listen(t, &Server{Handler: h, Log: quiet}, nil)
			res, err := client(t).Get("http://" + addr + "/")
			if err != nil {
				return
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("a broken body looks whole: %q", got)
			}
		})
	}
}

// TestTheContextEndsWithTheClient, and with the handler's return.
func TestTheContextEndsWithTheClient(t *testing.T) {
	began, ended := make(chan context.Context, 1), make(chan error, 1)
	addr := listen(t, &Server{Handler: handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		began <- ctx
		if req.Target == "/stay" {
			_ = to.Respond(&exchange.Answer{Status: 204})
			return
		}
		derived, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		<-derived.Done()
		ended <- derived.Err()
	})}, nil)
	c := client(t)
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/go", nil)
	done := make(chan struct{})
	go func() { _, _ = c.Do(req); close(done) }()
	<-began
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("the context ended with %v", err)
	}
	<-done
	if _, err := c.Get("http://" + addr + "/stay"); err != nil {
		t.Fatal(err)
	}
	<-(<-began).Done()
}
