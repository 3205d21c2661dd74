package follower

import (
	"encoding/json"
	"fmt"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
	"freshet/internal/telemetry"
)

// What is told about a follower.
const (
	lateAfter = 10 * time.Second // a command that has been waiting for longer makes the node unready
	alarmFor  = 24 * time.Hour   // an alarm stays this long: the next working day sees it
)

// saw remembers the outcome of a look at the head.
func (f *Follower) saw(head bus.Head, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.away = err
	if err != nil {
		return
	}
	f.mu.head = head
	if head.Log == f.mu.forked {
		f.mu.away = errForked
		return
	}
	clock := f.Clock()
	if clock.Log != head.Log || clock.Seq >= f.mu.goalSeq || f.mu.goalSeq > head.Last {
		f.mu.goal, f.mu.goalSeq = time.Now(), head.Last
	}
}

// Ready is a telemetry.Probe: nil once the node has caught up with the log, and from
// then on also while the bus is away, because what is known keeps working. A node that
// has durable state goes on from that too if the log stays away when it starts: what it
// has acknowledged it keeps to, and more is promised of no node that is cut off. One
// without knows nothing of what purges have made untrue, and stays unready. It is an
// error again only while the log can be reached and a command has been waiting in it
// for long.
func (f *Follower) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	clock := f.Clock()
	switch {
	case !f.ready.Load() && f.mu.away != nil && clock.Log != 0 && !f.mu.began.IsZero() && time.Since(f.mu.began) >= startQuiet:
	case !f.ready.Load() && f.mu.away != nil:
		return fmt.Errorf("%w: command log: %w", telemetry.ErrNotReady, f.mu.away)
	case !f.ready.Load():
		return fmt.Errorf("%w: command log: catching up, %d commands behind", telemetry.ErrNotReady, f.behind())
	case f.mu.away == nil && clock.Log == f.mu.head.Log && clock.Seq < f.mu.goalSeq && time.Since(f.mu.goal) > lateAfter:
		return fmt.Errorf("command log: %d commands behind, for %s", f.behind(), time.Since(f.mu.goal).Truncate(time.Second))
	}
	return nil
}

// Connected is nil, or says why the log's head could not be had when last asked for,
// about two seconds ago at most.
func (f *Follower) Connected() error {
	if err := f.cfg.Bus.Connected(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.away
}

// Behind is how many commands lie between what is applied and the head as last seen.
func (f *Follower) Behind() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.behind()
}

func (f *Follower) behind() uint64 {
	clock := f.Clock()
	if clock.Log != f.mu.head.Log || clock.Seq >= f.mu.head.Last {
		return 0
	}
	return uint64(f.mu.head.Last - clock.Seq)
}

// Alarm is what an operator should look at: the log was replaced or has lost its end,
// a record was unknown. It stays for a day, or until another takes its place; "" is
// none.
func (f *Follower) Alarm() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.mu.alarmAt) > alarmFor {
		return ""
	}
	return f.mu.alarm
}

func (f *Follower) alarm(text string) {
	f.cfg.Log.Error("command log needs an operator", "alarm", text)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.alarm, f.mu.alarmAt = text, time.Now()
}

// sites is the version of the site documents gone by.
func (f *Follower) sites() uint64 {
	if f.cfg.Sites == nil {
		return 0
	}
	return f.cfg.Sites()
}

// contradicts is the log to tell others of that contradicts what was applied.
func (f *Follower) contradicts(clock command.Clock) command.LogID {
	if log := f.forked(); log == clock.Log {
		return log
	}
	return 0
}

// Leave says that the node serves no more, so that nobody waits for it or names it as one
// that may be serving. It is called after Run.
func (f *Follower) Leave() { f.report(true) }

func (f *Follower) report(left bool) {
	at := f.at.Load()
	clock := at.clock
	data, err := json.Marshal(command.Progress{
		Node: f.cfg.Node, Role: f.cfg.Role,
		Log: clock.Log, Applied: clock.Seq, Link: at.link,
		At: time.Now(), Alarm: f.Alarm(), Left: left, Forked: f.contradicts(clock), Sites: f.sites(),
	})
	if err == nil {
		// Lost when the bus is away, which others see by its absence.
		err = f.cfg.Bus.Publish(bus.SubjectProgress+"."+f.cfg.Node, data)
	}
	if err != nil {
		f.cfg.Log.Debug("progress not published", "err", err)
	}
}
