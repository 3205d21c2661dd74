package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func main() {
	conns := flag.Int("c", 1, "`N` connections")
	streams := flag.Int("m", 1, "`N` requests under way on each of them")
	length := flag.Duration("t", time.Second, "`TIME` that counts")
	warm := flag.Duration("warm", 500*time.Millisecond, "`TIME` before it")
	once := flag.Bool("once", false, "make one request and print the answer")
	flag.Parse()
	var err error
	switch {
	case flag.NArg() != 1:
		err = errors.New("name one URL")
	case *conns < 1 || *streams < 1 || *length <= 0 || *warm < 0:
		err = errors.New("-c, -m and -t are positive")
	case *once:
		err = askOnce(os.Stdout, flag.Arg(0))
	default:
		err = load(os.Stdout, flag.Arg(0), *conns, *streams, *warm, *length)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "h3load:", err)
		os.Exit(1)
	}
}

// Result is what the time that counts came to. Bytes are of bodies, those that were not
// complete in the end too.
type Result struct {
	Requests int64   `json:"requests"`
	Failed   int64   `json:"failed"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	Error    string  `json:"error,omitempty"` // the first of the failures
}

// Answer is what -once prints.
type Answer struct {
	Status int         `json:"status"`
	Proto  string      `json:"proto"`
	Header http.Header `json:"header"`
	Bytes  int64       `json:"bytes"`
	SHA256 string      `json:"sha256"`
}

// newTransport is one connection: a socket of its own, as clients have them. Chromium
// opens windows of 6 and 15 MiB.
func newTransport() *http3.Transport {
	return &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, // a server of the bench, on loopback
		QUICConfig: &quic.Config{
			InitialStreamReceiveWindow:     6 << 20,
			MaxStreamReceiveWindow:         6 << 20,
			InitialConnectionReceiveWindow: 15 << 20,
			MaxConnectionReceiveWindow:     15 << 20,
			MaxIdleTimeout:                 time.Minute,
			Allow0RTT:                      false,
		},
		DisableCompression: true,
	}
}

func askOnce(w io.Writer, url string) error {
	tr := newTransport()
	defer tr.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, res.Body)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return json.NewEncoder(w).Encode(Answer{res.StatusCode, res.Proto, res.Header, n, hex.EncodeToString(sum.Sum(nil))})
}

// Phases of a load.
const (
	warming = iota
	counting
	over
)

// worker is one request under way at a time. Its figures are its own until it is done.
type worker struct {
	took             []float64 // microseconds
	requests, failed int64
	bytes            int64
	err              error
}

func load(w io.Writer, url string, conns, streams int, warm, length time.Duration) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var phase atomic.Int32
	var wg sync.WaitGroup
	workers := make([]worker, conns*streams)
	for i := range conns {
		tr := newTransport()
		defer tr.Close()
		for j := range streams {
			wg.Go(func() { workers[i*streams+j].run(ctx, tr, url, &phase) })
		}
	}
	ended := make(chan struct{}) // when all have failed there is nothing to wait for
	go func() {
		defer close(ended)
		wg.Wait()
	}()
	wait(ended, warm)
	begun := time.Now()
	phase.Store(counting)
	fmt.Fprintln(w, "begin")
	wait(ended, length)
	phase.Store(over)
	took := time.Since(begun)
	fmt.Fprintln(w, "end")
	cancel()
	<-ended
	return json.NewEncoder(w).Encode(collect(workers, took))
}

// wait waits for a time, or until all have ended.
func wait(ended <-chan struct{}, d time.Duration) {
	select {
	case <-ended:
	case <-time.After(d):
	}
}

func collect(workers []worker, took time.Duration) Result {
	r := Result{Seconds: took.Seconds()}
	var all []float64
	for i := range workers {
		r.Requests += workers[i].requests
		r.Failed += workers[i].failed
		r.Bytes += workers[i].bytes
		all = append(all, workers[i].took...)
		if r.Error == "" && workers[i].err != nil {
			r.Error = workers[i].err.Error()
		}
	}
	slices.Sort(all)
	r.P50, r.P99 = percentile(all, 50), percentile(all, 99)
	return r
}

// percentile is the nearest rank of sorted values; 0 of none.
func percentile(sorted []float64, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max((len(sorted)*p+99)/100-1, 0)]
}

// run asks until ctx ends. What fails while it counts is counted, and ends the worker,
// so that a server that refuses is not asked in a spin.
func (w *worker) run(ctx context.Context, tr *http3.Transport, url string, phase *atomic.Int32) {
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		begun := time.Now()
		if err := w.ask(ctx, tr, url, buf, phase); err != nil {
			if ctx.Err() == nil {
				w.failed++
				w.err = err
			}
			return
		}
		if phase.Load() == counting {
			w.requests++
			w.took = append(w.took, float64(time.Since(begun).Nanoseconds())/1e3)
		}
	}
}

func (w *worker) ask(ctx context.Context, tr *http3.Transport, url string, buf []byte, phase *atomic.Int32) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	var got int64
	for {
		n, err := res.Body.Read(buf)
		got += int64(n)
		if phase.Load() == counting {
			w.bytes += int64(n)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if res.ContentLength >= 0 && got != res.ContentLength {
		return fmt.Errorf("%d bytes of %d", got, res.ContentLength)
	}
	return nil
}
