package memory

import (
	"freshet/internal/bus"
	"freshet/internal/command"
)

// Lose drops the log with all its records: there is none until Create makes one,
// with another id. Readers end with bus.ErrReplaced.
func (b *Bus) Lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.log = nil
	b.wake()
}

// Replace loses the log and puts an empty one in its place, with another id and the
// given first sequence.
func (b *Bus) Replace(first command.Seq) bus.Head {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.log = newLog(first)
	b.wake()
	return b.mu.log.head()
}

// Rewind takes records away from the end of the log, down to last, as a restore
// from an old copy would.
func (b *Bus) Rewind(last command.Seq) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.mu.log
	if l == nil || last >= l.head().Last {
		return
	}
	keep := int(max(last+1, l.first) - l.first)
	for _, e := range l.records[keep:] {
		l.bytes -= len(e.Data) + recordCost
	}
	if keep < len(l.records) {
		l.link = l.records[keep].Prev
	}
	l.records = l.records[:keep]
	b.wake()
}

// Unlink makes the next record one of a writer that knows no links.
func (b *Bus) Unlink() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.log != nil {
		b.mu.log.link = command.Link{}
	}
}

// Truncate drops the oldest records, so that the log begins at first.
func (b *Bus) Truncate(first command.Seq) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.mu.log
	if l == nil || first <= l.first {
		return
	}
	l.drop(int(min(first-l.first, command.Seq(len(l.records)))))
	b.wake()
}

// Disconnect makes the bus unreachable, or reachable again: calls fail, readers
// wait, telemetry is lost.
func (b *Bus) Disconnect(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.away = away
	b.wake()
}
