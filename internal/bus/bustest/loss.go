package bustest

import (
	"context"
	"errors"
	"testing"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// waitingNext runs Next aside, and returns its error.
func waitingNext(t *testing.T, r bus.Reader) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := r.Next(within(t))
		ended <- err
	}()
	return ended
}

func testLost(t *testing.T, f Form) {
	head := create(t, f.Bus, 1)
	appendTo(t, f.Bus, "a")
	r := read(t, f.Peer, head.Log, 2)
	ended := waitingNext(t, r)
	f.Lose()
	if err := <-ended; !errors.Is(err, bus.ErrReplaced) {
		t.Errorf("waiting Next of a lost log: %v, want %v", err, bus.ErrReplaced)
	}
	eventually(t, "the bus is there without a log", func() bool {
		_, err := f.Bus.Head(within(t))
		return errors.Is(err, bus.ErrNoLog)
	})
}

func testReplaced(t *testing.T, f Form) {
	old := create(t, f.Bus, 1)
	for range 3 {
		appendTo(t, f.Bus, "old")
	}
	r := read(t, f.Peer, old.Log, 4)
	ended := waitingNext(t, r)
	f.Lose()
	eventually(t, "a new log can be made", func() bool {
		_, err := f.Bus.Create(within(t), 1)
		return err == nil || errors.Is(err, bus.ErrExists)
	})
	for range 5 { // the new log goes past where the old one ended
		appendTo(t, f.Bus, "new")
	}
	if err := <-ended; !errors.Is(err, bus.ErrReplaced) {
		t.Errorf("waiting Next of a replaced log: %v, want %v", err, bus.ErrReplaced)
	}
	head, err := f.Peer.Head(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if head.Log == old.Log {
		t.Errorf("the new log has the id of the old one, %s", head.Log)
	}
	if _, err := f.Peer.Read(within(t), old.Log, 4); !errors.Is(err, bus.ErrReplaced) {
		t.Errorf("Read of a replaced log: %v, want %v", err, bus.ErrReplaced)
	}
	wantNext(t, read(t, f.Peer, head.Log, 1), 1, "new")
}

// testSealed: nothing is added to a sealed log, another takes its place, and those who read
// it find out.
func testSealed(t *testing.T, f Form) {
	old := create(t, f.Bus, 1)
	for range 3 {
		appendTo(t, f.Peer, "old")
	}
	r := read(t, f.Peer, old.Log, 4)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	ended := make(chan error, 1)
	go func() { _, err := r.Next(ctx); ended <- err }()
	if err := f.Bus.Seal(within(t), old.Log+1); !errors.Is(err, bus.ErrNoLog) {
		t.Errorf("seal of another log: %v, want %v", err, bus.ErrNoLog)
	}
	if err := f.Bus.Seal(within(t), old.Log); err != nil {
		t.Fatal(err)
	}
	for _, b := range []bus.Bus{f.Bus, f.Peer} {
		if _, err := b.Head(within(t)); !errors.Is(err, bus.ErrNoLog) {
			t.Errorf("head: %v, want %v", err, bus.ErrNoLog)
		}
		if _, err := b.Append(within(t), []byte("late"), 3); !errors.Is(err, bus.ErrNoLog) {
			t.Errorf("append: %v, want %v", err, bus.ErrNoLog)
		}
	}
	if err := f.Peer.Seal(within(t), old.Log); !errors.Is(err, bus.ErrNoLog) {
		t.Errorf("second seal: %v, want %v", err, bus.ErrNoLog)
	}
	made := create(t, f.Peer, command.FirstOf(2))
	if _, err := f.Bus.Append(within(t), []byte("late"), 3); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("append by who knows the old log: %v, want %v", err, bus.ErrConflict)
	}
	appendTo(t, f.Bus, "new")
	for _, b := range []bus.Bus{f.Bus, f.Peer} {
		if head, err := b.Head(within(t)); err != nil || head.Log != made.Log || head.Last != made.First {
			t.Errorf("head %+v, %v; made was %+v", head, err, made)
		}
		wantNext(t, read(t, b, made.Log, made.First), made.First, "new")
	}
	cancel()
	if err := <-ended; !errors.Is(err, bus.ErrReplaced) && !errors.Is(err, context.Canceled) {
		t.Errorf("Next of a sealed log: %v", err)
	}
}

func testRestart(t *testing.T, f Form) {
	made := create(t, f.Bus, command.FirstOf(2))
	for _, data := range []string{"a", "b", "c"} {
		appendTo(t, f.Bus, data)
	}
	r := read(t, f.Peer, made.Log, made.First)
	wantNext(t, r, made.First, "a")
	f.Restart()
	waitConnected(t, f)
	head, err := f.Bus.Head(within(t))
	if want := (bus.Head{Log: made.Log, First: made.First, Last: made.First + 2}); err != nil || head != want {
		t.Fatalf("head %+v, %v after a restart, want %+v", head, err, want)
	}
	appendTo(t, f.Bus, "d")
	for i, data := range []string{"b", "c", "d"} { // a reader from before goes on
		wantNext(t, r, made.First+1+command.Seq(i), data)
	}
	wantNext(t, read(t, f.Peer, made.Log, made.First+1), made.First+1, "b")
}

// testRestartEmpty: a log that has no records must not forget where it begins, or
// sequences would be given out twice.
func testRestartEmpty(t *testing.T, f Form) {
	made := create(t, f.Bus, command.FirstOf(5))
	f.Restart()
	waitConnected(t, f)
	if head, err := f.Bus.Head(within(t)); err != nil || head != made {
		t.Fatalf("head %+v, %v after a restart, want %+v", head, err, made)
	}
	if seq := appendTo(t, f.Peer, "a"); seq != made.First {
		t.Errorf("first record at %s, want %s", seq, made.First)
	}
}

func waitConnected(t *testing.T, f Form) {
	t.Helper()
	eventually(t, "the bus is connected", func() bool {
		return f.Bus.Connected() == nil && f.Peer.Connected() == nil
	})
}
