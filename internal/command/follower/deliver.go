package follower

import (
	"context"
	"fmt"
	"log/slog"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// adopt compares the head with what was applied, before anything is read. What the
// two have in common is kept; else the Applier restarts.
func (f *Follower) adopt(head bus.Head) error {
	clock := f.Clock()
	if head.Log == clock.Log && head.Last < clock.Seq {
		// A log that has lost its end. It costs the cluster everything stored, so an answer
		// of a server that was itself behind must not be enough.
		if f.short++; f.short < shortLooks {
			return fmt.Errorf("command log ends at %s, below %s that was applied", head.Last, clock)
		}
		return f.fork(clock.Log, fmt.Sprintf("the command log has lost its end: it is %s, %s was applied", head.Clock(), clock))
	}
	f.short = 0
	switch {
	case clock.Log != 0 && head.Log == f.forked():
		return errForked
	case clock.Log == 0:
		return f.restart(head.Clock(), command.RestartFresh)
	case head.Log != clock.Log:
		f.alarm(fmt.Sprintf("the command log was replaced: it is %s, %s was applied", head.Clock(), clock))
		return f.restart(head.Clock(), command.RestartReplaced)
	case head.First > clock.Seq+1:
		return f.restart(command.Clock{Log: head.Log, Seq: head.First - 1}, command.RestartGap)
	}
	return nil
}

// deliver applies one record.
func (f *Follower) deliver(e bus.Entry) error {
	clock := f.done
	link := e.Prev.Next(e.Seq, e.Data)
	if e.Seq == clock.Seq && e.Seq == f.first {
		// What a session begins with was applied before, unless the log is another.
		if f.link != (command.Link{}) && f.link != link {
			return f.fork(clock.Log, fmt.Sprintf("the command log has another record at %s than the one that was applied", e.Seq))
		}
		f.link, f.kept = link, link
		f.at.Store(&position{clock, link})
		return nil
	}
	if e.Seq <= clock.Seq {
		return fmt.Errorf("command log delivers %s after %s", e.Seq, clock)
	}
	if e.Seq > clock.Seq+1 {
		clock.Seq = e.Seq - 1
		if err := f.restart(clock, command.RestartGap); err != nil {
			return err
		}
	}
	if known := (command.Link{}); f.link != known && e.Prev != known && e.Prev != f.link {
		return f.fork(clock.Log, fmt.Sprintf("the command log has another record before %s than the one that was applied", e.Seq))
	}
	c, err := command.Decode(e.Data)
	if err != nil {
		// The command that came with the error covers what the record may have meant. Its
		// time may be unreadable; the log knows one.
		c.At = e.At
		f.alarm(fmt.Sprintf("record %s of the command log, applied as a wider purge: %v", e.Seq, err))
		f.metrics.unknown.Inc()
	}
	c.Link = link
	if err := f.cfg.Applier.Apply(e.Seq, c); err != nil {
		return fmt.Errorf("apply command %s at %s: %w", c.ID, e.Seq, err)
	}
	f.metrics.applied.Inc()
	f.done.Seq, f.link = e.Seq, link
	if _, ok := f.cfg.Applier.(command.Committer); !ok {
		return f.commit()
	}
	return nil
}

// recovered notes that the log is being followed again.
func (f *Follower) recovered() {
	if f.failing {
		f.failing = false
		f.cfg.Log.Info("command log followed again", "clock", f.Clock())
	}
}

func (f *Follower) restart(clock command.Clock, why command.RestartReason) error {
	if err := f.cfg.Applier.Restart(clock, why); err != nil {
		return fmt.Errorf("restart at %s, %s: %w", clock, why, err)
	}
	f.metrics.restarts.WithLabelValues(string(why)).Inc()
	level := slog.LevelWarn
	if why == command.RestartFresh {
		level = slog.LevelInfo
	}
	f.cfg.Log.Log(context.Background(), level, "restarted at the command log", "clock", clock, "reason", why)
	f.done, f.link = clock, command.Link{}
	f.advance(clock)
	return nil
}

// fork notes that a log contradicts what was applied, and tells the others.
func (f *Follower) fork(log command.LogID, why string) error {
	f.deafen()
	if f.forked() != log {
		f.alarm(why)
		f.metrics.forks.Inc()
		f.mu.Lock()
		f.mu.forked, f.mu.away = log, errForked
		f.mu.Unlock()
		f.tell()
	}
	return fmt.Errorf("%w: %s", errForked, why)
}

// forked is the log that contradicts what was applied, 0 for none.
func (f *Follower) forked() command.LogID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.forked
}
