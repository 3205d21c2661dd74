package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestALoneEdgeTakesPURGE on real processes: what was acknowledged holds over kill -9, and
// strangers are refused.
func TestALoneEdgeTakesPURGE(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Surrogate-Key", "all")
		fmt.Fprint(w, version.Load())
	}))
	defer origin.Close()
	addr, dir := freeAddr(t), t.TempDir()
	begin := func(flags ...string) *process {
		p := start(t, nil, append([]string{"edge", "--listen", addr, "--upstream", origin.URL, "--admin", freeAddr(t), "--disk", dir, "--disk-size", "64MiB"}, flags...)...)
		within(t, 20*time.Second, func() error {
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				conn.Close()
			}
			return err
		})
		return p
	}
	ask := func(method, path string, want int, header ...string) string {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range header {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != want {
			t.Errorf("%s %s: %s %s", method, path, res.Status, body)
		}
		return string(body)
	}
	paths := []string{"/a", "/b/c", "/d"}
	for i, purge := range [][]string{{"/a"}, {"/b/*"}, {"/", "Surrogate-Key: all"}} {
		p := begin()
		for _, path := range paths {
			ask("GET", path, 200)
		}
		before := version.Add(1) - 1
		if body := ask("PURGE", purge[0], 200, purge[1:]...); !strings.Contains(body, fmt.Sprintf(`"sequence":"1.%d"`, i+2)) {
			t.Errorf("purge %d: %s", i, body)
		}
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wait(20 * time.Second)
		p = begin("--purge-from", "192.0.2.1")
		for k, path := range paths {
			if body := ask("GET", path, 200); (k == i || i == 2) && body != fmt.Sprint(version.Load()) {
				t.Errorf("after purge %d %s is of version %s, not above %d", i, path, body, before)
			}
		}
		ask("PURGE", "/a", 403)
		if code := p.terminate(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
	p := begin("--purge-from", "")
	ask("PURGE", "/a", 405)
	if code := p.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestPurgesHoldOverAHandOver: the process that took over answers a purge only when the one
// before it, which still has clients, has ended.
func TestPurgesHoldOverAHandOver(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	held, let := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(held)
			<-let
		}
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprint(w, version.Load())
	}))
	defer origin.Close()
	p, addr := startAlone(t, origin.URL)
	t.Cleanup(func() {
		for _, found := range takesOver.FindAllStringSubmatch(p.out.String(), -1) {
			n, _ := strconv.Atoi(found[1])
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	})
	slow := make(chan error, 1)
	go func() { // keeps the first process
		res, err := http.Get("http://" + addr + "/slow")
		if err == nil {
			res.Body.Close()
		}
		slow <- err
	}()
	<-held
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, func() error {
		if !takesOver.MatchString(p.out.String()) {
			return errors.New("no new process has taken over")
		}
		return nil
	})
	answered := make(chan error, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for { // the first may still reach the process that ends
			req, err := http.NewRequest("PURGE", "http://"+addr+"/a", nil)
			if err != nil {
				answered <- err
				return
			}
			res, err := client.Do(req)
			if err != nil {
				answered <- err
				return
			}
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				answered <- nil
				return
			}
			if res.StatusCode != http.StatusServiceUnavailable {
				answered <- errors.New(res.Status)
				return
			}
		}
	}()
	select {
	case err := <-answered:
		t.Errorf("the purge was answered while the process before was there: %v", err)
	case <-time.After(500 * time.Millisecond): // longer than it takes
	}
	close(let)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the purge is not answered")
	}
}
