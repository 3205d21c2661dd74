package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// warmSizes are bodies that lie in RAM and on disk, on disk alone, and in slices.
var warmSizes = []int{0, 1, 5_000, 100_000, 400_000, 1 << 20, 3<<20 + 17}

// warmBody is the content of /n/SIZE.
func warmBody(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i>>8 ^ i*31 ^ size)
	}
	return b
}

// warmNode is a lone edge with disks, which can be ended and started again.
type warmNode struct {
	t       *testing.T
	flags   []string
	addr    string
	admin   string
	process *process
}

func (n *warmNode) start() {
	n.t.Helper()
	n.addr, n.admin = freeAddr(n.t), freeAddr(n.t)
	n.process = start(n.t, nil, append([]string{"edge", "--listen", n.addr, "--admin", n.admin}, n.flags...)...)
	within(n.t, 20*time.Second, func() error {
		conn, err := net.Dial("tcp", n.addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// ask sends a request to a host of its own, whatever port the node has this time.
func (n *warmNode) ask(method, path, byteRange string) (res *http.Response, body []byte) {
	n.t.Helper()
	req, err := http.NewRequest(method, "http://"+n.addr+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = "warm.example"
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	if res, err = http.DefaultClient.Do(req); err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		n.t.Fatal(err)
	}
	return res, body
}

// TestARestartServesFromDisk: a node that was drained, and one that was killed, come back
// with what they had stored, and do not ask the origin; what an unsafe request has made
// untrue before that stays so.
func TestARestartServesFromDisk(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != "GET" {
			return
		}
		size, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/n/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("ETag", fmt.Sprintf("%q", r.URL.Path))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(warmBody(size)))
	}))
	defer origin.Close()
	dir := t.TempDir()
	n := &warmNode{t: t, flags: []string{
		"--upstream", origin.URL, "--memory", "8MiB",
		"--disk", filepath.Join(dir, "a"), "--disk", filepath.Join(dir, "b"), "--disk-size", "64MiB",
	}}
	n.start()
	all := func(want string) {
		t.Helper()
		for _, size := range warmSizes {
			res, body := n.ask("GET", fmt.Sprint("/n/", size), "")
			if got := res.Header.Get("Cache-Status"); res.StatusCode != 200 || !strings.Contains(got, want) {
				t.Errorf("%d bytes: status %d, Cache-Status %q, want %q in it", size, res.StatusCode, got, want)
			}
			if !bytes.Equal(body, warmBody(size)) {
				t.Errorf("%d bytes: the body is another, of %d bytes", size, len(body))
			}
		}
	}
	all("fwd=uri-miss")
	for _, end := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGTERM, exitOK}, {syscall.SIGKILL, -1}, {syscall.SIGTERM, exitOK}} {
		if err := n.process.cmd.Process.Signal(end.signal); err != nil {
			t.Fatal(err)
		}
		if code := n.process.wait(20 * time.Second); code != end.code {
			t.Errorf("%v: exit code %d, want %d", end.signal, code, end.code)
		}
		before := asked.Load()
		n.start()
		all("; hit")
		const size = 3<<20 + 17
		if res, body := n.ask("GET", fmt.Sprint("/n/", size), "bytes=1048000-1049000"); res.StatusCode != 206 || !bytes.Equal(body, warmBody(size)[1048000:1049001]) {
			t.Errorf("a range over two slices: status %d, %d bytes", res.StatusCode, len(body))
		}
		if after := asked.Load(); after != before {
			t.Errorf("after %v the origin was asked %d times", end.signal, after-before)
		}
	}

	res, err := http.Get("http://" + n.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if want := fmt.Sprintf("\nfreshet_edge_disk_up{dir=%q} 1\n", filepath.Join(dir, name)); !strings.Contains(string(metrics), want) {
			t.Errorf("the metrics lack %q", want)
		}
	}

	n.ask("POST", "/n/5000", "")
	if err := n.process.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	n.process.wait(20 * time.Second)
	n.start()
	if res, _ := n.ask("GET", "/n/5000", ""); strings.Contains(res.Header.Get("Cache-Status"), "; hit") {
		t.Errorf("what a POST has made untrue is a hit after kill -9: %s", res.Header.Get("Cache-Status"))
	}
	if res, _ := n.ask("GET", "/n/1", ""); !strings.Contains(res.Header.Get("Cache-Status"), "; hit") {
		t.Errorf("the POST has taken others with it: %s", res.Header.Get("Cache-Status"))
	}
}

// TestADirectoryServesOneProcess: the second one is told so, and the first one serves on.
func TestADirectoryServesOneProcess(t *testing.T) {
	t.Parallel()
	n := &warmNode{t: t, flags: []string{"--upstream", "http://127.0.0.1:9", "--disk", t.TempDir(), "--disk-size", "64MiB"}}
	n.start()
	code, out := runFreshet(t, nil, append([]string{"edge", "--listen", freeAddr(t), "--admin", freeAddr(t)}, n.flags...)...)
	if code != exitError || !strings.Contains(out, n.flags[3]) || !strings.Contains(out, "one process at a time") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code := n.process.terminate(); code != exitOK {
		t.Errorf("the first one: exit code %d", code)
	}
}
