package h1_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/edge/listener/h1"
)

// serverVariable has this binary be a server for a benchmark in another process, so that
// its CPU is its own: the kind of server, and the size of its one answer.
const serverVariable = "FRESHET_H1_SERVER"

// beServer is called by TestMain. It says on its output where it listens.
func beServer(kind string) {
	name, text, _ := strings.Cut(kind, " ")
	size, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	h := prepared(new(testing.B), size)
	wrap := func(h http.Handler) http.Handler { return h }
	if rest, ok := strings.CutSuffix(name, "+memory"); ok {
		name, h, wrap = rest, measured(h), measuredHTTP
	}
	s := &h1.Server{Handler: h}
	answer := []byte("HTTP/1.1 200 OK\r\n" + fixedHead + "Content-Length: " + text + "\r\n\r\n" + strings.Repeat("x", size))
	switch name {
	case "nethttp":
		fields := make(http.Header)
		for line := range strings.Lines(fixedHead) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			fields[name] = []string{value}
		}
		fields["Content-Length"] = []string{text}
		body := bytes.Repeat([]byte("x"), size)
		panic(http.Serve(l, wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			out := w.Header()
			for name, value := range fields {
				out[name] = value
			}
			_, _ = w.Write(body)
		}))))
	default:
		for {
			c, err := l.Accept()
			if err != nil {
				panic(err)
			}
			if name == "bare" {
				go bare(c, answer)
			} else {
				go s.Serve(c, h1.ConnInfo{Scheme: "http", Remote: c.RemoteAddr().(*net.TCPAddr).AddrPort()})
			}
		}
	}
}

// fixedHead is what prepared says, for the other servers.
const fixedHead = "Content-Type: text/html; charset=utf-8\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nEtag: \"0123456789abcdef\"\r\n" +
	"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: public, max-age=3600\r\nVary: Accept-Encoding\r\nVia: 1.1 freshet\r\n" +
	"Age: 17\r\nCache-Status: freshet-e1; hit; ttl=3583\r\n"

// bare is the least that a Go server can do: find the end of the head, and write.
func bare(c net.Conn, answer []byte) {
	buf := make([]byte, 4096)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; bytes.Contains(buf[:n], []byte("\r\n\r\n")) {
			n = 0
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

// BenchmarkServers measures CPU and requests over the loopback with wrk, client and
// servers pinned apart where there are CPUs for that. Compare the metrics within one run:
//
//	go test -run '^$' -bench Servers -benchtime 1x -count 5 ./edge/listener/h1
func BenchmarkServers(b *testing.B) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		b.Skip("no wrk")
	}
	seconds := 2
	for _, size := range []int{1 << 10, 64 << 10} {
		for _, conns := range []int{16, 256} {
			for _, kind := range []string{"bare", "h1", "nethttp"} {
				b.Run(fmt.Sprintf("%dK/%d/%s", size>>10, conns, kind), func(b *testing.B) {
					addr, server := start(b, fmt.Sprintf("%s %d", kind, size))
					run := func(seconds int) float64 {
						out, err := pinned("1", wrk, "-t1", "-c"+strconv.Itoa(conns), "-d"+strconv.Itoa(seconds), "http://"+addr+"/static/logo.png").CombinedOutput()
						m := regexp.MustCompile(`(\d+) requests in`).FindSubmatch(out)
						if err != nil || m == nil {
							b.Fatalf("%s, %v", out, err)
						}
						n, _ := strconv.ParseFloat(string(m[1]), 64)
						return n
					}
					run(1)
					for b.Loop() {
						before, began := cpu(b, server), time.Now()
						n := run(seconds)
						b.ReportMetric(float64((cpu(b, server)-before).Nanoseconds())/1000/n, "cpu-us/req")
						b.ReportMetric(n/time.Since(began).Seconds(), "req/s")
					}
				})
			}
		}
	}
}

// pinned is a command on one CPU.
func pinned(cpu, name string, args ...string) *exec.Cmd {
	if taskset, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		return exec.Command(taskset, append([]string{"-c", cpu, name}, args...)...)
	}
	return exec.Command(name, args...)
}

// start runs this binary as a server until the benchmark ends.
func start(b testing.TB, kind string) (addr string, pid int) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := pinned("0", self)
	cmd.Env = append(os.Environ(), serverVariable+"="+kind)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		b.Fatal(err)
	}
	return addr, cmd.Process.Pid
}

// cpu is what the threads of a process have used.
func cpu(b testing.TB, pid int) time.Duration {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		if err != nil {
			continue // it has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
