package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// Limits of the small fields of a record, in bytes.
const (
	maxID   = 64
	maxSite = 63
	maxBy   = 256
	maxBase = 261 // a host name of 253, a colon and a port, and room
)

// What records of version 1 can say.
var (
	kinds1  = []Kind{Purge}
	scopes1 = []ScopeKind{ScopeURL, ScopeSite, ScopeAll}
)

// unknownID stands for the id of a record that does not tell a valid one.
const unknownID = "unknown"

// Encode writes a command as a record of the log, in the oldest version that can say it
// whatever c.Version is, with its time in UTC. The error wraps ErrInvalid.
func Encode(c Command) ([]byte, error) {
	c.Version = c.oldest()
	c.At = c.At.UTC()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a query's & would take six bytes
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	data := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("%w: %d bytes as a record, at most %d fit", ErrInvalid, len(data), MaxRecord)
	}
	return data, nil
}

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
		Version: 1, ID: unknownID, Kind: Purge,
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
	named := make([]Scope, len(scopes))
	for i, s := range scopes {
		named[i] = Scope{Kind: s.Kind, Site: s.Site}
	}
	c.Scopes = sitesOf(named)
	return c
}

// sitesOf are the sites that scopes name if each names one, else everything.
func sitesOf(scopes []Scope) []Scope {
	all := []Scope{{Kind: ScopeAll}}
	var sites []Scope
	seen := make(map[string]bool)
	for _, s := range scopes {
		if s.Kind == ScopeAll || !validSite(s.Site) {
			return all
		}
		if seen[s.Site] {
			continue
		}
		if len(sites) == MaxScopes {
			return all
		}
		seen[s.Site] = true
		sites = append(sites, Scope{Kind: ScopeSite, Site: s.Site})
	}
	if len(sites) == 0 {
		return all
	}
	return sites
}

// within reports whether the command asks for nothing but these.
func (c *Command) within(kinds []Kind, scopes []ScopeKind, noStore bool) bool {
	return slices.Contains(kinds, c.Kind) && (noStore || c.NoStore == 0) &&
		!slices.ContainsFunc(c.Scopes, func(s Scope) bool { return !slices.Contains(scopes, s.Kind) })
}

// oldest is the oldest version of records that can say the command.
func (c *Command) oldest() int {
	if c.within(kinds1, scopes1, false) && !c.Soft && c.For == (Target{}) {
		return 1
	}
	return 2
}
