// Package version1 is the reading of records as the release before record version 2 had
// it, word for word but for the encoder, which is left out. It is frozen: tests hold what
// is written today against what nodes of that release make of it.
package version1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
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

// Limits of the small fields of a record, in bytes.
const (
	maxID   = 64
	maxSite = 63
	maxBy   = 256
)

// unknownID stands for the id of a record that does not tell a valid one.
const unknownID = "unknown"

// Decode reads a record of the log. It is strict: whatever is not fully known makes
// it return ErrUnknown (wrapped, saying what) beside a Purge that covers all that the
// record may have meant, which is for the caller to apply: an unknown record is never
// skipped in silence. No other error comes back.
func Decode(data []byte) (Command, error) {
	c, err := decode(data)
	if err == nil {
		return c, nil
	}
	return widen(data), fmt.Errorf("%w: %w", ErrUnknown, err)
}

func decode(data []byte) (Command, error) {
	var c Command
	if len(data) > MaxRecord {
		return c, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxRecord)
	}
	if !utf8.Valid(data) {
		// The decoder would put U+FFFD in the place of what is not UTF-8.
		return c, errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return c, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return c, errors.New("something follows the record")
	}
	if c.Version < 1 || c.Version > Version {
		return c, fmt.Errorf("version %d, this binary reads 1 to %d", c.Version, Version)
	}
	return c, c.Validate()
}

// widen is the purge that covers whatever an unknown record may have meant: the
// sites that its scopes name if each names one, else everything.
func widen(data []byte) Command {
	c := Command{
		Version: Version, ID: unknownID, Kind: Purge,
		Scopes: []Scope{{Kind: ScopeAll}}, At: time.Unix(0, 0).UTC(),
	}
	if len(data) > MaxRecord || !utf8.Valid(data) {
		return c
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return c
	}
	// A field of another shape than expected leaves what it would have told unset.
	var id, by string
	if json.Unmarshal(fields["id"], &id) == nil && validText(id, maxID) && id != "" {
		c.ID = id
	}
	if json.Unmarshal(fields["by"], &by) == nil && validText(by, maxBy) {
		c.By = by
	}
	var at time.Time
	if json.Unmarshal(fields["at"], &at) == nil && validTime(at.UTC()) {
		c.At = at.UTC()
	}
	var scopes []struct {
		Kind ScopeKind `json:"kind"`
		Site string    `json:"site"`
	}
	if json.Unmarshal(fields["scopes"], &scopes) != nil || len(scopes) == 0 {
		return c
	}
	var sites []Scope
	for _, s := range scopes {
		if s.Kind == ScopeAll || !validSite(s.Site) {
			return c
		}
		scope := Scope{Kind: ScopeSite, Site: s.Site}
		if slices.Contains(sites, scope) {
			continue
		}
		if len(sites) == MaxScopes {
			return c
		}
		sites = append(sites, scope)
	}
	c.Scopes = sites
	return c
}

// Validate holds a command against the limits of a record. The error wraps
// ErrInvalid and says what is wrong.
func (c Command) Validate() error {
	switch {
	case c.Version != Version:
		return fmt.Errorf("%w: version %d", ErrInvalid, c.Version)
	case c.ID == "" || !validText(c.ID, maxID):
		return fmt.Errorf("%w: an id of 1 to %d bytes without control characters is needed", ErrInvalid, maxID)
	case c.Kind != Purge:
		return fmt.Errorf("%w: unknown kind %.40q", ErrInvalid, c.Kind)
	case !validText(c.By, maxBy):
		return fmt.Errorf("%w: by: at most %d bytes without control characters", ErrInvalid, maxBy)
	case !validTime(c.At):
		return fmt.Errorf("%w: at: a time between the years 1970 and 9999 is needed", ErrInvalid)
	case len(c.Scopes) == 0 || len(c.Scopes) > MaxScopes:
		return fmt.Errorf("%w: %d scopes, 1 to %d are possible", ErrInvalid, len(c.Scopes), MaxScopes)
	}
	for i, s := range c.Scopes {
		if err := s.validate(); err != nil {
			return fmt.Errorf("%w: scope %d: %w", ErrInvalid, i+1, err)
		}
	}
	return nil
}

func (s Scope) validate() error {
	if len(s.Value) > MaxScopeBytes {
		return fmt.Errorf("value of %d bytes, at most %d fit", len(s.Value), MaxScopeBytes)
	}
	switch s.Kind {
	case ScopeURL:
		switch {
		case !validSite(s.Site):
			return fmt.Errorf("site %.80q: lower-case letters, digits and dashes, at most %d", s.Site, maxSite)
		case !strings.HasPrefix(s.Value, "/"):
			return fmt.Errorf("url %.80q: path and query, from the first slash", s.Value)
		case !validText(s.Value, MaxScopeBytes) || strings.Contains(s.Value, " "):
			return fmt.Errorf("url %.80q: UTF-8 without spaces and control characters", s.Value)
		}
	case ScopeSite:
		switch {
		case !validSite(s.Site):
			return fmt.Errorf("site %.80q: lower-case letters, digits and dashes, at most %d", s.Site, maxSite)
		case s.Value != "":
			return errors.New("a whole site has no value")
		}
	case ScopeAll:
		if s.Site != "" || s.Value != "" {
			return errors.New("everything has neither site nor value")
		}
	default:
		return fmt.Errorf("unknown kind %.40q", s.Kind)
	}
	return nil
}

// validSite holds a site's name against the rule of package site.
func validSite(name string) bool {
	return name != "" && len(name) <= maxSite &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// validText is UTF-8 without control characters, of at most limit bytes.
func validText(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// validTime is what survives a round trip through a record.
func validTime(t time.Time) bool { return !t.Before(time.Unix(0, 0)) && t.Year() <= 9999 }
