package command

import "time"

// Bounds of what a purge lease counts on.
const (
	clockDrift = 100             // no clock runs by more than one part in so many faster than another
	lapseSlack = 2 * time.Second // for what requests share that arrive one after the other, on each of at most 17 tiers
)

// Lapse is how long after a command was appended a node that has not heard of it, and has
// a purge lease, has ceased to use what the command covers. It counts its lease from a
// moment before the append, or it would have heard of it.
func Lapse(lease time.Duration) time.Duration { return lease + lease/clockDrift + lapseSlack }
