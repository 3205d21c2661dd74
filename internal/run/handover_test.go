package run_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet/internal/run"
)

// handingOverEnv makes the test binary a server that a successor can take over from. Its
// value is the address to listen on; successors that find "broken" in it fail.
const handingOverEnv = "FRESHET_TEST_HAND_OVER"

// handingOver serves its generation. It says when it serves, and when it has ended.
func handingOver() {
	addr, broken := strings.CutSuffix(os.Getenv(handingOverEnv), " broken")
	sockets, err := run.Inherit()
	check(err)
	if broken && sockets.Generation() > 0 {
		os.Exit(3)
	}
	check(sockets.TakeOver(context.Background()))
	listeners, err := sockets.Listen("tcp", addr, 2)
	check(err)
	packets, err := sockets.ListenPacket("udp", listeners[0].Addr().String())
	check(err)
	defer packets.Close()
	sockets.Settled()
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	hangUps, stop := run.HangUps()
	defer stop()
	generation := fmt.Sprint(sockets.Generation())
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, generation) })
	var tasks []run.Task
	for _, ln := range listeners {
		tasks = append(tasks, run.HTTP("http", &http.Server{Handler: answer}, ln, 5*time.Second))
	}
	handed := make(chan *run.Successor, 1)
	go func() {
		for range hangUps {
			s, err := sockets.HandOver(ctx)
			if err != nil {
				fmt.Println("still", generation)
				continue
			}
			handed <- s
			sockets.Close()
			end(run.ErrHandedOver)
			return
		}
	}()
	fmt.Println("serving", listeners[0].Addr(), generation)
	check(run.Tasks(ctx, slog.New(slog.DiscardHandler), tasks...))
	fmt.Println("ended", generation)
	s := <-handed
	s.Release()
	check(s.AwaitSettled(context.Background()))
}

func check(err error) {
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

// startHandingOver starts such a process; its lines and those of its successors come from
// the channel.
func startHandingOver(t *testing.T, value string) (lines <-chan string, hangUp func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), handingOverEnv+"="+value)
	// One group, to end them all: a successor is nobody's child once its predecessor has gone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	var reading sync.WaitGroup
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		reading.Wait()
		out.Close()
	})
	c := make(chan string, 100)
	reading.Go(func() {
		defer close(c)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			c <- scanner.Text()
		}
	})
	return c, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP) }
}

func expectLine(t *testing.T, lines <-chan string, prefix string) string {
	t.Helper()
	select {
	case line := <-lines:
		if !strings.HasPrefix(line, prefix) {
			t.Fatalf("process says %q, want %q", line, prefix)
		}
		return line
	case <-time.After(20 * time.Second):
		t.Fatalf("process says nothing, want %q", prefix)
	}
	return ""
}

// TestHandOverRefusesNobody: clients that connect anew for every request are all
// answered while the server is replaced twice.
func TestHandOverRefusesNobody(t *testing.T) {
	lines, hangUp := startHandingOver(t, "127.0.0.1:0")
	addr := strings.Fields(expectLine(t, lines, "serving"))[1]

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range 4 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for ctx.Err() == nil {
				resp, err := client.Get("http://" + addr)
				if err != nil {
					t.Errorf("refused: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil {
					t.Errorf("broken off: %v", err)
					return
				}
				mu.Lock()
				seen[string(body)]++
				mu.Unlock()
			}
		})
	}
	defer clients.Wait()
	defer cancel()
	for generation := 1; generation <= 2; generation++ {
		hangUp()
		expectLine(t, lines, fmt.Sprint("ended ", generation-1))
		expectLine(t, lines, fmt.Sprint("serving ", addr, " ", generation))
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			n := seen[fmt.Sprint(generation)]
			mu.Unlock()
			if n > 50 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d answers of generation %d", n, generation)
			}
		}
	}
	if _, err := run.ListenPacket("udp", addr); err == nil {
		t.Error("the UDP port is free for others")
	}
}

// TestASuccessorThatFailsChangesNothing: the process goes on, and its listeners accept.
func TestASuccessorThatFailsChangesNothing(t *testing.T) {
	lines, hangUp := startHandingOver(t, "127.0.0.1:0 broken")
	addr := strings.Fields(expectLine(t, lines, "serving"))[1]
	for range 2 {
		hangUp()
		expectLine(t, lines, "still 0")
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, body, err := get(conn, "/"); err != nil || body != "0" {
			t.Errorf("%q, %v", body, err)
		}
		conn.Close()
	}
}

// TestAPortOfAnotherProcessIsRefused although the sockets of one process share theirs.
func TestAPortOfAnotherProcessIsRefused(t *testing.T) {
	var a, b run.Sockets
	defer a.Close()
	defer b.Close()
	listeners, err := a.Listen("tcp", "127.0.0.1:0", 3)
	if err != nil || len(listeners) != 3 {
		t.Fatal(listeners, err)
	}
	packets, err := a.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Listen("tcp", listeners[0].Addr().String(), 3); !errors.Is(err, run.ErrAddressInUse) {
		t.Errorf("tcp: %v", err)
	}
	if _, err := b.ListenPacket("udp", packets.LocalAddr().String()); !errors.Is(err, run.ErrAddressInUse) {
		t.Errorf("udp: %v", err)
	}
	packets.Close()
	for _, ln := range listeners {
		ln.Close()
	}
	a.Close() // what a successor would have got is closed as well
	refused(t, listeners[0].Addr().String())
}
