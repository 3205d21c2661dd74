//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// loader runs wrk, h2load and h3load on the CPUs of this process.
type loader struct {
	dir     string // for files of its own
	h3load  string // the binary
	threads int    // of wrk and h2load
	warm    time.Duration
}

// measured is what one run of a loader came to, and what the server took of its CPU.
type measured struct {
	loaded
	cpu         time.Duration
	systemShare float64
	wall        time.Duration // that cpu is out of
}

// run loads a server for a row. What is measured of CPU time is what is counted of
// requests: the whole of a run of wrk, and of the others the time after warming up.
func (l *loader) run(ctx context.Context, s *server, r row, length time.Duration) (measured, error) {
	switch r.proto {
	case h2:
		return l.h2load(ctx, s, r, length)
	case h3:
		return l.h3(ctx, s, r, length)
	}
	return l.wrk(ctx, s, r, length, "")
}

func seconds(d time.Duration) string {
	return strconv.Itoa(max(int(d.Round(time.Second).Seconds()), 1))
}

// wrk runs wrk, with a script if one is named.
func (l *loader) wrk(ctx context.Context, s *server, r row, length time.Duration, script string) (m measured, err error) {
	threads := min(l.threads, r.conns)
	args := []string{"-t", strconv.Itoa(threads), "-c", strconv.Itoa(r.conns), "-d", seconds(length) + "s", "--latency", "--timeout", "30s"}
	if script != "" {
		args = append(args, "-s", script)
	}
	cmd := exec.CommandContext(ctx, "wrk", append(args, s.url(r.proto, r.path()))...)
	cmd.Env = l.env()
	before, err := used(s.pid())
	if err != nil {
		return m, err
	}
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	m.wall = time.Since(begun)
	if err != nil {
		return m, fmt.Errorf("wrk: %w: %s", err, out)
	}
	after, err := used(s.pid())
	if err != nil {
		return m, err
	}
	m.cpu, m.systemShare = after.since(before)
	m.loaded, err = parseWrk(string(out))
	return m, err
}

// env gives the loaders one cipher suite. OpenSSL reads it.
func (l *loader) env() []string {
	return append(os.Environ(), "OPENSSL_CONF="+filepath.Join(l.dir, "openssl.cnf"))
}

// h2load runs h2load, first for the figures and then, for a second, with its log for the
// percentiles: writing a line a request would slow it down. Large bodies are few: the
// log is written along.
func (l *loader) h2load(ctx context.Context, s *server, r row, length time.Duration) (m measured, err error) {
	log := filepath.Join(l.dir, "h2load.log")
	defer os.Remove(log)
	args := []string{"-t", strconv.Itoa(min(l.threads, r.conns)), "-c", strconv.Itoa(r.conns), "-m", strconv.Itoa(r.streams),
		"--connection-inactivity-timeout", "30", s.url(r.proto, r.path())}
	first := append(slices.Clone(args), "-D", seconds(length), "--warm-up-time", warmTime(l.warm))
	if r.size.byBytes() {
		first = append(first, "--log-file", log)
	}
	m, out, err := l.marked(ctx, s, "Main benchmark duration is started", "Main benchmark duration is over", "h2load", first...)
	if err != nil {
		return m, err
	}
	if m.loaded, err = parseH2load(out); err != nil {
		return m, err
	}
	if !r.size.byBytes() {
		cmd := exec.CommandContext(ctx, "h2load", append(slices.Clone(args), "-D", "1", "--log-file", log)...)
		cmd.Env = l.env()
		if out, err := cmd.CombinedOutput(); err != nil {
			return m, fmt.Errorf("h2load: %w: %s", err, out)
		}
	}
	file, err := os.Open(log)
	if err != nil {
		return m, err
	}
	defer file.Close()
	m.p50, m.p99, err = parseH2loadLog(file)
	return m, err
}

// warmTime is a duration as h2load reads it.
func warmTime(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }

func (l *loader) h3(ctx context.Context, s *server, r row, length time.Duration) (m measured, err error) {
	m, out, err := l.marked(ctx, s, "begin", "end", l.h3load, "-c", strconv.Itoa(r.conns), "-m", strconv.Itoa(r.streams),
		"-t", length.String(), "-warm", l.warm.String(), s.url(r.proto, r.path()))
	if err != nil {
		return m, err
	}
	var result struct {
		Requests, Failed, Bytes int64
		Seconds                 float64
		P50                     float64 `json:"p50_us"`
		P99                     float64 `json:"p99_us"`
		Error                   string
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		return m, fmt.Errorf("h3load printed %q: %w", out, err)
	}
	m.loaded = loaded{requests: result.Requests, failed: result.Failed, bytes: float64(result.Bytes), seconds: result.Seconds,
		p50: result.P50, p99: result.P99, why: result.Error, tls: "TLSv1.3 (QUIC)"}
	return m, nil
}

// marked runs a loader that prints a line when the time that counts begins, and one when
// it is over, and reads the server's CPU time at both. out is what it prints beside.
func (l *loader) marked(ctx context.Context, s *server, begin, end, program string, args ...string) (m measured, out string, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = l.env()
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return m, "", err
	}
	if err := cmd.Start(); err != nil {
		return m, "", err
	}
	text, m, markErr := readMarks(pipe, begin, end, func() (usage, error) { return used(s.pid()) })
	if err := cmd.Wait(); err != nil {
		return m, "", fmt.Errorf("%s: %w: %s%s", filepath.Base(program), err, text, complaints.String())
	}
	if markErr != nil {
		return m, "", fmt.Errorf("%s: %w: %s%s", filepath.Base(program), markErr, text, complaints.String())
	}
	return m, text, nil
}

// readMarks reads to the end, and takes a reading at the first line that begins with
// each mark (loaders with several threads print several).
func readMarks(from io.Reader, begin, end string, read func() (usage, error)) (text string, m measured, err error) {
	var before, after usage
	var begun time.Time
	var rest strings.Builder
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, begin):
			if begun.IsZero() && err == nil {
				before, err = read()
				begun = time.Now()
			}
		case strings.HasPrefix(line, end):
			if m.wall == 0 && !begun.IsZero() && err == nil {
				after, err = read()
				m.wall = time.Since(begun)
			}
		default:
			rest.WriteString(line + "\n")
		}
	}
	switch {
	case err != nil:
	case lines.Err() != nil:
		err = lines.Err()
	case m.wall == 0:
		err = fmt.Errorf("it did not say when it began and ended")
	default:
		m.cpu, m.systemShare = after.since(before)
	}
	return rest.String(), m, err
}
