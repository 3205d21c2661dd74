package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

var takesOver = regexp.MustCompile(`a new process takes over" .*pid=(\d+)`)

// TestSIGHUPHandsOver: clients of every protocol, new and old connections, and one that
// takes its time, are served while one process of an edge follows another, twice. The
// last one still has the disk cache.
func TestSIGHUPHandsOver(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		size, _ := strconv.Atoi(filepath.Base(r.URL.Path))
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("ETag", `"`+strconv.Itoa(size)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(warmBody(size)))
	}))
	defer origin.Close()
	addr, secure, home := freeAddr(t), freeAddr(t), t.TempDir()
	p := start(t, []string{"HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_DATA_HOME=" + home}, "edge", "--listen", addr, "--https", secure, "--self-signed",
		"--upstream", origin.URL, "--admin", freeAddr(t), "--disk", t.TempDir(), "--disk-size", "128MiB")
	pid := p.cmd.Process.Pid
	t.Cleanup(func() {
		for _, found := range takesOver.FindAllStringSubmatch(p.out.String(), -1) {
			n, _ := strconv.Atoi(found[1])
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	})
	trust := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	within(t, 20*time.Second, func() error {
		ca := regexp.MustCompile(`ca=(\S+)`).FindStringSubmatch(p.out.String())
		if ca == nil {
			return errors.New("no CA is named yet")
		}
		text, err := os.ReadFile(ca[1])
		if err == nil && !trust.RootCAs.AppendCertsFromPEM(text) {
			err = errors.New("no certificate in " + ca[1])
		}
		return err
	})

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	var answers [4]atomic.Int64
	load := func(kind int, ask func() error) {
		clients.Go(func() {
			for ctx.Err() == nil {
				if err := ask(); err != nil {
					if ctx.Err() == nil {
						t.Errorf("client of kind %d: %v", kind, err)
					}
					return
				}
				answers[kind].Add(1)
			}
		})
	}
	for range 3 {
		keep := &keptAlive{addr: addr}
		defer keep.close()
		load(0, keep.ask)
	}
	load(1, func() error {
		once := &keptAlive{addr: addr}
		defer once.close()
		return once.ask()
	})
	over := func(rt http.RoundTripper) func() error {
		return func() error {
			res, err := (&http.Client{Transport: rt, Timeout: 20 * time.Second}).Get("https://" + secure + "/n/5000")
			if err != nil {
				return err
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != 200 || !bytes.Equal(body, warmBody(5000)) {
				return fmt.Errorf("status %d, %d bytes, %v", res.StatusCode, len(body), err)
			}
			return nil
		}
	}
	two := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}
	defer two.CloseIdleConnections()
	three := &http3.Transport{TLSClientConfig: trust.Clone()}
	defer three.Close()
	load(2, over(two))
	load(2, over(two))
	load(3, over(three))

	reached := func(more int64) {
		t.Helper()
		var want [4]int64
		for i := range answers {
			want[i] = answers[i].Load() + more
		}
		within(t, 30*time.Second, func() error {
			for i := range answers {
				if n := answers[i].Load(); n < want[i] {
					return fmt.Errorf("%d answers to clients of kind %d, want %d", n, i, want[i])
				}
			}
			return nil
		})
	}
	reached(20)
	slow := startSlowDownload(t, addr)
	for range 2 {
		before := len(takesOver.FindAllString(p.out.String(), -1))
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		within(t, 20*time.Second, func() error {
			found := takesOver.FindAllStringSubmatch(p.out.String(), -1)
			if len(found) == before {
				return errors.New("no new process has taken over")
			}
			pid, _ = strconv.Atoi(found[before][1])
			return nil
		})
		reached(20)
	}
	if err := <-slow; err != nil {
		t.Errorf("the slow download: %v", err)
	}
	reached(5)
	if n := asked.Load(); n != 3 { // /n/5000 of two hosts, and the slow one
		t.Errorf("the origin was asked %d times for three contents", n)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cancel()
	clients.Wait()
	if code := p.wait(30 * time.Second); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(p.out.String(), "level=ERROR") {
		t.Error("errors were logged")
	}
}

// keptAlive is a client of HTTP/1.1 that uses a connection for as long as it is told that
// it may, and forgives nothing.
type keptAlive struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
}

func (k *keptAlive) close() {
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}

func (k *keptAlive) ask() (err error) {
	if k.conn == nil {
		if k.conn, err = net.Dial("tcp", k.addr); err != nil {
			return err
		}
		k.in = bufio.NewReader(k.conn)
	}
	_ = k.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(k.conn, "GET /n/5000 HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || !bytes.Equal(body, warmBody(5000)) {
		return fmt.Errorf("status %d, %d bytes, %v", res.StatusCode, len(body), err)
	}
	if res.Close {
		k.close()
	}
	return nil
}

// startSlowDownload reads a large content over some seconds.
func startSlowDownload(t *testing.T, addr string) <-chan error {
	const size = 16 << 20
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /n/%d HTTP/1.1\r\nHost: localhost\r\n\r\n", size); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer conn.Close()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			done <- err
			return
		}
		var body bytes.Buffer
		for err == nil {
			time.Sleep(100 * time.Millisecond) // a client that takes its time
			_, err = io.CopyN(&body, res.Body, 512<<10)
		}
		if err == io.EOF && bytes.Equal(body.Bytes(), warmBody(size)) {
			err = nil
		} else {
			err = fmt.Errorf("%d bytes of %d: %w", body.Len(), size, err)
		}
		done <- err
	}()
	return done
}
