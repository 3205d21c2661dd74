package command

import (
	"fmt"
	"strconv"
	"strings"
)

// EpochShift places the log's epoch above the position within it: the first
// sequence of epoch e is e<<EpochShift + 1. One number has one order for ever,
// because a new epoch always starts above every sequence ever given out.
const EpochShift = 40

// Seq is a position in the command log: the epoch of the log in the upper 24
// bits, the position within it below. Zero comes before every command.
type Seq uint64

// FirstOf is the first sequence that a log of the given epoch gives out.
func FirstOf(epoch uint32) Seq { return Seq(epoch)<<EpochShift + 1 }

// Epoch is the epoch of the log that gave the sequence out.
func (s Seq) Epoch() uint32 { return uint32(s >> EpochShift) }

// String prints epoch and position, "3.127".
func (s Seq) String() string {
	return fmt.Sprintf("%d.%d", s.Epoch(), uint64(s)&(1<<EpochShift-1))
}

// ParseSeq reads what String prints.
func ParseSeq(text string) (Seq, error) {
	epoch, position, ok := strings.Cut(text, ".")
	e, errE := strconv.ParseUint(epoch, 10, 64-EpochShift)
	p, errP := strconv.ParseUint(position, 10, EpochShift)
	if seq := Seq(e)<<EpochShift + Seq(p); ok && errE == nil && errP == nil && seq.String() == text {
		return seq, nil
	}
	return 0, fmt.Errorf("%.40q is not a sequence such as 1.127", text)
}

// LogID names one command log for ever: 64 random bits drawn when the log is
// made. Zero means that no log is known. Two logs may by mishap give out the same
// sequences (the cluster's store was lost together with the log); their ids
// differ, and what was stored under the one is dead under the other.
type LogID uint64

// String prints 16 hexadecimal digits.
func (id LogID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// Clock is the cluster's logical time: how far which log has been applied.
type Clock struct {
	Log LogID
	Seq Seq
}

// String prints "id/epoch.position".
func (c Clock) String() string { return c.Log.String() + "/" + c.Seq.String() }

// Before reports whether something as of c may have missed what happened at d:
// it is of another log, or lower in the same.
func (c Clock) Before(d Clock) bool { return c.Log != d.Log || c.Seq < d.Seq }
