package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	agentNode  = "freshet-test"
	startTime  = 30 * time.Second // an agent has to elect itself by then
	stopTime   = 10 * time.Second // to leave after SIGTERM
	startTries = 5                // a free port may be taken before the agent has it
)

// StartConsul runs a Consul agent until the test ends and returns the address of its
// HTTP API. The test fails where there is no Consul.
func StartConsul(t testing.TB) (address string) {
	t.Helper()
	return NewAgent(t).Address()
}

// Agent is a Consul agent in a process of its own: one server, on free ports of
// 127.0.0.1, with a data directory of its own. It stays where it is over Stop and
// Start.
type Agent struct {
	t      testing.TB
	binary string
	dir    string
	http   int
	rpc    int
	serf   int
	client *api.Client

	cmd  *exec.Cmd // nil while it does not run
	gone chan error
}

// NewAgent starts an agent, which has a leader when it returns. It ends with the
// test.
func NewAgent(t testing.TB) *Agent {
	t.Helper()
	a := &Agent{t: t, binary: findConsul(t), dir: t.TempDir()}
	t.Cleanup(func() {
		a.Kill()
		if t.Failed() {
			t.Logf("the consul agent wrote at its end:\n%s", a.logTail())
		}
	})
	var err error
	for range startTries {
		if err = a.ports(); err != nil {
			break
		}
		if err = a.start(); err == nil {
			return a
		}
		a.Kill()
		a.Wipe()
	}
	t.Fatalf("start consul agent: %v\n%s", err, a.logTail())
	return nil
}

// Address is host:port of the HTTP API.
func (a *Agent) Address() string { return "127.0.0.1:" + strconv.Itoa(a.http) }

// Client speaks to the agent past the code under test.
func (a *Agent) Client() *api.Client { return a.client }

// Stop ends the agent in order; Kill does so without a word. What it had stored
// stays.
func (a *Agent) Stop() { a.end(syscall.SIGTERM) }

// Kill ends the agent as kill -9 does; of one that does not run there is nothing to
// end.
func (a *Agent) Kill() { a.end(syscall.SIGKILL) }

// Start starts the agent anew after Stop or Kill, and waits until it has a leader.
func (a *Agent) Start() {
	a.t.Helper()
	if err := a.start(); err != nil {
		a.t.Fatalf("start consul agent again: %v\n%s", err, a.logTail())
	}
}

// Wipe removes what a stopped agent has stored.
func (a *Agent) Wipe() {
	a.t.Helper()
	if err := os.RemoveAll(filepath.Join(a.dir, "data")); err != nil {
		a.t.Fatal(err)
	}
}

// Pause freezes the agent: its ports stay open, nothing answers. Resume goes on.
func (a *Agent) Pause() { a.signal(syscall.SIGSTOP) }

// Resume goes on after Pause.
func (a *Agent) Resume() { a.signal(syscall.SIGCONT) }

func (a *Agent) signal(s os.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Fatalf("signal consul agent: %v", err)
	}
}

func (a *Agent) end(s os.Signal) {
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Signal(s) // it may be gone already
	select {
	case <-a.gone:
	case <-time.After(stopTime):
		_ = a.cmd.Process.Kill()
		<-a.gone
	}
	a.cmd = nil
	a.client = nil
}

// ports picks free ports. Another process can take one before the agent does; then
// the agent does not start.
func (a *Agent) ports() error {
	for _, port := range []*int{&a.http, &a.rpc, &a.serf} {
		tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer tcp.Close() // all of them at the end, so that they differ
		*port = tcp.Addr().(*net.TCPAddr).Port
	}
	return nil
}

func (a *Agent) start() error {
	data := filepath.Join(a.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(a.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"agent", "-server", "-bootstrap-expect=1", "-node=" + agentNode, "-disable-host-node-id", "-data-dir=" + data,
		"-bind=127.0.0.1", "-client=127.0.0.1", "-http-port=" + strconv.Itoa(a.http),
		"-server-port=" + strconv.Itoa(a.rpc), "-serf-lan-port=" + strconv.Itoa(a.serf),
		"-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1", "-log-level=warn",
		"-hcl=performance { raft_multiplier = 1 } disable_update_check = true leave_on_terminate = false",
	}
	if newerThan114(a.binary) {
		args = append(args, "-grpc-tls-port=-1")
	}
	cmd := exec.Command(a.binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics cleans nothing up
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan error, 1)
	go func() {
		gone <- cmd.Wait()
		close(gone)
	}()
	a.cmd, a.gone = cmd, gone
	// Without kept connections no goroutine of it outlives a call.
	quick := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a.client, err = api.NewClient(&api.Config{Address: a.Address(), HttpClient: quick})
	if err != nil {
		return err
	}
	return a.awaitLeader()
}

// awaitLeader waits until the agent is a member of its own cluster, whose leader has
// found it alive.
func (a *Agent) awaitLeader() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	q := (&api.QueryOptions{}).WithContext(ctx)
	for {
		checks, _, err := a.client.Health().Node(agentNode, q)
		if err == nil && slices.ContainsFunc(checks, alive) {
			return nil
		}
		select {
		case ended := <-a.gone:
			return fmt.Errorf("it ended: %w", errors.Join(ended, err))
		case <-ctx.Done():
			return fmt.Errorf("no leader after %v: %w", startTime, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// alive tells whether a check is the servers' own of the agent, and passes.
func alive(check *api.HealthCheck) bool {
	return check.CheckID == "serfHealth" && check.Status == api.HealthPassing
}

func (a *Agent) logFile() string { return filepath.Join(a.dir, "log") }

// logTail is the end of what the agent has logged.
func (a *Agent) logTail() string {
	text, err := os.ReadFile(a.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// findConsul is the path of a Consul binary.
func findConsul(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("FRESHET_CONSUL"); path != "" {
		return path
	}
	if root, err := moduleRoot(); err == nil {
		path := filepath.Join(root, ".tools", "consul")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if path, err := exec.LookPath("consul"); err == nil {
		return path
	}
	t.Fatal("there is no Consul here, and this test needs a real one: run make tools (or set FRESHET_CONSUL to the path of a consul binary)")
	return ""
}

// moduleRoot is the nearest folder above the working directory with a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}

// newerThan114 tells whether a binary opens a port for gRPC over TLS unless it is
// told not to, as Consul does since 1.14.
func newerThan114(binary string) bool {
	out, err := exec.Command(binary, "version").Output()
	if err != nil {
		return false
	}
	version := regexp.MustCompile(`^Consul v(\d+)\.(\d+)`).FindStringSubmatch(strings.TrimSpace(string(out)))
	if version == nil {
		return false
	}
	major, _ := strconv.Atoi(version[1])
	minor, _ := strconv.Atoi(version[2])
	return major > 1 || major == 1 && minor >= 14
}
