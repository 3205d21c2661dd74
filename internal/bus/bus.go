// Package bus is the contract for what carries the command log and the telemetry
// between the roles: NATS JetStream (embedded in the distributor, or reached by
// address) in package jetstream, and a form in memory, for tests under virtual
// time and for a lone edge, in package memory. Package bustest holds the suite that
// every form passes.
package bus

import (
	"context"
	"errors"
	"time"

	"freshet/internal/command"
)

// Errors that a Bus returns, possibly wrapped.
var (
	ErrNoLog    = errors.New("no command log")           // there is no log yet
	ErrExists   = errors.New("command log exists")       // Create: there is one already
	ErrConflict = errors.New("command log has moved on") // Append: last is not what the writer thinks
	ErrReplaced = errors.New("command log was replaced") // Read: the log is not the one that was asked for
	ErrClosed   = errors.New("bus is closed")            // Close was called
)

// Head describes the command log at one moment. First is the oldest sequence still
// held, Last the newest ever given out; an empty log has Last == First-1.
type Head struct {
	Log         command.LogID
	First, Last command.Seq
}

// Clock is the logical time at the head.
func (h Head) Clock() command.Clock { return command.Clock{Log: h.Log, Seq: h.Last} }

// Entry is one record as it stands in the log.
type Entry struct {
	Seq  command.Seq
	Data []byte // an encoded command.Command; the receiver may keep it
	At   time.Time
	Prev command.Link // of the record before; zero where that was not known, or the writer's release knew no links
}

// Log is the command log: append-only, with one order for all.
type Log interface {
	// Create makes an empty log with a new random id whose first sequence will be
	// first. ErrExists when there is a log.
	Create(ctx context.Context, first command.Seq) (Head, error)

	// Head is linearizable: it knows every append that was acknowledged before the
	// call. ErrNoLog when there is none.
	Head(ctx context.Context) (Head, error)

	// Seal ends the log for good: nothing is appended to it any more, and there is no log
	// until Create makes another. Its records may be kept for a while. Readers end with
	// ErrReplaced, or deliver nothing more. ErrNoLog when the log is not there, or sealed.
	Seal(ctx context.Context, log command.LogID) error

	// Append adds a record with the link of the one before, if the log's last sequence is after, and returns when it
	// is durable. ErrConflict when another writer was faster (read Head and decide
	// anew); after any other error the record may or may not be in the log.
	Append(ctx context.Context, data []byte, after command.Seq) (command.Seq, error)

	// Link is the link of the record at seq, as a rule the last one; zero if it is not known
	// or no longer held.
	Link(ctx context.Context, seq command.Seq) (command.Link, error)

	// Read starts reading at from (or at the oldest held record above it: the caller
	// looks for the gap). ErrReplaced if the log is not the one with that id.
	Read(ctx context.Context, log command.LogID, from command.Seq) (Reader, error)
}

// Reader delivers records in order. Next blocks until there is one; ErrReplaced
// when the log is gone or another. It is for one goroutine; Close may come from any
// and ends a waiting Next with ErrClosed.
type Reader interface {
	Next(ctx context.Context) (Entry, error)
	Close()
}

// Telemetry carries small messages that may be lost: at most once, to those who
// listen at the moment, in no promised order between publishers.
type Telemetry interface {
	// Publish sends data (at most 64 KiB) under a subject of dot-separated lower-case
	// words. It does not wait for anyone to receive.
	Publish(subject string, data []byte) error
	// Subscribe calls fn, one call at a time, for every message under subject, where
	// the last word may be ">" for any rest. The returned function ends it and
	// waits for a running call; it must not be called from fn.
	Subscribe(subject string, fn func(subject string, data []byte)) (cancel func(), err error)
}

// Bus is both, over one connection.
type Bus interface {
	Log
	Telemetry
	// Connected is nil, or says why the bus cannot be reached just now.
	Connected() error
	// Close ends readers and subscriptions and releases the connection.
	Close()
}

// Subjects of telemetry.
const (
	SubjectProgress = "progress" // progress.<node>: a node's command.Progress
	SubjectLoad     = "load"     // load.<node>: a node's load.Report
)
