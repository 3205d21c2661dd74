package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mainEnv makes the test binary be freshet itself: so tests run real processes.
const mainEnv = "FRESHET_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		os.Exit(execute(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// process is a freshet of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    lockedBuffer // standard output and error
	exited chan struct{}
}

// lockedBuffer is a bytes.Buffer that a process may write while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs freshet with args and env ("NAME=value") until it ends by itself or
// the test does.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return startBy(t, nil, env, args...)
}

// startBy is start by means of another command, which becomes freshet in the end.
func startBy(t *testing.T, by, env []string, args ...string) *process {
	t.Helper()
	return startCommand(t, env, append(append(slices.Clone(by), os.Args[0]), args...))
}

// startCommand runs a command line that is, or becomes, a freshet.
func startCommand(t *testing.T, env, command []string) *process {
	t.Helper()
	p := &process{t: t, exited: make(chan struct{})}
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Env = append(append(os.Environ(), mainEnv+"=1"), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the exit code is read from the state
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s wrote:\n%s", strings.Join(command[1:], " "), p.out.String())
		}
	})
	return p
}

// wait returns the exit code; the process has to end by itself within limit.
func (p *process) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%v still runs after %s", p.cmd.Args[1:], limit)
		return -1
	}
}

// terminate sends SIGTERM and returns the exit code.
func (p *process) terminate() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
	return p.wait(30 * time.Second)
}

// run runs freshet to its end and returns exit code and output.
func runFreshet(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	p := start(t, env, args...)
	return p.wait(60 * time.Second), p.out.String()
}

// within waits until try returns nil, for as long as limit.
func within(t *testing.T, limit time.Duration, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", limit, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
