package follower_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// TestForkedLog: a log that was put back to an older copy, so that it is shorter than what
// was applied or has gone on with other commands, is followed no further. Nothing of it
// is acknowledged, others are told, and the next log ends that.
func TestForkedLog(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(r *rig, head bus.Head)
		want []string
	}{
		{"shorter, at the start", func(r *rig, head bus.Head) {
			r.append("b", "c")
			r.bus.Rewind(head.First)
			r.follow(command.Clock{Log: head.Log, Seq: head.First + 2})
		}, nil},
		{"shorter, while reading", func(r *rig, head bus.Head) {
			r.follow(head.Clock())
			r.append("b", "c")
			synctest.Wait()
			r.bus.Rewind(head.First)
		}, []string{"1.1 a", "1.2 b", "1.3 c"}},
		{"other commands, while reading", func(r *rig, head bus.Head) {
			r.follow(head.Clock())
			r.append("b", "c")
			synctest.Wait()
			r.bus.Rewind(head.First)
			r.append("x", "y", "z")
		}, []string{"1.1 a", "1.2 b", "1.3 c"}},
		{"other commands, while the bus was away", func(r *rig, head bus.Head) {
			r.follow(head.Clock())
			r.append("b", "c")
			synctest.Wait()
			r.bus.Disconnect(true)
			time.Sleep(time.Minute)
			r.bus.Disconnect(false)
			r.bus.Rewind(head.First)
			r.append("x", "y", "z")
		}, []string{"1.1 a", "1.2 b", "1.3 c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			withRig(t, func(r *rig) {
				head := r.create(command.FirstOf(1))
				r.append("a")
				var told atomic.Int64
				cancel, err := r.bus.Subscribe(bus.SubjectProgress+".>", func(_ string, data []byte) {
					var p command.Progress
					if err := json.Unmarshal(data, &p); err != nil {
						t.Error(err)
					}
					if p.Forked == head.Log {
						told.Add(1)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				defer cancel()
				test.run(r, head)
				time.Sleep(10 * time.Second)
				r.append(slices.Repeat([]string{"late"}, 10)...)
				time.Sleep(10 * time.Second)
				r.rec.want(test.want...)
				r.wantClock(command.Clock{Log: head.Log, Seq: head.First + 2})
				if r.f.Connected() == nil || !strings.Contains(r.f.Alarm(), "command log") {
					t.Errorf("connected: %v, alarm %q", r.f.Connected(), r.f.Alarm())
				}
				if n := told.Load(); n < 5 {
					t.Errorf("told %d times", n)
				}
				if err := r.bus.Seal(t.Context(), head.Log); err != nil {
					t.Fatal(err)
				}
				r.create(command.FirstOf(2))
				before := told.Load()
				time.Sleep(5 * time.Second)
				last := r.append("new")
				synctest.Wait()
				r.rec.want(append(test.want, "restart replaced 2.0", "2.1 new")...)
				r.wantReady(true)
				if got := r.f.Clock().Seq; got != last || r.f.Connected() != nil {
					t.Errorf("at %s, want %s; connected %v", got, last, r.f.Connected())
				}
				if more := told.Load() - before; more > 5 {
					t.Errorf("told %d times more", more)
				}
			})
		})
	}
}

// TestForkWhileTheNodeWasDown: a node that starts with what it has kept notices that the log
// is another, though that is as long as it was, or longer, and nothing is added.
func TestForkWhileTheNodeWasDown(t *testing.T) {
	for name, ids := range map[string][]string{
		"as long": {"x", "y"}, "longer": {"x", "y", "z"}, "last differs": {"b", "y"}, "the same": {"b", "c"}, "the same and more": {"b", "c", "d"},
	} {
		t.Run(name, func(t *testing.T) {
			withRig(t, func(r *rig) {
				head := r.create(command.FirstOf(1))
				applied := command.Clock{Log: head.Log, Seq: r.append("a", "b", "c")}
				stop := r.follow(head.Clock())
				synctest.Wait()
				stop()
				r.rec.set(func(rec *recorder) { r.link = rec.mu.link })
				r.bus.Rewind(head.First)
				last := r.append(ids...)
				r.follow(applied)
				time.Sleep(5 * time.Second)
				same := ids[0] == "b" && ids[1] == "c"
				if forked := r.f.Connected() != nil; forked == same {
					t.Errorf("connected: %v", r.f.Connected())
				}
				if !same {
					last = applied.Seq
				}
				r.wantClock(command.Clock{Log: head.Log, Seq: last})
			})
		})
	}
}

// TestUnlinkedRecords: records of a writer that knows no links are followed, as are those
// of one that does after them.
func TestUnlinkedRecords(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		r.follow(head.Clock())
		var last command.Seq
		for i := range 9 {
			if i%3 > 0 {
				r.bus.Unlink()
			}
			last = r.append("a", "b")
			synctest.Wait()
		}
		r.wantClock(command.Clock{Log: head.Log, Seq: last})
		if err := r.f.Connected(); err != nil {
			t.Error(err)
		}
	})
}
