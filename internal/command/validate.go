package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// scopesOf are the kinds of scopes that a kind of command takes.
var scopesOf = map[Kind][]ScopeKind{
	Purge:      {ScopeURL, ScopeKey, ScopePrefix, ScopeTag, ScopeSite, ScopeAll},
	Invalidate: {ScopeURL, ScopeKey, ScopePrefix, ScopeTag, ScopeSite, ScopeAll},
	Refresh:    {ScopeURL, ScopeKey},
	Prefetch:   {ScopeURL},
	Ban:        {ScopeMatch},
}

// Takes reports whether a kind of command takes a kind of scope.
func (k Kind) Takes(s ScopeKind) bool { return slices.Contains(scopesOf[k], s) }

// Validate holds a command against the limits of a record. The error wraps
// ErrInvalid and says what is wrong.
func (c Command) Validate() error {
	switch {
	case c.Version < c.oldest() || c.Version > Version:
		return fmt.Errorf("%w: version %d", ErrInvalid, c.Version)
	case c.ID == "" || !validText(c.ID, maxID):
		return fmt.Errorf("%w: an id of 1 to %d bytes without control characters is needed", ErrInvalid, maxID)
	case scopesOf[c.Kind] == nil:
		return fmt.Errorf("%w: unknown kind %.40q", ErrInvalid, c.Kind)
	case !validText(c.By, maxBy):
		return fmt.Errorf("%w: by: at most %d bytes without control characters", ErrInvalid, maxBy)
	case !validTime(c.At):
		return fmt.Errorf("%w: at: a time between the years 1970 and 9999 is needed", ErrInvalid)
	case c.Soft && c.Kind != Ban:
		return fmt.Errorf("%w: soft is of a ban alone", ErrInvalid)
	case c.NoStore > MaxNoStore:
		return fmt.Errorf("%w: no_store is at most %s", ErrInvalid, MaxNoStore.Duration())
	case c.NoStore > 0 && !c.Hard():
		return fmt.Errorf("%w: no_store is of a purge or a hard ban alone", ErrInvalid)
	case c.For != (Target{}) && c.Kind != Prefetch:
		return fmt.Errorf("%w: for is of a prefetch alone", ErrInvalid)
	case !validText(c.For.Role, maxSite) || !validText(c.For.PoP, maxSite):
		return fmt.Errorf("%w: for: at most %d bytes without control characters", ErrInvalid, maxSite)
	case len(c.Scopes) == 0 || len(c.Scopes) > MaxScopes:
		return fmt.Errorf("%w: %d scopes, 1 to %d are possible", ErrInvalid, len(c.Scopes), MaxScopes)
	}
	matches := 0
	for i, s := range c.Scopes {
		if s.Kind == ScopeMatch {
			if matches++; matches > MaxMatches {
				return fmt.Errorf("%w: more than %d predicates", ErrInvalid, MaxMatches)
			}
		}
		if err := s.Validate(); err != nil {
			return fmt.Errorf("%w: scope %d: %w", ErrInvalid, i+1, err)
		}
		if named := s.Base != ""; named != (s.Kind == ScopeURL && (c.Kind == Refresh || c.Kind == Prefetch)) {
			return fmt.Errorf("%w: scope %d: a base is of the urls of a refresh and a prefetch", ErrInvalid, i+1)
		}
		if !c.Kind.Takes(s.Kind) {
			return fmt.Errorf("%w: scope %d: a %s takes no %s", ErrInvalid, i+1, c.Kind, s.Kind)
		}
	}
	return nil
}

// Validate holds one scope against the limits of a record, and says what is wrong.
func (s Scope) Validate() error {
	if len(s.Value) > MaxScopeBytes {
		return fmt.Errorf("value of %d bytes, at most %d fit", len(s.Value), MaxScopeBytes)
	}
	if s.Match != nil && s.Kind != ScopeMatch {
		return fmt.Errorf("a %.40s has no predicate", s.Kind)
	}
	if s.Base != "" && !validBase(s.Base) {
		return fmt.Errorf("base %.80q: http or https, host and port", s.Base)
	}
	switch s.Kind {
	case ScopeURL, ScopeKey, ScopePrefix, ScopeTag, ScopeSite:
		if !validSite(s.Site) {
			return fmt.Errorf("site %.80q: lower-case letters, digits and dashes, at most %d", s.Site, maxSite)
		}
	}
	switch s.Kind {
	case ScopeURL:
		switch {
		case !strings.HasPrefix(s.Value, "/"):
			return fmt.Errorf("url %.80q: path and query, from the first slash", s.Value)
		case !validText(s.Value, MaxScopeBytes) || strings.Contains(s.Value, " "):
			return fmt.Errorf("url %.80q: UTF-8 without spaces and control characters", s.Value)
		}
	case ScopeKey:
		switch {
		case !strings.HasPrefix(s.Value, s.Site+"\n") || len(s.Value) == len(s.Site)+1:
			return fmt.Errorf("key %.80q: the first of its lines is the site, and there are others", s.Value)
		case !validText(strings.ReplaceAll(s.Value, "\n", ""), MaxScopeBytes):
			return fmt.Errorf("key %.80q: lines of UTF-8 without control characters", s.Value)
		}
	case ScopePrefix:
		switch {
		case !strings.HasPrefix(s.Value, "/") || !strings.HasSuffix(s.Value, "/"):
			return fmt.Errorf("prefix %.80q: a path that begins and ends in a slash; any other beginning of a path is a matter of a ban", s.Value)
		case strings.Count(s.Value, "/") > MaxBoundaries:
			return fmt.Errorf("prefix %.80q: at most %d slashes; deeper ones are a matter of a ban", s.Value, MaxBoundaries)
		case !validText(s.Value, MaxScopeBytes) || strings.ContainsAny(s.Value, " ?#"):
			return fmt.Errorf("prefix %.80q: a path of UTF-8 without query, spaces and control characters", s.Value)
		}
	case ScopeTag:
		if s.Value == "" || !validText(s.Value, MaxTagBytes) {
			return fmt.Errorf("tag %.80q: 1 to %d bytes of UTF-8 without control characters", s.Value, MaxTagBytes)
		}
	case ScopeSite:
		if s.Value != "" {
			return errors.New("a whole site has no value")
		}
	case ScopeAll:
		if s.Site != "" || s.Value != "" {
			return errors.New("everything has neither site nor value")
		}
	case ScopeMatch:
		switch {
		case s.Site != "" && !validSite(s.Site):
			return fmt.Errorf("site %.80q: lower-case letters, digits and dashes, at most %d", s.Site, maxSite)
		case s.Value != "" || s.Match == nil:
			return errors.New("a match has a predicate, and no value")
		}
		return s.Match.Validate()
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

// validBase is a scheme and an authority without user information.
func validBase(base string) bool {
	authority, ok := strings.CutPrefix(base, "https://")
	if !ok {
		authority, ok = strings.CutPrefix(base, "http://")
	}
	return ok && authority != "" && len(authority) <= maxBase &&
		strings.Trim(authority, "abcdefghijklmnopqrstuvwxyz0123456789-._:[]") == ""
}

// validText is UTF-8 without control characters, of at most limit bytes.
func validText(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// validTime is what survives a round trip through a record.
func validTime(t time.Time) bool { return !t.Before(time.Unix(0, 0)) && t.Year() <= 9999 }
