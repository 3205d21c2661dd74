package follower_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// TestRandomHistories does to the log whatever may happen to it, at random, while a
// follower reads. The recorder checks the order on the way. In the end the follower
// stands at the head, and every command of the log that it ended on was either applied,
// as it was appended, or is covered by a Restart at or above it.
func TestRandomHistories(t *testing.T) {
	for i := range 200 {
		seed := uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			withRig(t, func(r *rig) { randomHistory(r, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func randomHistory(r *rig, rnd *rand.Rand) {
	var mu sync.Mutex // the leader replaces logs, too
	var epoch uint32
	appended := make(map[command.Clock]string)
	newLog := func() {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(4) > 0 { // else by mishap the sequences of the log before
			epoch++
		}
		r.bus.Replace(command.FirstOf(epoch))
	}
	// The leader, which replaces a log that contradicts what a node has applied.
	cancel, err := r.bus.Subscribe(bus.SubjectProgress+".>", func(_ string, data []byte) {
		var p command.Progress
		if err := json.Unmarshal(data, &p); err != nil {
			r.t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if head, err := r.bus.Head(context.Background()); err == nil && p.Forked == head.Log {
			epoch++
			r.bus.Replace(command.FirstOf(epoch))
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cancel)
	forked := make(map[command.LogID]bool) // those that were put back to an older copy
	appendSome := func(n int) {
		head, err := r.bus.Head(context.Background())
		if err != nil {
			return // away, or lost
		}
		for i := range n {
			id := fmt.Sprintf("c%d", len(appended))
			seq := r.append(id)
			if seq != head.Last+command.Seq(i)+1 {
				r.t.Errorf("appended at %s", seq)
			}
			appended[command.Clock{Log: head.Log, Seq: seq}] = id
		}
	}
	newLog()
	appendSome(rnd.IntN(5))
	start := command.Clock{}
	if head, err := r.bus.Head(context.Background()); err == nil && rnd.IntN(2) == 0 {
		start = command.Clock{Log: head.Log, Seq: head.First - 1 + command.Seq(rnd.IntN(5))}
	}
	var k *keeper
	if rnd.IntN(2) == 0 {
		r.follow(start)
	} else {
		k = r.keep(start)
	}
	for range 60 {
		switch rnd.IntN(15) {
		case 0, 1, 2, 3, 4, 5:
			appendSome(1 + rnd.IntN(5))
		case 6:
			if head, err := r.bus.Head(context.Background()); err == nil {
				r.bus.Truncate(head.First + command.Seq(rnd.IntN(int(head.Last-head.First)+2)))
			}
		case 7:
			newLog()
		case 8:
			r.bus.Lose()
		case 9, 10:
			r.bus.Disconnect(true)
		case 11, 12:
			r.bus.Disconnect(false)
		case 14:
			if head, err := r.bus.Head(context.Background()); err == nil {
				last := head.First + command.Seq(rnd.IntN(int(head.Last-head.First)+2)) - 1
				r.bus.Rewind(last)
				forked[head.Log] = true
				for seq := last + 1; seq <= head.Last; seq++ {
					delete(appended, command.Clock{Log: head.Log, Seq: seq})
				}
				appendSome(rnd.IntN(5))
			}
		case 13:
			fail := errors.New("disk full")
			if rnd.IntN(2) == 0 {
				fail = nil
			}
			broken := errors.New("disk full")
			if rnd.IntN(2) == 0 {
				broken = nil
			}
			r.rec.set(func(r *recorder) {
				r.mu.fail = fail
				if k != nil {
					k.broken = broken
				}
			})
		}
		if k != nil {
			synctest.Wait()
			clock := r.f.Clock()
			r.rec.set(func(*recorder) {
				if !slices.Contains(k.commits, clock.Seq) {
					r.t.Errorf("%s counts as applied, made durable was %v", clock, k.commits)
				}
			})
		}
		switch rnd.IntN(4) {
		case 0: // at the same moment as what comes next
		case 1:
			synctest.Wait()
		default:
			time.Sleep(time.Duration(rnd.Int64N(int64(5 * time.Second))))
		}
	}
	r.rec.set(func(r *recorder) {
		r.mu.fail = nil
		if k != nil {
			k.broken = nil
		}
	})
	r.bus.Disconnect(false)
	if _, err := r.bus.Head(context.Background()); err != nil {
		newLog()
	}
	time.Sleep(30 * time.Second)
	appendSome(3)
	time.Sleep(30 * time.Second)
	checkEnd(r, start, appended, forked)
}

func checkEnd(r *rig, start command.Clock, appended map[command.Clock]string, forked map[command.LogID]bool) {
	head, err := r.bus.Head(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	r.wantClock(head.Clock())
	r.wantReady(true)
	if n := r.f.Behind(); n != 0 {
		r.t.Errorf("%d behind at the head", n)
	}
	r.rec.set(func(rec *recorder) {
		if rec.mu.clock != head.Clock() {
			r.t.Errorf("applier at %s, want %s", rec.mu.clock, head.Clock())
		}
		for at, id := range rec.mu.ids {
			if appended[at] != id && (at.Log == head.Log || !forked[at.Log]) {
				r.t.Errorf("%s was applied at %s, appended there was %q", id, at, appended[at])
			}
		}
		for at, id := range appended {
			if at.Log == head.Log && start.Before(at) && rec.mu.ids[at] == "" && !rec.covered(at) {
				r.t.Errorf("%s at %s was skipped", id, at)
			}
		}
	})
}
