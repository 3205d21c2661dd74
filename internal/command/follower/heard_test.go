package follower_test

import (
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/command"
)

// silent holds Silent between bounds.
func (r *rig) silent(least, most time.Duration) {
	r.t.Helper()
	if got := r.f.Silent(time.Now()); got < least || got > most {
		r.t.Errorf("silent for %s, want %s to %s", got, least, most)
	}
}

const (
	poll = 2 * time.Second // of the head
	ever = 1000 * time.Hour
)

// TestSilence: the time counts from the moment before the last look at the head whose
// commands are all applied.
func TestSilence(t *testing.T) {
	withRig(t, func(r *rig) {
		r.follow(command.Clock{})
		time.Sleep(time.Minute)
		r.silent(ever, 1<<62*2-1) // nothing was ever heard
		r.create(command.FirstOf(1))
		time.Sleep(10 * time.Second)
		r.silent(0, poll)
		r.append("a")
		time.Sleep(time.Hour)
		r.silent(0, poll)
		r.bus.Disconnect(true)
		time.Sleep(time.Minute)
		r.silent(time.Minute, time.Minute+poll)
		r.bus.Disconnect(false)
		time.Sleep(10 * time.Second)
		r.silent(0, poll)
	})
}

// TestWhoSeesTheHeadAndNotTheCommandsIsSilent: to know that there is more is not to have
// heard it.
func TestWhoSeesTheHeadAndNotTheCommandsIsSilent(t *testing.T) {
	withRig(t, func(r *rig) {
		r.deaf = &deafBus{Bus: r.bus}
		r.create(command.FirstOf(1))
		r.follow(command.Clock{})
		time.Sleep(10 * time.Second)
		r.silent(0, poll)
		r.deaf.deaf.Store(true)
		last := r.append("a") // still delivered: it was waited for
		time.Sleep(time.Minute)
		r.silent(0, poll) // nothing came
		r.append("b")
		time.Sleep(30 * time.Second)
		if r.f.Clock().Seq != last {
			t.Error("the command was delivered: the test shows nothing")
		}
		r.silent(30*time.Second, 30*time.Second+poll)
		r.deaf.deaf.Store(false)
		time.Sleep(20 * time.Second)
		r.silent(0, poll)
	})
}

// TestWhoAppliesSlowlyIsSilentUntilThen: what was there when the head was asked for counts
// once it is carried out, as of that question.
func TestWhoAppliesSlowlyIsSilentUntilThen(t *testing.T) {
	withRig(t, func(r *rig) {
		r.create(command.FirstOf(1))
		r.follow(command.Clock{})
		time.Sleep(10 * time.Second)
		block := make(chan struct{})
		r.rec.set(func(r *recorder) { r.mu.block = block })
		r.append("a")
		time.Sleep(5 * time.Second)
		r.silent(5*time.Second, 5*time.Second+poll)
		close(block)
		synctest.Wait()
		r.silent(5*time.Second-poll, 5*time.Second) // of the first question that knew of it
		time.Sleep(2 * poll)
		r.silent(0, poll)
	})
}
