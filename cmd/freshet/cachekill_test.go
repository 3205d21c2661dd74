package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
)

// versioned is an origin whose contents say what they are: each begins with its path
// and version, and all other bytes follow from these. Some paths get a new version now
// and then.
type versioned struct {
	paths    []string
	sizes    []int
	versions []atomic.Int64
	asked    atomic.Int64
}

// largestBody is some slices and a bit.
const largestBody = 3<<20 + 12345

func newVersioned(r *rand.Rand, paths int) *versioned {
	o := &versioned{sizes: make([]int, paths), versions: make([]atomic.Int64, paths)}
	for i := range paths {
		kind := "stays"
		if i%4 == 0 {
			kind = "changes"
		}
		o.paths = append(o.paths, fmt.Sprintf("/%s/%d", kind, i))
		o.sizes[i] = int(100 * math.Exp(r.Float64()*math.Log(largestBody/100)))
		o.versions[i].Store(1)
	}
	return o
}

// content is a version of a path. The size differs a little from version to version.
func (o *versioned) content(i int, version int64) []byte {
	p := make([]byte, o.sizes[i]+int(version%7))
	n := copy(p, fmt.Sprintf("%s %d\n", o.paths[i], version))
	x := xxh3.HashString(o.paths[i]) + uint64(version)*0x9e3779b97f4a7c15
	var word [8]byte
	for n < len(p) {
		x = x*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(word[:], x^x>>29)
		n += copy(p[n:], word[:])
	}
	return p
}

func (o *versioned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.asked.Add(1)
	i, err := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	if err != nil || i < 0 || i >= len(o.paths) || o.paths[i] != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	version := o.versions[i].Load()
	w.Header().Set("Cache-Control", "max-age=3600")
	if strings.HasPrefix(r.URL.Path, "/changes/") {
		w.Header().Set("Cache-Control", "max-age=1")
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%d-%d"`, i, version))
	w.Header().Set("X-Content", fmt.Sprintf("%d %d", i, version))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.content(i, version)))
}

// errUnfinished is a transfer that broke off, as all do when the edge is killed.
var errUnfinished = errors.New("broken off")

// fetch gets a path from the edge, or a range of it, and compares each byte with what
// the origin has or had. errUnfinished if there is no complete answer.
func (o *versioned) fetch(client *http.Client, edge string, i int, r *rand.Rand) (hit bool, err error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+edge+o.paths[i], nil)
	if err != nil {
		return false, err
	}
	req.Host = "site.example" // the same after a restart, whatever the address is
	if r.IntN(4) == 0 {
		from := r.IntN(o.sizes[i])
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+r.IntN(o.sizes[i]-from)))
	}
	res, err := client.Do(req)
	if err != nil {
		return false, errors.Join(errUnfinished, err)
	}
	got, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return false, errors.Join(errUnfinished, err)
	}
	what := fmt.Sprintf("%s %s: %d, Cache-Status %q, X-Content %q, Content-Range %q, %d bytes", o.paths[i], req.Header.Get("Range"),
		res.StatusCode, res.Header.Get("Cache-Status"), res.Header.Get("X-Content"), res.Header.Get("Content-Range"), len(got))
	var path int
	var version int64
	if _, err := fmt.Sscan(res.Header.Get("X-Content"), &path, &version); err != nil || path != i || version < 1 || version > o.versions[i].Load() {
		return false, fmt.Errorf("a foreign response: %s", what)
	}
	want := o.content(i, version)
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		var from, to, complete int
		if _, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &complete); err != nil ||
			from < 0 || to < from || to >= len(want) || complete != len(want) {
			return false, fmt.Errorf("a wrong range: %s", what)
		}
		want = want[from : to+1]
	default:
		return false, fmt.Errorf("no content: %s", what)
	}
	if !bytes.Equal(got, want) {
		same := 0
		for same < min(len(got), len(want)) && got[same] == want[same] {
			same++
		}
		return false, fmt.Errorf("a wrong body: %s, not %d; right up to byte %d", what, len(want), same)
	}
	return strings.Contains(res.Header.Get("Cache-Status"), "; hit"), nil
}

// killed is an edge with a disk that is killed again and again.
type killed struct {
	t       *testing.T
	origin  *versioned
	url     string // of the origin
	dir     string
	process *process
	addr    string
	client  *http.Client
}

// startEdge starts the edge on its directory and waits until it serves.
func (k *killed) startEdge() {
	k.addr = freeAddr(k.t)
	k.process = start(k.t, nil, "edge", "--listen", k.addr, "--upstream", k.url, "--admin", freeAddr(k.t),
		"--memory", "32MiB", "--disk", k.dir, "--disk-size", "64MiB")
	k.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 30 * time.Second}
	within(k.t, 20*time.Second, func() error {
		conn, err := net.Dial("tcp", k.addr)
		if err == nil {
			_ = conn.Close()
			return nil
		}
		select {
		case <-k.process.exited:
			k.t.Fatalf("the edge ended: %s", k.process.out.String())
		default:
		}
		return err
	})
}

// kill ends the edge as nothing can be prepared for.
func (k *killed) kill() {
	if err := k.process.cmd.Process.Kill(); err != nil {
		k.t.Error(err)
	}
	<-k.process.exited
	k.client.CloseIdleConnections()
	if out := k.process.out.String(); strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
		k.t.Errorf("the edge wrote:\n%s", out)
	}
}

// load asks for random paths from several clients until done is closed. It counts the
// right answers.
func (k *killed) load(seed uint64, done <-chan struct{}, dead *atomic.Bool) (right int64) {
	var clients sync.WaitGroup
	var count atomic.Int64
	for c := range uint64(6) {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(seed, c))
			for {
				select {
				case <-done:
					return
				default:
				}
				i := int(float64(len(k.origin.paths)) * math.Pow(r.Float64(), 2))
				if strings.HasPrefix(k.origin.paths[i], "/changes/") && r.IntN(8) == 0 {
					k.origin.versions[i].Add(1)
				}
				_, err := k.origin.fetch(k.client, k.addr, i, r)
				switch {
				case err == nil:
					count.Add(1)
				case !errors.Is(err, errUnfinished):
					k.t.Error(err)
					return
				case dead.Load():
					return
				}
			}
		})
	}
	clients.Wait()
	return count.Load()
}

// verify asks for every path and counts the hits: nothing but the disk can have them.
func (k *killed) verify(seed uint64) (hits, answers int64) {
	var clients sync.WaitGroup
	var hitCount, count atomic.Int64
	const n = 4
	for c := range n {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(seed, 100+uint64(c)))
			for i := c; i < len(k.origin.paths); i += n {
				hit, err := k.origin.fetch(k.client, k.addr, i, r)
				// A content that changes while it is sent in slices breaks off, rightly.
				if err != nil && !errors.Is(err, errUnfinished) {
					k.t.Error(err)
				}
				if err == nil {
					count.Add(1)
				}
				if hit {
					hitCount.Add(1)
				}
			}
		})
	}
	clients.Wait()
	return hitCount.Load(), count.Load()
}

// An edge with a disk that is killed at random moments under load serves, when it is
// back, much of what it had, and never a byte that the origin didn't send for that URL
// and version.
func TestKilledEdgeServesNothingWrong(t *testing.T) {
	kills, paths := 8, 120
	if os.Getenv("FRESHET_TEST_LONG") != "" {
		kills, paths = 200, 300
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	k := &killed{t: t, origin: newVersioned(r, paths), dir: t.TempDir()}
	server := httptest.NewServer(k.origin)
	defer server.Close()
	k.url = server.URL
	k.startEdge()
	var right, hits, answers int64
	for range kills {
		done := make(chan struct{})
		var dead atomic.Bool
		loaded := make(chan int64)
		loadSeed := r.Uint64()
		go func() { loaded <- k.load(loadSeed, done, &dead) }()
		<-time.After(time.Duration(20+r.IntN(400)) * time.Millisecond)
		dead.Store(true)
		k.kill()
		close(done)
		right += <-loaded
		if t.Failed() {
			return
		}
		k.startEdge()
		h, a := k.verify(r.Uint64())
		hits += h
		answers += a
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d right answers between them; after them %d right answers, %d of them hits; the origin was asked %d times",
		kills, right, answers, hits, k.origin.asked.Load())
	if hits == 0 || right == 0 {
		t.Error("the disk gave nothing back")
	}
	if code := k.process.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
