package follower_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/command"
)

// keeper is an Applier that makes durable only what it is told to commit.
type keeper struct {
	*recorder
	commits []command.Seq // what each Commit that succeeded has made durable; under recorder.mu
	broken  error         // what Commit returns; under recorder.mu
}

func (k *keeper) Apply(seq command.Seq, c command.Command) error {
	k.set(func(r *recorder) {
		if seq <= r.mu.clock.Seq && seq > k.commits[len(k.commits)-1] {
			r.mu.clock.Seq = seq - 1 // applied again, as it was never committed
		}
	})
	return k.recorder.Apply(seq, c)
}

func (k *keeper) Commit() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken == nil {
		k.commits = append(k.commits, k.mu.clock.Seq)
	}
	return k.broken
}

func (k *keeper) Restart(clock command.Clock, why command.RestartReason) error {
	k.set(func(r *recorder) { // what was never committed does not count
		r.mu.clock.Seq = min(r.mu.clock.Seq, k.commits[len(k.commits)-1])
	})
	err := k.recorder.Restart(clock, why)
	if err == nil {
		k.set(func(*recorder) { k.commits = append(k.commits, clock.Seq) })
	}
	return err
}

// keep is follow with an Applier that has to be told to commit.
func (r *rig) keep(start command.Clock) *keeper {
	k := &keeper{recorder: newRecorder(r.t, start), commits: []command.Seq{start.Seq}}
	r.rec = k.recorder
	r.run(k, start)
	return k
}

func TestOneCommitServesWhatIsThere(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		k := r.keep(head.Clock())
		synctest.Wait()
		block := make(chan struct{})
		k.set(func(r *recorder) { r.mu.block = block })
		r.append(slices.Repeat([]string{"a"}, 100)...)
		synctest.Wait()
		r.wantClock(head.Clock()) // not before it is durable
		close(block)
		synctest.Wait()
		r.wantClock(command.Clock{Log: head.Log, Seq: head.Last + 100})
		k.set(func(*recorder) {
			if len(k.commits) > 5 || k.commits[len(k.commits)-1] != head.Last+100 {
				t.Errorf("commits at %v for 100 commands", k.commits)
			}
		})
	})
}

// TestNothingIsAcknowledgedThatIsNotDurable: while nothing can be made durable the
// commands are carried out all the same, and none is acknowledged.
func TestNothingIsAcknowledgedThatIsNotDurable(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		k := r.keep(head.Clock())
		r.append("a")
		synctest.Wait()
		k.set(func(*recorder) { k.broken = errors.New("disk full") })
		r.append("b")
		synctest.Wait()
		r.append("c")
		synctest.Wait()
		r.rec.want("1.1 a", "1.2 b", "1.3 c")
		r.wantClock(command.Clock{Log: head.Log, Seq: head.Last + 1})
		time.Sleep(20 * time.Second)
		r.wantClock(command.Clock{Log: head.Log, Seq: head.Last + 1})
		r.wantReady(false) // others see that it is late
		k.set(func(*recorder) { k.broken = nil })
		time.Sleep(5 * time.Second)
		r.wantClock(command.Clock{Log: head.Log, Seq: head.Last + 3})
		r.wantReady(true)
	})
}

// TestWhatWasCarriedOutBeforeAnErrorIsAcknowledged: a command that cannot be carried
// out keeps back nothing that came before it.
func TestWhatWasCarriedOutBeforeAnErrorIsAcknowledged(t *testing.T) {
	withRig(t, func(r *rig) {
		head := r.create(command.FirstOf(1))
		k := r.keep(head.Clock())
		synctest.Wait()
		block := make(chan struct{})
		k.set(func(r *recorder) { r.mu.block = block })
		r.append("a", "b")
		synctest.Wait()
		go func() { block <- struct{}{} }() // a goes on, b waits
		synctest.Wait()
		k.set(func(r *recorder) { r.mu.fail = errors.New("no") })
		close(block)
		synctest.Wait()
		r.wantClock(command.Clock{Log: head.Log, Seq: head.Last + 1})
		k.set(func(r *recorder) { r.mu.fail = nil })
		time.Sleep(time.Second)
		r.wantClock(command.Clock{Log: head.Log, Seq: head.Last + 2})
	})
}

var _ command.Committer = (*keeper)(nil)
