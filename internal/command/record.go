package command

import (
	"errors"
	"time"
)

// Version is the version of the records that this binary writes. A reader takes
// records of its own version and older; a newer one is handled by Decode's rule.
const Version = 1

// Limits of one record.
const (
	MaxScopes     = 500       // scopes in one command
	MaxScopeBytes = 8 << 10   // bytes of one scope's value
	MaxRecord     = 512 << 10 // bytes of one encoded record
)

// Kind says what a command asks of every node.
type Kind string

// The kinds of commands. Those of later versions are unknown here, and an unknown
// kind is never skipped in silence (see Decode).
const (
	Purge Kind = "purge" // what the scopes cover may not be used again (a hard mark)
)

// ScopeKind says how a scope's value selects stored responses.
type ScopeKind string

// The kinds of scopes, narrow to wide.
const (
	ScopeURL  ScopeKind = "url"  // Value: path and query as a client asks for it; all variants
	ScopeSite ScopeKind = "site" // all of Site; Value is empty
	ScopeAll  ScopeKind = "all"  // everything; Site and Value are empty
)

// Scope is the set of stored responses that a command covers.
type Scope struct {
	Kind  ScopeKind `json:"kind"`
	Site  string    `json:"site,omitempty"`
	Value string    `json:"value,omitempty"`
}

// Command is one record of the command log. It is immutable once appended.
type Command struct {
	Version int       `json:"v"`
	ID      string    `json:"id"` // unique, from the distributor; for receipts and the audit trail
	Kind    Kind      `json:"kind"`
	Scopes  []Scope   `json:"scopes"`
	At      time.Time `json:"at"`           // when the distributor took it
	By      string    `json:"by,omitempty"` // who asked
}

// Errors of encoding and decoding.
var (
	// ErrInvalid: the command breaks a limit or lacks something; the text says what.
	ErrInvalid = errors.New("invalid command")
	// ErrUnknown: the record is of a kind, version or shape that this binary does not
	// know. The Command returned beside it covers what the record may have meant: a
	// Purge of its sites where these can be read, else of everything.
	ErrUnknown = errors.New("unknown command record")
)
