package command

// Applier is where a node's follower (package follower) delivers the log. Calls come
// from one goroutine, in order; a call that returned an error is made again. An Applier
// must have made its effect durable, as far as the node keeps anything over a restart,
// when it returns.
type Applier interface {
	// Apply carries out one command at its sequence, which is one above the last.
	Apply(seq Seq, c Command) error
	// Restart says that nothing which the node has stored until now is known to be true:
	// the log is another one or has lost its end, has a gap, or the node starts without
	// state. All of it is dead, and Apply continues at clock.Seq+1. clock is mostly above
	// everything stored, but not if the log has lost its end: its id is then the same
	// and its sequence lower, so that comparing clocks does not tell what is dead.
	Restart(clock Clock, why RestartReason) error
}

// Committer is an Applier that leaves it to Commit to make durable what Apply has
// carried out, so that one write serves the commands of a moment. None of them counts
// as applied before that.
type Committer interface {
	Applier
	// Commit makes durable what was applied since it last returned nil. After an error
	// it is called again, with or without further commands before; and some that were
	// applied may be applied again.
	Commit() error
}

// RestartReason says why the follower could not simply go on.
type RestartReason string

// The reasons of a Restart.
const (
	RestartFresh    RestartReason = "fresh"    // the node had no state
	RestartGap      RestartReason = "gap"      // the log no longer reaches back to what was applied
	RestartReplaced RestartReason = "replaced" // the log has another id: an alarm
)
