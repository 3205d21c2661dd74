package command

// Applier is where a node's follower delivers the log. Calls come from one
// goroutine, in order. An Applier must have made its effect durable, as far as the
// node keeps anything over a restart, when it returns.
type Applier interface {
	// Apply carries out one command at its sequence, which is one above the last.
	Apply(seq Seq, c Command) error
	// Restart says that what came before clock is not known to be true: another log
	// (clock.Log differs from the last one), a gap in the log, or the first start of
	// a node without state. Everything stored as of an earlier clock is dead, and
	// Apply continues at clock.Seq+1.
	Restart(clock Clock, why RestartReason) error
}

// RestartReason says why the follower could not simply go on.
type RestartReason string

// The reasons of a Restart.
const (
	RestartFresh    RestartReason = "fresh"    // the node had no state
	RestartGap      RestartReason = "gap"      // the log no longer reaches back to what was applied
	RestartReplaced RestartReason = "replaced" // the log has another id: an alarm
)
