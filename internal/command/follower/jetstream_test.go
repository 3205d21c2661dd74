package follower_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/bus"
	"freshet/internal/bus/jetstream"
	"freshet/internal/command"
	"freshet/internal/command/follower"
)

// TestOverJetStream follows a log over a real connection while its server restarts
// and then loses its disk.
func TestOverJetStream(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	cfg := jetstream.ServerConfig{Listen: "127.0.0.1:0", Dir: t.TempDir(), User: "freshet", Password: "a-password-for-tests"}
	start := func() *jetstream.Server {
		s, err := jetstream.Start(cfg, log)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	server := start()
	cfg.Listen = server.Addr()
	defer func() { server.Shutdown() }()

	b, err := jetstream.Connect(t.Context(), jetstream.Config{Address: server.URL(), User: cfg.User, Password: cfg.Password}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	rec := newRecorder(t, command.Clock{})
	f, err := follower.New(follower.Config{
		Node: "e1", Role: "edge", Bus: b, Applier: rec, Log: log, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	head := createLog(t, b, 1)
	waitFor(t, f, head.Clock())
	for range 20 {
		head.Last = appendPurge(t, b, head.Last)
	}
	waitFor(t, f, head.Clock())

	server.Shutdown()
	server = start()
	head.Last = appendPurge(t, b, head.Last)
	waitFor(t, f, head.Clock())
	if alarm := f.Alarm(); alarm != "" {
		t.Errorf("alarm after a restart of the server: %s", alarm)
	}

	server.Shutdown()
	cfg.Dir = t.TempDir()
	server = start()
	head = createLog(t, b, 2)
	head.Last = appendPurge(t, b, head.Last)
	waitFor(t, f, head.Clock())
	if f.Alarm() == "" {
		t.Error("no alarm after the loss of the log")
	}
	if err := f.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
}

func createLog(t *testing.T, b bus.Bus, epoch uint32) (head bus.Head) {
	t.Helper()
	until(t, "a log is made", func() (err error) {
		head, err = b.Create(t.Context(), command.FirstOf(epoch))
		return err
	})
	return head
}

// appendPurge adds a purge after last. It tries again while the bus is away, and takes
// an append whose acknowledgement was lost for what it is.
func appendPurge(t *testing.T, b bus.Bus, last command.Seq) (seq command.Seq) {
	t.Helper()
	data, err := command.Encode(command.Command{
		ID: command.NewID(), Kind: command.Purge, At: time.Now(), Scopes: []command.Scope{{Kind: command.ScopeAll}},
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "a command is appended", func() (err error) {
		seq, err = b.Append(t.Context(), data, last)
		if errors.Is(err, bus.ErrConflict) {
			seq, err = last+1, nil
		}
		return err
	})
	return seq
}

func waitFor(t *testing.T, f *follower.Follower, want command.Clock) {
	t.Helper()
	until(t, "the follower is at "+want.String(), func() error {
		if got := f.Clock(); got != want {
			return errors.New("it is at " + got.String())
		}
		return nil
	})
}

func until(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// TestForkOverJetStream puts a server back to an older copy of its disk, as a restored
// backup would: the log, which goes on with other commands, is followed no further by who
// has applied what it has lost, until it has been sealed and another was made.
func TestForkOverJetStream(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	cfg := jetstream.ServerConfig{Listen: "127.0.0.1:0", Dir: t.TempDir(), User: "freshet", Password: "a-password-for-tests"}
	server, err := jetstream.Start(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Shutdown() }()
	cfg.Listen = server.Addr()
	again := func(dir string) {
		server.Shutdown()
		cfg.Dir = dir
		if server, err = jetstream.Start(cfg, log); err != nil {
			t.Fatal(err)
		}
	}
	b, err := jetstream.Connect(t.Context(), jetstream.Config{Address: server.URL(), User: cfg.User, Password: cfg.Password}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	follow := func(name string) *follower.Follower {
		f, err := follower.New(follower.Config{
			Node: name, Role: "edge", Bus: b, Applier: newRecorder(t, command.Clock{}), Log: log, Metrics: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return f
	}

	head := createLog(t, b, 1)
	for range 3 {
		head.Last = appendPurge(t, b, head.Last)
	}
	copied := t.TempDir()
	again(cfg.Dir) // so that what is copied is whole
	server.Shutdown()
	if err := os.CopyFS(copied, os.DirFS(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	again(cfg.Dir)
	kept := head.Last
	f := follow("e1")
	waitFor(t, f, head.Clock())
	head.Last = appendPurge(t, b, head.Last)
	waitFor(t, f, head.Clock())

	again(copied)
	fork := kept
	for range 4 {
		fork = appendPurge(t, b, fork)
	}
	until(t, "the fork is noticed", func() error {
		if err := f.Connected(); err == nil || !strings.Contains(err.Error(), "contradicts") {
			return fmt.Errorf("connected: %v", err)
		}
		return nil
	})
	other := follow("e2") // who has applied nothing that was lost knows no better
	waitFor(t, other, command.Clock{Log: head.Log, Seq: fork})
	waitFor(t, f, head.Clock())

	if err := b.Seal(t.Context(), head.Log); err != nil {
		t.Fatal(err)
	}
	made := createLog(t, b, 2)
	made.Last = appendPurge(t, b, made.Last)
	waitFor(t, f, made.Clock())
	waitFor(t, other, made.Clock())
	if err := f.Connected(); err != nil {
		t.Errorf("connected: %v", err)
	}
}
