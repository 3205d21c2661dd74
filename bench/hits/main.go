//go:build linux

package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const mib = 1 << 20

func main() {
	freshet := flag.String("freshet", "bin/freshet", "the `BINARY` to measure")
	dir := flag.String("dir", "", "`DIR` for files and the cache, on a real disk; empty: a temporary one")
	sizes := flag.String("sizes", "1,4,16,64", "sizes of the bodies in `MIB`")
	rounds := flag.Int("rounds", 7, "`N` rounds")
	length := flag.Duration("t", time.Second, "`TIME` that each server is measured in a round")
	conns := flag.Int("c", 2, "`N` connections")
	plain := flag.String("plain", "", "serve the files of `DIR`, and nothing else")
	flag.Parse()
	var err error
	if *plain != "" {
		err = servePlain(*plain)
	} else {
		err = measure(*freshet, *dir, *sizes, *rounds, *length, *conns)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hits:", err)
		os.Exit(1)
	}
}

// server is one that is measured.
type server struct {
	name string
	cmd  *exec.Cmd
	addr string
}

// start runs a command, on one CPU where there are two.
func start(name, addr string, command ...string) (*server, error) {
	if runtime.NumCPU() > 1 {
		command = append([]string{"taskset", "-c", "0"}, command...)
	}
	s := &server{name: name, addr: addr, cmd: exec.Command(command[0], command[1:]...)}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	for range 500 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return s, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.stop()
	return nil, fmt.Errorf("%s does not listen on %s", name, addr)
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// cpu is the time that the server's threads have run.
func (s *server) cpu() (sum time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		ran, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(ran, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// freeAddr is an address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func measure(freshet, dir, sizes string, rounds int, length time.Duration, conns int) error {
	dir, err := os.MkdirTemp(dir, "hits")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files := filepath.Join(dir, "files")
	names, err := writeFiles(files, sizes)
	if err != nil {
		return err
	}
	origin := &http.Server{Handler: originOf(files)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = origin.Serve(ln) }()
	defer origin.Close()

	servers, err := startBoth(freshet, dir, files, "http://"+ln.Addr().String())
	if err != nil {
		return err
	}
	for _, s := range servers {
		defer s.stop()
	}
	for _, name := range names {
		if err := compare(servers, files, name); err != nil {
			return err
		}
	}
	fmt.Printf("%-8s %-10s %12s %14s %10s\n", "size", "server", "MiB/s", "CPU us/MiB", "requests")
	for _, name := range names {
		if err := contest(servers, name, rounds, length, conns); err != nil {
			return err
		}
	}
	return nil
}

func writeFiles(dir, sizes string) (names []string, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	random := rand.NewChaCha8([32]byte{1})
	for _, text := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("size %q", text)
		}
		content := make([]byte, n*mib)
		_, _ = random.Read(content)
		name := text + "MiB"
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// originOf serves the files as an origin that wants them cached.
func originOf(dir string) http.Handler {
	files := http.FileServer(http.Dir(dir))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=86400")
		w.Header().Set("ETag", strconv.Quote(r.URL.Path))
		files.ServeHTTP(w, r)
	})
}

func startBoth(freshet, dir, files, origin string) ([]*server, error) {
	var addrs [3]string
	for i := range addrs {
		var err error
		if addrs[i], err = freeAddr(); err != nil {
			return nil, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	plain, err := start("sendfile", addrs[0], self, "-plain", files+"@"+addrs[0])
	if err != nil {
		return nil, err
	}
	edge, err := start("freshet", addrs[1], freshet, "edge", "--upstream", origin, "--listen", addrs[1], "--admin", addrs[2],
		"--memory", "64MiB", "--disk", filepath.Join(dir, "cache"), "--disk-size", "2GiB", "--log-level", "warn")
	if err != nil {
		plain.stop()
		return nil, err
	}
	return []*server{plain, edge}, nil
}

// compare fetches a file of every server until the edge has a hit, and compares.
func compare(servers []*server, files, name string) error {
	want, err := os.ReadFile(filepath.Join(files, name))
	if err != nil {
		return err
	}
	for _, s := range servers {
		for try := range 3 {
			res, err := http.Get("http://" + s.addr + "/" + name)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || !bytes.Equal(got, want) {
				return fmt.Errorf("%s of %s: %d bytes, %s, %v", name, s.name, len(got), res.Status, err)
			}
			if try == 2 && s.name == "freshet" && !strings.Contains(res.Header.Get("Cache-Status"), "hit") {
				return fmt.Errorf("%s is no hit: %v", name, res.Header)
			}
		}
	}
	return nil
}

// contest has the servers take turns.
func contest(servers []*server, name string, rounds int, length time.Duration, conns int) error {
	speed, cost := make(map[*server][]float64), make(map[*server][]float64)
	requests := make(map[*server]int)
	for i := range rounds + 1 {
		for _, s := range servers {
			before := s.cpu()
			r, err := load(s.addr, name, length, conns)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", name, s.name, err)
			}
			if i == 0 {
				continue // to get warm
			}
			m := float64(r.bytes) / mib
			speed[s] = append(speed[s], m/r.took.Seconds())
			cost[s] = append(cost[s], float64((s.cpu()-before).Microseconds())/m)
			requests[s] += r.requests
		}
	}
	for _, s := range servers {
		fmt.Printf("%-8s %-10s %12.0f %14.1f %10d\n", name, s.name, median(speed[s]), median(cost[s]), requests[s])
	}
	a, b := servers[0], servers[1]
	fmt.Printf("%-8s %-10s %12.3f %14.3f\n", name, "ratio", ratio(speed[b], speed[a]), ratio(cost[b], cost[a]))
	return nil
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// ratio is the median of the ratios of the rounds: what disturbs a round disturbs both.
func ratio(a, b []float64) float64 {
	var of []float64
	for i := range a {
		of = append(of, a[i]/b[i])
	}
	return median(of)
}
