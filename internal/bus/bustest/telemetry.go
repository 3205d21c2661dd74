package bustest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/internal/bus"
)

// collector keeps what a subscription delivers.
type collector struct {
	mu  sync.Mutex
	got []string
}

func (c *collector) take(subject string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, subject+"="+string(data))
}

func (c *collector) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func subscribe(t *testing.T, b bus.Bus, pattern string, fn func(string, []byte)) (cancel func()) {
	t.Helper()
	cancel, err := b.Subscribe(pattern, fn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return cancel
}

func publish(t *testing.T, b bus.Bus, subject, data string) {
	t.Helper()
	if err := b.Publish(subject, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func testSubjects(t *testing.T, f Form) {
	patterns := map[string][]string{
		"progress.e1": {"progress.e1=1"},
		"progress.>":  {"progress.e1=1", "progress.e2=2", "progress.e2.x=3"},
		"progress":    {"progress=4"},
		"prog.>":      nil,
		">":           {"progress.e1=1", "progress.e2=2", "progress.e2.x=3", "progress=4", "load.e1=5", "log=6", "end=7"},
	}
	got := make(map[string]*collector)
	for pattern := range patterns {
		got[pattern] = &collector{}
		subscribe(t, f.Bus, pattern, got[pattern].take)
	}
	create(t, f.Bus, 1)
	appendTo(t, f.Bus, "not telemetry")
	for _, m := range []string{"progress.e1=1", "progress.e2=2", "progress.e2.x=3", "progress=4", "load.e1=5", "log=6", "end=7"} {
		subject, data, _ := strings.Cut(m, "=")
		publish(t, f.Peer, subject, data)
	}
	for pattern, want := range patterns {
		eventually(t, "all that lies under "+pattern, func() bool { return len(got[pattern].list()) >= len(want) })
		if list := got[pattern].list(); !slices.Equal(list, want) {
			t.Errorf("%s: %q, want %q", pattern, list, want)
		}
	}
	if head, err := f.Bus.Head(within(t)); err != nil || head.Last != 1 {
		t.Errorf("head %+v, %v: telemetry under %q has reached the log", head, err, "log")
	}
}

func testRefusedSubjects(t *testing.T, f Form) {
	for _, subject := range []string{"", ".", "a.", ".a", "a..b", "A", "a b", "a.*", "a.>", ">", "a\r\nb", strings.Repeat("a", 300)} {
		if err := f.Bus.Publish(subject, nil); err == nil {
			t.Errorf("published under %q", subject)
		}
	}
	for _, pattern := range []string{"", "a.", "*", "a.*", ">.a", "a.>.b", "A.>", "a b"} {
		if cancel, err := f.Bus.Subscribe(pattern, func(string, []byte) {}); err == nil {
			cancel()
			t.Errorf("subscribed to %q", pattern)
		}
	}
	if err := f.Bus.Publish("a", make([]byte, bus.MaxMessage+1)); err == nil {
		t.Errorf("published %d bytes", bus.MaxMessage+1)
	}
}

func testOneCall(t *testing.T, f Form) {
	const messages = 200
	var running sync.Mutex
	var c collector
	subscribe(t, f.Bus, "n", func(subject string, data []byte) {
		if !running.TryLock() {
			t.Error("two calls at a time")
			return
		}
		defer running.Unlock()
		c.take(subject, data)
	})
	var want []string
	for i := range messages {
		want = append(want, fmt.Sprintf("n=%d", i))
		publish(t, f.Peer, "n", fmt.Sprint(i))
	}
	eventually(t, "every message", func() bool { return len(c.list()) >= messages })
	if got := c.list(); !slices.Equal(got, want) {
		t.Errorf("from one publisher: %q", got)
	}
}

func testCancelWaits(t *testing.T, f Form) {
	entered, finished := make(chan struct{}), false
	cancel := subscribe(t, f.Bus, "a", func(string, []byte) {
		if finished {
			t.Error("called after cancel")
		}
		close(entered)
		time.Sleep(50 * time.Millisecond) // cancel has this long to return wrongly
		finished = true
	})
	publish(t, f.Peer, "a", "1")
	<-entered
	cancel()
	if !finished {
		t.Error("cancel has not waited for the running call")
	}
	publish(t, f.Peer, "a", "2")
	var c collector
	subscribe(t, f.Bus, "b", c.take)
	publish(t, f.Peer, "b", "3")
	eventually(t, "a later message", func() bool { return len(c.list()) == 1 })
	cancel()
}

func testClosed(t *testing.T, f Form) {
	head := create(t, f.Bus, 1)
	r := read(t, f.Bus, head.Log, head.First)
	cancel := subscribe(t, f.Bus, "a", func(string, []byte) {})
	ended := waitingNext(t, r)
	f.Bus.Close()
	if err := <-ended; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("waiting Next: %v, want %v", err, bus.ErrClosed)
	}
	_, createErr := f.Bus.Create(within(t), 1)
	_, headErr := f.Bus.Head(within(t))
	_, appendErr := f.Bus.Append(within(t), []byte("x"), 0)
	_, readErr := f.Bus.Read(within(t), head.Log, 1)
	_, nextErr := r.Next(within(t))
	_, subscribeErr := f.Bus.Subscribe("a", func(string, []byte) {})
	for call, err := range map[string]error{
		"Create": createErr, "Head": headErr, "Append": appendErr, "Read": readErr, "Next": nextErr,
		"Publish": f.Bus.Publish("a", nil), "Subscribe": subscribeErr, "Connected": f.Bus.Connected(),
	} {
		if !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%s of a closed bus: %v, want %v", call, err, bus.ErrClosed)
		}
	}
	cancel()
	f.Bus.Close()
}
