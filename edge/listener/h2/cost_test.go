package h2

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"freshet/edge/exchange"
)

// stored is the answer of measurements: what a hit looks like.
func stored() exchange.Answer { return storedOf(1024) }

func storedOf(size int) exchange.Answer {
	return exchange.Answer{
		Status: 200,
		Header: block("Content-Type: text/html; charset=utf-8", "Cache-Control: public, max-age=3600", `ETag: "5f3a-61b2c8d9"`,
			"Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT", "Date: Sat, 21 Nov 2026 12:00:00 GMT", "Vary: Accept-Encoding", "Via: 1.1 freshet-e1"),
		Extra: block("Age: 57", "Cache-Status: freshet-e1; hit; ttl=3543"),
		Bytes: []byte(strings.Repeat("x", size)), Length: int64(size),
	}
}

// TestServerToMeasure is no test: it is the server that TestCostOfAHit measures, in a process of
// its own. It writes its address and ends with its input.
func TestServerToMeasure(t *testing.T) {
	kind := os.Getenv("FRESHET_H2_MEASURE")
	if kind == "" {
		t.Skip("TestCostOfAHit starts it")
	}
	config, _ := certificate(t)
	size, err := strconv.Atoi(os.Getenv("FRESHET_H2_SIZE"))
	if err != nil {
		t.Fatal(err)
	}
	answer := storedOf(size)
	miss := handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		a := answer
		_ = to.Respond(&a)
	})
	var addr string
	switch kind {
	case "at once", "not corked":
		uncorked = kind == "not corked"
		addr = listen(t, &Server{Handler: everything{&quick{miss, answer}}}, config)
	case "goroutines":
		addr = listen(t, &Server{Handler: miss}, config)
	case "net/http":
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			for _, b := range []*exchange.Answer{&answer} {
				for name, value := range b.Header.All() {
					h[name] = []string{value}
				}
				for name, value := range b.Extra.All() {
					h[name] = []string{value}
				}
			}
			_, _ = w.Write(answer.Bytes)
		})}
		go func() { _ = s.Serve(tls.NewListener(ln, config)) }()
		defer s.Close()
		addr = ln.Addr().String()
	}
	fmt.Println("address", addr)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// TestCostOfAHit prints the CPU time that a hit costs over TLS, 32 connections with 10
// streams each, beside net/http's: five alternating runs, medians. It needs
// FRESHET_TEST_LONG, two CPUs, taskset and h2load (Debian: nghttp2-client).
func TestCostOfAHit(t *testing.T) {
	if os.Getenv("FRESHET_TEST_LONG") == "" {
		t.Skip("FRESHET_TEST_LONG is not set")
	}
	for _, tool := range []string{"taskset", "h2load"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	kinds := []string{"at once", "not corked", "goroutines", "net/http"}
	for _, of := range []struct{ size, requests int }{{1 << 10, 200_000}, {64 << 10, 10_000}, {10 << 20, 320}} {
		costs := make(map[string][]float64)
		for range 5 {
			for _, kind := range kinds {
				costs[kind] = append(costs[kind], measure(t, kind, of.size, of.requests))
			}
		}
		for _, kind := range kinds {
			slices.Sort(costs[kind])
		}
		for _, kind := range kinds {
			c := costs[kind]
			t.Logf("%8d bytes, %-10s  %9.2f us of CPU a request (%.2f to %.2f), %.3f of net/http",
				of.size, kind, c[2], c[0], c[4], c[2]/costs["net/http"][2])
		}
	}
}

// measure is the CPU time of a request in microseconds.
func measure(t *testing.T, kind string, size, requests int) float64 {
	cmd := exec.Command("taskset", "-c", "0", os.Args[0], "-test.run=^TestServerToMeasure$", "-test.v")
	cmd.Env = append(os.Environ(), "FRESHET_H2_MEASURE="+kind, "FRESHET_H2_SIZE="+strconv.Itoa(size), "GOMAXPROCS=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	var addr string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), "address "); found {
			addr = rest
			break
		}
	}
	load := func(n int) {
		c := exec.Command("taskset", "-c", "1", "h2load", "-n", strconv.Itoa(n), "-c", "32", "-m", "10", "https://"+addr+"/hit")
		report, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(report), fmt.Sprintf("%d succeeded, 0 failed", n)) {
			t.Fatalf("h2load: %v\n%s", err, report)
		}
	}
	load(requests / 10)
	before := cpuTime(t, cmd.Process.Pid)
	load(requests)
	return float64(cpuTime(t, cmd.Process.Pid)-before) / float64(time.Microsecond) / float64(requests)
}

// cpuTime is what a process has used, user and system.
func cpuTime(t *testing.T, pid int) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|2, &ts); err != nil { // clock_getcpuclockid(3)
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
