package jetstream_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/internal/bus/jetstream"
	"freshet/internal/command"
)

// appenderDir names, in a child's environment, the directory of its log.
const appenderDir = "FRESHET_TEST_APPENDER_DIR"

// appender is the child: it embeds a server, appends numbers for ever and prints each
// sequence once it is acknowledged.
func appender(dir string) {
	fail := func(err error) {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	server, err := jetstream.Start(jetstream.ServerConfig{Listen: "127.0.0.1:0", Dir: dir, User: user, Password: password}, log)
	if err != nil {
		fail(err)
	}
	b, err := server.Connect(ctx, jetstream.Config{}, log)
	if err != nil {
		fail(err)
	}
	head, err := b.Head(ctx)
	if err != nil {
		if head, err = b.Create(ctx, command.FirstOf(1)); err != nil {
			fail(err)
		}
	}
	fmt.Println("log", uint64(head.Log))
	for last := head.Last; ; {
		data := binary.BigEndian.AppendUint64(nil, uint64(last)+1)
		if last, err = b.Append(ctx, data, last); err != nil {
			fail(err)
		}
		fmt.Println("ack", uint64(last))
	}
}

// TestAppendedSurvivesKill kills a process that embeds the server in the middle of
// its appends, again and again on one directory: every record that was acknowledged is
// there, in its place, and the log keeps its id.
func TestAppendedSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	var log command.LogID
	var acked command.Seq
	for round, acks := range []int{0, 1, 5, 17, 40, 80, 120} { // 0: right after Create
		id, last := killAppender(t, dir, acks)
		if log != 0 && id != log {
			t.Fatalf("round %d: the log is %s, it was %s", round, id, log)
		}
		if last < acked {
			t.Fatalf("round %d: acknowledged up to %s, before up to %s", round, last, acked)
		}
		log, acked = id, last
		verify(t, dir, log, acked)
	}
}

// killAppender runs the child, and kills it once it has printed so many
// acknowledgements. It returns the log and the last acknowledged sequence.
func killAppender(t *testing.T, dir string, acks int) (command.LogID, command.Seq) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), appenderDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { child.Process.Kill() })
	defer watchdog.Stop()
	var log command.LogID
	var last command.Seq
	seen := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, number, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseUint(number, 10, 64)
		switch {
		case err != nil:
			t.Errorf("child: %s", lines.Text())
		case word == "log":
			log = command.LogID(n)
		case word == "ack":
			last = command.Seq(n)
			seen++
		}
		if seen == acks {
			child.Process.Kill() // SIGKILL; what it has printed until then is read on
		}
	}
	child.Wait() // "signal: killed", as it should be
	if seen < acks {
		t.Fatalf("the child ended after %d acknowledgements", seen)
	}
	return log, last
}

// verify reads what is on the disk with a server of its own.
func verify(t *testing.T, dir string, log command.LogID, acked command.Seq) {
	t.Helper()
	server, err := jetstream.Start(jetstream.ServerConfig{Listen: "127.0.0.1:0", Dir: dir, User: user, Password: password}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	b, err := server.Connect(t.Context(), jetstream.Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	head, err := b.Head(t.Context())
	if err != nil || head.Log != log || head.First != command.FirstOf(1) || head.Last < acked {
		t.Fatalf("head %+v, %v; want log %s from %s to %s at least", head, err, log, command.FirstOf(1), acked)
	}
	r, err := b.Read(t.Context(), log, head.First)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for want := head.First; want <= head.Last; want++ {
		e, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != want || len(e.Data) != 8 || binary.BigEndian.Uint64(e.Data) != uint64(want) {
			t.Fatalf("record %s holds %x at %s", want, e.Data, e.Seq)
		}
	}
}
