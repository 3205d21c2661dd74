package run_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"freshet/internal/run"
)

// signalledEnv makes the test binary a process that waits for signals.
const signalledEnv = "FRESHET_TEST_SIGNALS"

// signalled says when it is ready and what ended its context; after the first
// signal it drains for ever.
func signalled() {
	ctx, stop := run.Signals(context.Background())
	defer stop()
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	select {}
}

func TestSignals(t *testing.T) {
	tests := []struct {
		name  string
		first syscall.Signal
		then  syscall.Signal
		cause string
	}{
		{"SIGTERM twice", syscall.SIGTERM, syscall.SIGTERM, "received SIGTERM"},
		{"SIGINT, then SIGTERM", syscall.SIGINT, syscall.SIGTERM, "received SIGINT"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), signalledEnv+"=1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			expect := func(want string) {
				t.Helper()
				if !lines.Scan() || lines.Text() != want {
					t.Errorf("process says %q, want %q", lines.Text(), want)
				}
			}
			expect("ready")
			cmd.Process.Signal(test.first)
			expect(test.cause)
			cmd.Process.Signal(test.then)
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("second signal: %v, want exit code 1", err)
			}
		})
	}
}

func TestSignalsStop(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	ctx, stop := run.Signals(parent)
	if ctx.Err() != nil {
		t.Error("context has ended before any signal")
	}
	cancel()
	<-ctx.Done()
	stop()
	stop()

	ctx, stop = run.Signals(t.Context())
	stop()
	<-ctx.Done()
}
