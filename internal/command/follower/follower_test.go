package follower_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/internal/bus"
	"freshet/internal/command"
	"freshet/internal/command/follower"
	"freshet/internal/telemetry"
)

func TestWaitsForALog(t *testing.T) {
	withRig(t, func(r *rig) {
		r.follow(command.Clock{})
		time.Sleep(time.Minute)
		r.wantReady(false)
		if err := r.f.Ready(); !errors.Is(err, telemetry.ErrNotReady) || !errors.Is(err, bus.ErrNoLog) {
			t.Errorf("ready: %v", err)
		}
		if err := r.f.Connected(); !errors.Is(err, bus.ErrNoLog) {
			t.Errorf("connected: %v", err)
		}
		r.wantClock(command.Clock{})
		head := r.create(command.FirstOf(1))
		time.Sleep(2 * time.Second)
		r.wantReady(true)
		r.wantClock(head.Clock())
		r.rec.want("restart fresh 1.0")
	})
}

// A node that starts together with the log says nothing of a log that is away for a
// moment, but something of one that stays away.
func TestQuietAtTheStart(t *testing.T) {
	withRig(t, func(r *rig) {
		r.follow(command.Clock{})
		time.Sleep(2 * time.Second)
		if text := r.log.String(); text != "" {
			t.Errorf("after 2 s it logged: %s", text)
		}
		time.Sleep(4 * time.Second)
		if text := r.log.String(); strings.Count(text, "command log interrupted") != 1 {
			t.Errorf("after 6 s it logged: %s", text)
		}
	})
}

func TestFreshStartGoesOnFromTheHead(t *testing.T) {
	withRig(t, func(r *rig) {
		r.create(command.FirstOf(1))
		r.append("a", "b")
		r.follow(command.Clock{})
		synctest.Wait()
		r.wantReady(true)
		r.rec.want("restart fresh 1.2")
		before := time.Now()
		r.append("c")
		synctest.Wait()
		r.rec.want("restart fresh 1.2", "1.3 c")
		if d := time.Since(before); d != 0 {
			t.Errorf("applied %s after the append", d)
		}
	})
}

func TestDurableStateGoesOn(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		r.append("a", "b", "c")
		r.follow(command.Clock{Log: head.Log, Seq: head.First})
		synctest.Wait()
		r.rec.want("1.2 b", "1.3 c")
		r.wantReady(true)
		if r.f.Alarm() != "" {
			t.Errorf("alarm %q", r.f.Alarm())
		}
	})
}

func TestNotReadyBeforeCaughtUp(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		r.append("a", "b", "c")
		r.follow(command.Clock{Log: head.Log, Seq: head.Last})
		block := make(chan struct{})
		r.rec.set(func(r *recorder) { r.mu.block = block })
		synctest.Wait()
		r.wantReady(false)
		if err := r.f.Ready(); !strings.Contains(err.Error(), "3 commands behind") {
			t.Errorf("ready: %v", err)
		}
		close(block)
		synctest.Wait()
		r.wantReady(true)
	})
}

// numbered are the lines that format makes of the numbers from first to last.
func numbered(format string, first, last int) (lines []string) {
	for n := first; n <= last; n++ {
		lines = append(lines, fmt.Sprintf(format, n))
	}
	return lines
}

func TestGap(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(r *rig, head bus.Head)
		want []string
	}{
		{"seen at the start", func(r *rig, head bus.Head) {
			r.append("a", "b", "c", "d")
			r.bus.Truncate(head.First + 2)
			r.follow(head.Clock())
		}, []string{"restart gap 1.2", "1.3 c", "1.4 d"}},
		{"nothing is left of the log", func(r *rig, head bus.Head) {
			last := r.append("a", "b")
			r.bus.Truncate(last + 1)
			r.follow(head.Clock())
		}, []string{"restart gap 1.2"}},
		{"no gap where just what was applied is gone", func(r *rig, head bus.Head) {
			last := r.append("a", "b")
			r.bus.Truncate(last + 1)
			r.follow(command.Clock{Log: head.Log, Seq: last})
			synctest.Wait()
			r.append("c")
		}, []string{"1.3 c"}},
		{"seen at a delivery", func(r *rig, head bus.Head) {
			r.follow(head.Clock())
			synctest.Wait()
			block := make(chan struct{})
			r.rec.set(func(r *recorder) { r.mu.block = block })
			last := r.append(slices.Repeat([]string{"a"}, 100)...)
			synctest.Wait() // the first is being applied, 64 are read ahead and one waits for room
			r.bus.Truncate(last)
			close(block)
		}, append(numbered("1.%d a", 1, 66), "restart gap 1.99", "1.100 a")},
	} {
		t.Run(test.name, func(t *testing.T) {
			withRig(t, func(r *rig) {
				test.run(r, r.create(command.FirstOf(1)))
				synctest.Wait()
				r.rec.want(test.want...)
				r.wantReady(true)
				if alarm := r.f.Alarm(); alarm != "" {
					t.Errorf("alarm %q", alarm)
				}
			})
		})
	}
}

func TestReplacedLog(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(r *rig, head bus.Head)
		want []string
	}{
		{"at the start", func(r *rig, head bus.Head) {
			r.bus.Replace(command.FirstOf(2))
			r.follow(head.Clock())
		}, []string{"restart replaced 2.0", "2.1 z"}},
		{"while reading, with higher sequences", func(r *rig, head bus.Head) {
			r.follow(head.Clock())
			synctest.Wait()
			r.bus.Replace(command.FirstOf(2))
		}, []string{"1.1 a", "restart replaced 2.0", "2.1 z"}},
		{"while reading, with the same sequences", func(r *rig, head bus.Head) {
			r.follow(head.Clock())
			synctest.Wait()
			r.bus.Replace(command.FirstOf(1))
			r.append("b", "c", "d")
		}, []string{"1.1 a", "restart replaced 1.3", "1.4 z"}},
		{"while the bus was away", func(r *rig, head bus.Head) {
			r.follow(head.Clock())
			synctest.Wait()
			r.bus.Disconnect(true)
			time.Sleep(time.Minute)
			r.bus.Replace(command.FirstOf(2))
			r.bus.Disconnect(false)
		}, []string{"1.1 a", "restart replaced 2.0", "2.1 z"}},
		{"lost for a while", func(r *rig, head bus.Head) {
			r.follow(head.Clock())
			synctest.Wait()
			r.bus.Lose()
			time.Sleep(time.Minute)
			r.wantReady(true)
			r.wantClock(command.Clock{Log: head.Log, Seq: head.First})
			r.create(command.FirstOf(2))
		}, []string{"1.1 a", "restart replaced 2.0", "2.1 z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			withRig(t, func(r *rig) {
				head := r.create(command.FirstOf(1))
				r.append("a")
				test.run(r, head)
				time.Sleep(5 * time.Second)
				last := r.append("z")
				synctest.Wait()
				r.rec.want(test.want...)
				r.wantReady(true)
				if alarm := r.f.Alarm(); !strings.Contains(alarm, "command log") {
					t.Errorf("alarm %q", alarm)
				}
				if got := r.f.Clock().Seq; got != last {
					t.Errorf("applied %s, want %s", got, last)
				}
			})
		})
	}
}

func TestAlarmStaysForADay(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		r.bus.Replace(command.FirstOf(2))
		r.follow(head.Clock())
		time.Sleep(23 * time.Hour)
		if r.f.Alarm() == "" {
			t.Error("no alarm after 23 hours")
		}
		time.Sleep(2 * time.Hour)
		if alarm := r.f.Alarm(); alarm != "" {
			t.Errorf("after 25 hours still %q", alarm)
		}
	})
}

// TestShortAnswerIsNotBelieved: one answer of a server that is behind must not cost
// the node what it has stored.
func TestShortAnswerIsNotBelieved(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		r.append("a", "b")
		r.follow(head.Clock())
		synctest.Wait()
		r.bus.Rewind(head.First)
		time.Sleep(2*time.Second + 120*time.Millisecond) // the poll has seen it, and one look after it
		r.append("b")
		time.Sleep(time.Minute)
		r.append("c")
		synctest.Wait()
		r.rec.want("1.1 a", "1.2 b", "1.3 c")
		if alarm := r.f.Alarm(); alarm != "" {
			t.Errorf("alarm %q", alarm)
		}
	})
}

// TestDeafReader: the poll of the head finds what a reader does not notice.
func TestDeafReader(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(r *rig)
		want []string
	}{
		{"a replaced log", func(r *rig) {
			r.bus.Replace(command.FirstOf(1))
			r.append("b")
			time.Sleep(3 * time.Second)
		}, []string{"restart fresh 1.1", "restart replaced 1.1"}},
		{"a lost log", func(r *rig) {
			r.bus.Lose()
			time.Sleep(5 * time.Second)
			if err := r.f.Connected(); !errors.Is(err, bus.ErrNoLog) {
				r.t.Errorf("connected: %v", err)
			}
			r.create(command.FirstOf(2))
			time.Sleep(3 * time.Second)
		}, []string{"restart fresh 1.1", "restart replaced 2.0"}},
		{"a truncated log", func(r *rig) {
			last := r.append("b", "c")
			r.bus.Truncate(last + 1)
			time.Sleep(3 * time.Second)
		}, []string{"restart fresh 1.1", "restart gap 1.3"}},
		{"a reader that has stopped", func(r *rig) {
			r.append("b", "c")
			time.Sleep(5 * time.Second)
			r.deaf.deaf.Store(false) // for the next reader; this one is deaf for ever
			time.Sleep(6 * time.Second)
		}, []string{"restart fresh 1.1", "1.2 b", "1.3 c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			withRig(t, func(r *rig) {
				r.deaf = &deafBus{Bus: r.bus}
				r.deaf.deaf.Store(true)
				r.create(command.FirstOf(1))
				r.append("a")
				r.follow(command.Clock{})
				synctest.Wait()
				test.run(r)
				r.rec.want(test.want...)
			})
		})
	}
}

// TestBusAway: what is known keeps working.
func TestBusAway(t *testing.T) {
	withRig(t, func(r *rig) {
		r.create(command.FirstOf(1))
		r.follow(command.Clock{})
		synctest.Wait()
		r.append("a")
		synctest.Wait()
		clock := r.f.Clock()
		for range 3 {
			r.bus.Disconnect(true)
			time.Sleep(10 * time.Minute)
			r.wantReady(true)
			r.wantClock(clock)
			if r.f.Connected() == nil {
				t.Error("connected to a bus that is away")
			}
			r.bus.Disconnect(false)
			time.Sleep(3 * time.Second)
			if err := r.f.Connected(); err != nil {
				t.Errorf("connected: %v", err)
			}
		}
		r.append("b")
		synctest.Wait()
		r.rec.want("restart fresh 1.0", "1.1 a", "1.2 b")
	})
}

// TestLate: a node that can see commands which it does not get applied is not ready.
func TestLate(t *testing.T) {
	withRig(t, func(r *rig) {
		r.create(command.FirstOf(1))
		r.follow(command.Clock{})
		synctest.Wait()
		r.rec.set(func(r *recorder) { r.mu.fail = errors.New("disk full") })
		r.append("a")
		time.Sleep(5 * time.Second)
		r.wantReady(true)
		if n := r.f.Behind(); n != 1 {
			t.Errorf("%d behind, want 1", n)
		}
		time.Sleep(10*time.Second + 500*time.Millisecond)
		r.wantReady(false)
		r.rec.set(func(r *recorder) { r.mu.fail = nil })
		time.Sleep(3 * time.Second)
		r.wantReady(true)
		r.rec.want("restart fresh 1.0", "1.1 a")
	})
}

func TestUnknownRecord(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		r.follow(command.Clock{})
		synctest.Wait()
		if _, err := r.bus.Append(t.Context(), []byte(`{"v":9,"id":"future","kind":"bless","scopes":[{"site":"demo"}]}`), head.Last); err != nil {
			t.Fatal(err)
		}
		r.append("a")
		synctest.Wait()
		r.rec.want("restart fresh 1.0", "1.1 future", "1.2 a")
		if alarm := r.f.Alarm(); !strings.Contains(alarm, "1.1") {
			t.Errorf("alarm %q", alarm)
		}
		if n := testutil.CollectAndCount(r.metrics, "freshet_log_unknown_commands_total"); n != 1 {
			t.Errorf("%d series", n)
		}
	})
}

func TestProgress(t *testing.T) {
	withRig(t, func(r *rig) {
		var mu sync.Mutex
		var got []command.Progress
		take := func() []command.Progress {
			mu.Lock()
			defer mu.Unlock()
			list := got
			got = nil
			return list
		}
		cancel, err := r.bus.Subscribe("progress.>", func(subject string, data []byte) {
			var p command.Progress
			if err := json.Unmarshal(data, &p); err != nil || subject != "progress.e1" {
				t.Errorf("%s: %s: %v", subject, data, err)
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, p)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer cancel()
		head := r.create(command.FirstOf(1))
		r.follow(command.Clock{})
		time.Sleep(10*time.Second + 500*time.Millisecond)
		if n := len(take()); n < 10 || n > 12 {
			t.Errorf("%d reports in 10 s without a command", n)
		}
		last := r.append("a")
		synctest.Wait()
		list := take()
		if len(list) != 1 {
			t.Fatalf("%d reports right after a command", len(list))
		}
		if p := list[0]; p.Node != "e1" || p.Role != "edge" || p.Log != head.Log || p.Applied != last || !p.At.Equal(time.Now()) || p.Alarm != "" {
			t.Errorf("%+v", p)
		}
		for range 100 { // one after the other, as who waits for each gives them
			last = r.append("x")
			time.Sleep(3 * time.Millisecond)
			if list = take(); len(list) != 1 || list[0].Applied != last {
				t.Fatalf("reports %+v right after command %s", list, last)
			}
		}
		for range 5000 { // in 5 s: first there are 200 or so soon, then one in 20 ms
			last = r.append("x")
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		list = take()
		if len(list) < 400 || len(list) > 550 || list[len(list)-1].Applied != last {
			t.Errorf("%d reports of 5000 commands in 5 s, the last of %s", len(list), list[len(list)-1].Applied)
		}
		r.bus.Replace(command.FirstOf(2))
		time.Sleep(3 * time.Second)
		if list = take(); len(list) == 0 || list[len(list)-1].Alarm == "" {
			t.Error("no report of the alarm")
		}
	})
}

func TestMetrics(t *testing.T) {
	withRig(t, func(r *rig) {
		r.create(command.FirstOf(1))
		r.follow(command.Clock{})
		synctest.Wait()
		r.append("a", "b")
		synctest.Wait()
		want := `
# HELP freshet_log_applied_commands_total Commands of the log that this node has applied. A rise is normal; none while others rise means that the node is cut off.
# TYPE freshet_log_applied_commands_total counter
freshet_log_applied_commands_total 2
# HELP freshet_log_connected 1 while this node can reach the command log, else 0. At 0 purges do not reach it.
# TYPE freshet_log_connected gauge
freshet_log_connected 1
# HELP freshet_log_lag_commands Commands between what this node has applied and the log's head as it last saw it. A lasting rise means that purges reach this node late.
# TYPE freshet_log_lag_commands gauge
freshet_log_lag_commands 0
`
		if err := testutil.GatherAndCompare(r.metrics, strings.NewReader(want),
			"freshet_log_applied_commands_total", "freshet_log_connected", "freshet_log_lag_commands"); err != nil {
			t.Error(err)
		}
		if _, err := follower.New(follower.Config{Metrics: r.metrics, Bus: r.bus, Log: slog.New(slog.DiscardHandler)}); err == nil {
			t.Error("a second follower on one registry")
		}
	})
}

// TestReadyWithoutTheLog: a node that starts while the log is away serves on if it has
// durable state, after a moment in which the log may be starting too, and not otherwise.
// As soon as the log is there it has to catch up.
func TestReadyWithoutTheLog(t *testing.T) {
	for name, start := range map[string]command.Clock{"with state": {Log: 1}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			withRig(t, func(r *rig) {
				head := r.create(command.FirstOf(1))
				if start.Log != 0 {
					start = head.Clock()
				}
				r.append("a", "b")
				r.bus.Disconnect(true)
				r.follow(start)
				time.Sleep(3*time.Second - time.Millisecond)
				r.wantReady(false)
				time.Sleep(time.Hour)
				r.wantReady(start.Log != 0)
				r.bus.Disconnect(false)
				time.Sleep(10 * time.Second)
				r.wantReady(true)
				r.wantClock(command.Clock{Log: head.Log, Seq: head.Last + 2})
			})
		})
	}
}
