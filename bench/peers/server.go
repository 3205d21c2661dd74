//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a peer that runs, with an origin of its own.
type server struct {
	*peer
	place  place
	origin *origin
	cmd    *exec.Cmd
	ended  chan struct{} // closed when its process is gone
	log    string        // file with what it prints
}

// start runs a peer on one CPU and waits until it listens.
func start(ctx context.Context, p *peer, at place, o *origin, cpu int) (*server, error) {
	if err := os.MkdirAll(at.Dir, 0o755); err != nil {
		return nil, err
	}
	args, err := p.command(at)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", p.name, err)
	}
	s := &server{peer: p, place: at, origin: o, ended: make(chan struct{}), log: filepath.Join(at.Dir, "output.log")}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(cpu)}, args...)...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = at.Dir, out, out
	// One core: one thread that runs Go. The rest of the environment is the same for all.
	s.cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1"), p.env...)
	// Ctrl-C at a terminal goes to us alone, who stop the servers.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait()
	}()
	if err := s.listens(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("start %s: %w%s", p.name, err, s.tail())
	}
	return s, nil
}

// listens waits until the server's addresses accept.
func (s *server) listens(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var addrs []string
	if _, lacks := s.lacks[h1]; !lacks {
		addrs = append(addrs, s.place.Plain)
	}
	if _, lacks := s.lacks[h1s]; !lacks && s.place.Secure != "" || len(addrs) == 0 {
		addrs = append(addrs, s.place.Secure)
	}
	for _, addr := range addrs {
		for {
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-s.ended:
				return errors.New("it has ended")
			case <-ctx.Done():
				return fmt.Errorf("it does not listen on %s: %w", addr, context.Cause(ctx))
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// tail is the end of what the server has printed, for an error message.
func (s *server) tail() string {
	text, err := os.ReadFile(s.log)
	if err != nil || len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "; it said:\n\t" + strings.Join(lines[max(0, len(lines)-8):], "\n\t")
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// pause stops the server's processes, so that those which wait cost nothing.
func (s *server) pause() error { return send(s.pid(), syscall.SIGSTOP) }

func (s *server) resume() error { return send(s.pid(), syscall.SIGCONT) }

// stop ends the server: by request, and after five seconds by force.
func (s *server) stop() {
	pid := s.pid()
	processes, err := tree(pid)
	if err != nil {
		return
	}
	_ = s.resume()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(5 * time.Second):
		for _, p := range processes { // all are its own still: their parent has not ended
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		<-s.ended
	}
}

// leastLine is less than a line of an access log can be: what cannot leave out a time and
// a status.
const leastLine = 40

// checkLog says whether the access log has grown with requests, and empties it.
func (s *server) checkLog(requests figure) error {
	info, err := os.Stat(s.place.AccessLog())
	if err != nil {
		return fmt.Errorf("there is no access log: %w", err)
	}
	// The last lines may not be written yet.
	if float64(info.Size()) < 0.9*leastLine*float64(requests) {
		return fmt.Errorf("the access log has %d bytes for %.0f requests", info.Size(), requests)
	}
	return os.Truncate(s.place.AccessLog(), 0)
}

// url is where the server answers a path on a protocol.
func (s *server) url(p proto, path string) string {
	if p == h1 {
		return "http://localhost:" + s.place.PlainPort() + path
	}
	return "https://localhost:" + s.place.SecurePort() + path
}

// freeAddrs are n addresses of loopback that nobody listens on, by TCP or UDP.
func freeAddrs(n int) (addrs []string, err error) {
	for len(addrs) < n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // all at the end, so that they differ
		addr := ln.Addr().String()
		udp, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		udp.Close()
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
