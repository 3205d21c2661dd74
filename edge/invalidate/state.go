package invalidate

import (
	"errors"
	"iter"
	"math/rand/v2"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/hop"
)

// State is what a table knows, as far as it has to outlive the process: all that can
// make untrue what a disk still holds.
type State struct {
	Clock      command.Clock // applied
	Link       command.Link  // of the record at Clock; zero if not known
	Floor      command.Seq   // what was not tested since is dead
	Generation uint64        // never zero
	Keyed      uint64        // what keys the stored responses, see Table.Keyed

	Touches    uint64 // count of unsafe requests
	TouchFloor uint64 // everything up to here counts as touched

	// The marks above Floor and the touches above TouchFloor, each scope once or more
	// often; the highest counts. nil for none.
	Marks   iter.Seq2[response.ScopeHash, command.Seq]
	Touched iter.Seq2[response.ScopeHash, uint64]
	Softs   iter.Seq2[response.ScopeHash, hop.Soft] // a scope once for each soft mark on it

	Windows map[response.ScopeHash]int64 // what is not stored, until a time in Unix milliseconds
	Bans    []Ban
}

// NewGeneration draws a generation. It is random, so that no loss of what was known
// can bring one back under which something is stored.
func NewGeneration() uint64 {
	for {
		if g := rand.Uint64(); g != 0 {
			return g
		}
	}
}

// ErrFull says that a journal has no room for what was to be added.
var ErrFull = errors.New("journal is full")

// Room is how much a state may have.
type Room struct {
	Marks, Touched, Windows int
	BanBytes                int // of their texts
}

// Journal keeps what a table knows over a restart of the process (package journal).
// It may be used from any goroutine.
//
// A write that failed fails all that come after it, until Rewrite or Abandon has
// brought the journal to a state that is known. The journal logs that and counts it.
// Likewise ErrFull, which is no fault: the journal is to be written anew at once.
type Journal interface {
	// Room is how much a state may have that is written to it.
	Room() Room
	// Applied adds a command: its sequence and what it does, with bans that are whole.
	// Durable after Sync.
	Applied(seq command.Seq, e Effect) error
	// Forgot adds that the floor was raised and the marks up to it forgotten. Durable
	// after Sync.
	Forgot(floor command.Seq) error
	// Touched adds the n-th unsafe request. When it returns, the end of the process
	// loses nothing; a power cut does until Sync.
	Touched(scope response.ScopeHash, n, floor uint64) error
	// Sync makes durable what was added before.
	Sync() error
	// Due reports whether the journal should be written anew: it is much longer than
	// what it says, or abandoned.
	Due() bool
	// Rewrite puts a state in place of all that the journal holds, durable when it
	// returns. No Touched lies between the call of state and the end of Rewrite.
	Rewrite(state func() *State) error
	// Abandon makes sure that a restart finds no journal, so that all that is stored
	// will be dead then. When it has succeeded, everything but Rewrite succeeds and
	// does nothing.
	Abandon() error
}

// nowhere is the journal of a node that keeps nothing over a restart.
type nowhere struct{}

func (nowhere) Room() Room {
	return Room{MaxMarks, MaxTouched, MaxWindows, MaxBanBytes}
}
func (nowhere) Applied(command.Seq, Effect) error                { return nil }
func (nowhere) Forgot(command.Seq) error                         { return nil }
func (nowhere) Touched(response.ScopeHash, uint64, uint64) error { return nil }
func (nowhere) Sync() error                                      { return nil }
func (nowhere) Due() bool                                        { return false }
func (nowhere) Rewrite(func() *State) error                      { return nil }
func (nowhere) Abandon() error                                   { return nil }
