package command

import (
	"errors"
	"time"

	"freshet/internal/command/predicate"
)

// Version is the newest version of records that this binary reads and writes. It reads
// the older ones too; a newer one is handled by Decode's rule. It writes each command in
// the oldest version that can say it, so that nodes of the release before understand what
// they can.
//
//	1  purge of urls, sites and everything
//	2  all other kinds and scopes, no_store, soft, for
const Version = 2

// Limits of one record.
const (
	MaxScopes     = 500                 // scopes in one command
	MaxMatches    = 16                  // of them with a predicate
	MaxScopeBytes = 8 << 10             // bytes of one scope's value
	MaxTagBytes   = 1 << 10             // bytes of a surrogate key
	MaxBoundaries = 16                  // slashes in a path prefix
	MaxRecord     = 512 << 10           // bytes of one encoded record
	MaxNoStore    = Seconds(30 * 86400) // of NoStore
)

// Kind says what a command asks of every node.
type Kind string

// The kinds of commands. Those of later versions are unknown here, and an unknown
// kind is never skipped in silence (see Decode).
const (
	Purge      Kind = "purge"      // what the scopes cover may not be used again (a hard mark)
	Invalidate Kind = "invalidate" // it is stale from now on (a soft mark)
	Refresh    Kind = "refresh"    // likewise, and whoever holds it validates it now; urls and keys only
	Prefetch   Kind = "prefetch"   // it is fetched where it is not held; urls only; no mark
	Ban        Kind = "ban"        // what the predicates cover may not be used again, or with Soft is stale
)

// ScopeKind says how a scope's value selects stored responses.
type ScopeKind string

// The kinds of scopes.
const (
	ScopeURL    ScopeKind = "url"    // Value: path and query as a client asks for it; all variants
	ScopeKey    ScopeKind = "key"    // Value: text of a cache key, the first line of which is the site; all variants
	ScopePrefix ScopeKind = "prefix" // Value: a path that begins and ends in a slash; all that is below it
	ScopeTag    ScopeKind = "tag"    // Value: a surrogate key of the site
	ScopeSite   ScopeKind = "site"   // all of Site; Value is empty
	ScopeAll    ScopeKind = "all"    // everything; Site and Value are empty
	ScopeMatch  ScopeKind = "match"  // what Match covers, of Site if that is set; Value is empty; of a Ban alone
)

// Scope is the set of stored responses that a command covers, or a part of it.
type Scope struct {
	Kind  ScopeKind        `json:"kind"`
	Site  string           `json:"site,omitempty"`
	Value string           `json:"value,omitempty"`
	Match *predicate.Match `json:"match,omitempty"` // of ScopeMatch alone
	// Base is the scheme and authority under which clients ask for a URL: "https://host".
	// A Refresh or Prefetch names it, so that nodes can ask in their place.
	Base string `json:"base,omitempty"`
}

// Command is one record of the command log. It is immutable once appended.
type Command struct {
	Version int       `json:"v"`
	ID      string    `json:"id"` // unique, from the distributor; for receipts and the audit trail
	Kind    Kind      `json:"kind"`
	Scopes  []Scope   `json:"scopes"`
	At      time.Time `json:"at"`           // when the distributor took it
	By      string    `json:"by,omitempty"` // who asked

	Soft    bool    `json:"soft,omitempty"`     // of a Ban: what it covers is stale, not dead
	NoStore Seconds `json:"no_store,omitempty"` // of what removes (see Hard): for so long from At on nothing is stored that it covers
	For     Target  `json:"for,omitzero"`       // of a Prefetch: who is meant

	// Link is that of the record that the command was read from; the follower knows it, and
	// a node keeps it with what it has applied. It is no part of the record.
	Link Link `json:"-"`
}

// Seconds is a duration in a record.
type Seconds uint32

// Duration is s as the rest of the program has it.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Target says which nodes are meant: those of which each field that is set is true.
type Target struct {
	Role string `json:"role,omitempty"` // edge or mid
	PoP  string `json:"pop,omitempty"`
}

// Includes reports whether a node is meant.
func (t Target) Includes(role, pop string) bool {
	return (t.Role == "" || t.Role == role) && (t.PoP == "" || t.PoP == pop)
}

// Hard reports whether the command removes: what it covers may not be used again.
func (c *Command) Hard() bool { return c.Kind == Purge || c.Kind == Ban && !c.Soft }

// NoStoreUntil is until when nothing may be stored that the command covers; the zero time
// if it does not say so.
func (c *Command) NoStoreUntil() time.Time {
	if c.NoStore == 0 {
		return time.Time{}
	}
	return c.At.Add(c.NoStore.Duration())
}

// Only is c if its kind is among kinds, all its scopes are of kinds among scopes, and it has
// no NoStore unless noStore: what a node can carry out that can do so much. Else it is a
// Purge of the sites that c names, or of everything: what a node cannot carry out it never
// skips.
func (c Command) Only(kinds []Kind, scopes []ScopeKind, noStore bool) Command {
	if c.within(kinds, scopes, noStore) {
		return c
	}
	wide := Command{Version: c.Version, ID: c.ID, Kind: Purge, At: c.At, By: c.By, Link: c.Link}
	wide.Scopes = sitesOf(c.Scopes)
	return wide
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
