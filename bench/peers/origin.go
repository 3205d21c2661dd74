package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// bodies are the deterministic contents of the origin, by the names of sizes.
type bodies map[string][]byte

func newBodies() bodies {
	all := make(bodies)
	for _, s := range sizes {
		seed := [32]byte{1}
		copy(seed[1:], s.name)
		body := make([]byte, s.bytes)
		_, _ = rand.NewChaCha8(seed).Read(body)
		all[s.name] = body
	}
	return all
}

// writeFiles writes them for servers of files, which may run as somebody else.
func (b bodies) writeFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, body := range b {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// changed is when all contents were made; it is older than any run, so that caches which
// look at it find nothing remarkable.
var changed = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// origin is what one server asks for what it lacks. It counts.
type origin struct {
	bodies bodies
	server *http.Server
	addr   string
	ended  chan struct{}
	mu     struct {
		sync.Mutex
		delay time.Duration // before each answer
		originCount
		paths map[string]bool
		busy  int
	}
}

// originCount is what an origin has seen since the last reset.
type originCount struct {
	Requests int   `json:"requests"`
	URLs     int   `json:"urls"` // how many different ones
	Bytes    int64 `json:"bytes"`
	Peak     int   `json:"peak"` // most requests at a time
}

func startOrigin(b bodies) (*origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	o := &origin{bodies: b, addr: ln.Addr().String(), ended: make(chan struct{})}
	o.server = &http.Server{Handler: o, IdleTimeout: 5 * time.Minute}
	o.reset(0)
	go func() {
		defer close(o.ended)
		_ = o.server.Serve(ln)
	}()
	return o, nil
}

func (o *origin) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := o.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = o.server.Close()
	}
	<-o.ended
}

// reset begins to count anew, and sets how long each answer takes from now on.
func (o *origin) reset(delay time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.delay = delay
	o.mu.originCount = originCount{}
	o.mu.paths = make(map[string]bool)
}

func (o *origin) count() originCount {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.mu.originCount
	c.URLs = len(o.mu.paths)
	return c
}

// ServeHTTP answers /SIZE and /cold/SIZE/NUMBER, cacheable for long, with ranges and
// conditions.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	delay := o.begin(r.URL.Path)
	defer o.end()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if rest, ok := strings.CutPrefix(name, "cold/"); ok {
		name, _, _ = strings.Cut(rest, "/")
	}
	body, ok := o.bodies[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=86400")
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", etag(r.URL.Path))
	counted := &countedWriter{ResponseWriter: w}
	http.ServeContent(counted, r, "", changed, bytes.NewReader(body))
	o.mu.Lock()
	o.mu.Bytes += counted.n
	o.mu.Unlock()
}

func etag(path string) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(path))
	return fmt.Sprintf(`"%016x"`, sum.Sum64())
}

func (o *origin) begin(path string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.Requests++
	o.mu.paths[path] = true
	o.mu.busy++
	o.mu.Peak = max(o.mu.Peak, o.mu.busy)
	return o.mu.delay
}

func (o *origin) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.busy--
}

// countedWriter counts the bytes of a body.
type countedWriter struct {
	http.ResponseWriter
	n int64
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}
