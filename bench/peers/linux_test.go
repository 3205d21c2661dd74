//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseStat(t *testing.T) {
	const tail = " S 17 4242 4242 0 -1 4194304 1 2 3 4 250 125 7 8 20 0 1 0 5 6 7"
	for _, name := range []string{"nginx", "tmux: server", "a) S 9 9 (b", ""} {
		got, err := parseStat("4243 (" + name + ")" + tail)
		if want := (process{pid: 4243, parent: 17, user: 250, system: 125}); err != nil || got != want {
			t.Errorf("name %q: %+v, error %v, want %+v", name, got, err, want)
		}
	}
	for _, bad := range []string{"", "1 (x", "1 x S 1", "1 (x) S 1 2", "one (x)" + tail} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q was parsed as %+v", bad, got)
		}
	}
}

// The CPU time of a tree is that of all its processes: a grandchild's work counts, and
// what /proc shows in ticks is the same time.
func TestUsedCountsTheTree(t *testing.T) {
	cmd := exec.Command("sh", "-c", `sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done; sleep 60'; true`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its group, ours
		_ = cmd.Wait()
	}()
	before, err := used(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("done\n"))); err != nil {
		t.Fatal(err)
	}
	after, err := used(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if len(after.ran) < 2 {
		t.Fatalf("the tree has %d processes, want the shell and its child at least", len(after.ran))
	}
	ran, share := after.since(before)
	ticks := time.Duration(after.user+after.system) * 10 * time.Millisecond // of 100 a second
	if ran < 20*time.Millisecond || ran > ticks+200*time.Millisecond || ran < ticks-200*time.Millisecond {
		t.Errorf("300,000 turns of a loop took %v, and %v in ticks", ran, ticks)
	}
	if share < 0 || share > 1 {
		t.Errorf("%v of it was the system's", share)
	}
	if _, err := used(1 << 30); err == nil {
		t.Error("a process that does not exist has a CPU time")
	}
}

func TestSinceCountsNewProcesses(t *testing.T) {
	earlier := usage{ran: map[int]time.Duration{1: 5, 2: 7}, user: 10, system: 10}
	later := usage{ran: map[int]time.Duration{1: 8, 3: 4}, user: 13, system: 11}
	if ran, share := later.since(earlier); ran != 3+4 || share != 0.25 {
		t.Errorf("ran %d, system's share %v, want 7 and 0.25", ran, share)
	}
}

// All configurations are made, name the server's own place alone, and touch nothing of
// the system's.
func TestConfigurations(t *testing.T) {
	dir := t.TempDir()
	for _, p := range allPeers("/bin/freshet", "/bin/caddy") {
		at := place{Dir: filepath.Join(dir, p.name), Plain: "127.0.0.1:41001", Secure: "127.0.0.1:41002", Admin: "127.0.0.1:41003",
			Origin: "127.0.0.1:41004", Files: "/the/files", CertDir: "/the/certs", Cert: "/the/certs/cert.pem", Key: "/the/certs/key.pem"}
		if err := os.Mkdir(at.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		args, err := p.command(at)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		all := strings.Join(args, " ")
		err = filepath.WalkDir(at.Dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				text, e := os.ReadFile(path)
				all, err = all+"\n"+string(text), e
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(all, "{{") || strings.Contains(all, "<no value>") {
			t.Errorf("%s: a template is not filled in:\n%s", p.name, all)
		}
		for _, foreign := range []string{"/etc/nginx", "/etc/varnish", "/etc/h2o", "/etc/trafficserver", "/var/"} {
			if strings.Contains(all, foreign) {
				t.Errorf("%s: it uses %s", p.name, foreign)
			}
		}
		wants := []string{"41002", "cert.pem"}
		if _, lacks := p.lacks[h1s]; lacks && p.name == "varnish" {
			wants = []string{"41001"}
		}
		if p.cache {
			wants = append(wants, "41004", "41001")
		} else {
			wants = append(wants, "/the/files")
		}
		for _, want := range wants {
			if !strings.Contains(all, want) {
				t.Errorf("%s: nothing says %s:\n%s", p.name, want, all)
			}
		}
	}
}

// Order differs from round to round and is the same for the same seed.
func TestOrder(t *testing.T) {
	r := allRows()[0]
	var orders []string
	for round := range 20 {
		o := order(7, r, round, 5)
		if !slices.Equal(o, order(7, r, round, 5)) {
			t.Fatal("one seed gives two orders")
		}
		orders = append(orders, fmt.Sprint(o))
		slices.Sort(o)
		if !slices.Equal(o, []int{0, 1, 2, 3, 4}) {
			t.Fatalf("not everybody has a turn: %v", o)
		}
	}
	slices.Sort(orders)
	if n := len(slices.Compact(orders)); n < 5 {
		t.Errorf("20 rounds have %d orders", n)
	}
	if slices.Equal(order(7, r, 0, 50), order(8, r, 0, 50)) {
		t.Error("two seeds give the same order")
	}
}

// The origin answers with its bodies, long cacheable, whole and in parts, and counts.
func TestOrigin(t *testing.T) {
	b := newBodies()
	o, err := startOrigin(b)
	if err != nil {
		t.Fatal(err)
	}
	defer o.stop()
	get := func(path, ranges string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+o.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			req.Header.Set("Range", ranges)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, body
	}
	defer http.DefaultClient.CloseIdleConnections()
	for _, s := range sizes {
		res, body := get("/"+s.name, "")
		if res.StatusCode != http.StatusOK || int64(len(body)) != s.bytes || !bytes.Equal(body, newBodies()[s.name]) {
			t.Errorf("%s: status %d, %d bytes", s.name, res.StatusCode, len(body))
		}
		if res.Header.Get("Cache-Control") != "public, max-age=86400" || res.Header.Get("ETag") == "" {
			t.Errorf("%s: header %v", s.name, res.Header)
		}
	}
	if res, body := get("/64k", "bytes=10-19"); res.StatusCode != http.StatusPartialContent || !bytes.Equal(body, b["64k"][10:20]) {
		t.Errorf("range: status %d, %q", res.StatusCode, body)
	}
	if res, _ := get("/65k", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("unknown: status %d", res.StatusCode)
	}
	o.reset(0)
	get("/cold/1k/1", "")
	get("/cold/1k/2", "")
	get("/cold/1k/2", "")
	if got, want := o.count(), (originCount{Requests: 3, URLs: 2, Bytes: 3 << 10, Peak: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Readings are taken at the first of each mark, and what else is printed comes back.
func TestReadMarks(t *testing.T) {
	readings := 0
	read := func() (usage, error) {
		readings++
		return usage{ran: map[int]time.Duration{1: time.Duration(readings) * time.Second}}, nil
	}
	text, m, err := readMarks(strings.NewReader("hello\nend early\nbegin 1\nbegin 2\nend 1\nend 2\n{}\n"), "begin", "end", read)
	if err != nil || text != "hello\n{}\n" || m.cpu != time.Second || readings != 2 || m.wall <= 0 {
		t.Errorf("text %q, %+v, %d readings, error %v", text, m, readings, err)
	}
	if _, _, err := readMarks(strings.NewReader("begin\n"), "begin", "end", read); err == nil {
		t.Error("a loader that does not end was believed")
	}
}

// An access log that has no line for each request is a problem of the run.
func TestCheckLog(t *testing.T) {
	s := &server{place: place{Dir: t.TempDir()}}
	if err := s.checkLog(1); err == nil {
		t.Error("a log that is not there will do")
	}
	line := strings.Repeat("x", 80) + "\n"
	if err := os.WriteFile(s.place.AccessLog(), []byte(strings.Repeat(line, 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.checkLog(1000); err == nil {
		t.Error("100 lines will do for 1,000 requests")
	}
	if err := s.checkLog(100); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(s.place.AccessLog()); err != nil || info.Size() != 0 {
		t.Errorf("the log is not emptied: %v", err)
	}
}

func TestMakeRun(t *testing.T) {
	m := measured{loaded: loaded{requests: 3, bytes: 50 << 20, seconds: 2}, cpu: time.Second, wall: 2 * time.Second}
	if run := makeRun(m, mib10); run.Requests != 5 || run.CPU != 200e3 || run.Rate != 2.5 || run.Busy != 0.5 {
		t.Errorf("10 MB: %+v, want what was read, as five requests", run)
	}
	if run := makeRun(m, kib1); run.Requests != 3 || run.Problem != "" {
		t.Errorf("1 KB: %+v, want three requests", run)
	}
	m.requests = 0
	if run := makeRun(m, kib1); run.Problem == "" || !math.IsNaN(float64(run.CPU)) || !math.IsNaN(float64(run.P50)) {
		t.Errorf("nothing was complete: %+v", run)
	}
}

// The whole with freshet alone: it is built, started, warmed, checked, loaded with wrk,
// and its figures are of the hits that were made.
func TestFreshetAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the binary and runs for seconds")
	}
	for _, program := range []string{"wrk", "taskset"} {
		if !have(program) {
			t.Skipf("%s is missing: make bench installs it", program)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // most of it to build
	defer cancel()
	dir := t.TempDir()
	binary, err := (&installer{progress: io.Discard}).buildIn(ctx, "../..", dir, "./cmd/freshet")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: dir, progress: io.Discard, seed: 1, rounds: 1, length: time.Second, bodies: newBodies(),
		running: make(map[string]*server), loader: &loader{dir: dir, threads: 1}, peers: allPeers(binary, "")[:1]}
	cpus, err := ownCPUs()
	if err != nil {
		t.Fatal(err)
	}
	b.cpu = cpus[0]
	defer b.close()
	rows, err := chooseRows(allRows(), "h1/1k/c16,cold/1k/u1")
	if err != nil {
		t.Fatal(err)
	}
	var runs []Run
	if err := b.run(ctx, rows, func(r Run) { runs = append(runs, r) }); err != nil {
		t.Fatal(err)
	}
	if len(runs) != 2 || len(b.failures) > 0 {
		t.Fatalf("%d runs, want one for each row; failures: %v", len(runs), b.failures)
	}
	for _, run := range runs {
		if run.Problem != "" || run.Requests < 1 || run.CPU <= 0 || run.Rate <= 0 || run.P50 <= 0 || run.P99 < run.P50 {
			t.Errorf("%s: %+v", run.Row, run)
		}
	}
	if runs[0].Origin != nil {
		t.Errorf("hits reached the origin: %+v", runs[0].Origin)
	}
	if got := runs[1].Origin; got == nil || got.Requests < 1 || got.URLs != 1 {
		t.Errorf("an empty cache: %+v reached the origin, want one URL", got)
	}
}
