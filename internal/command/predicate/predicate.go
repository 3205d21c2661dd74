// Package predicate is what a ban selects stored responses by: host, path and fields of
// the stored header, each by a glob or a regular expression. All of it is bounded, and
// whatever is too long to be looked at counts as matched: a ban may cover too much, never
// too little.
package predicate

import (
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strings"

	"freshet/internal/wildcard"
)

// Bounds of a predicate, and of what it looks at.
const (
	MaxPattern  = 1 << 10 // bytes of one glob or regular expression
	MaxHeaders  = 8       // fields that one predicate looks at
	MaxProgram  = 1000    // instructions of one regular expression, about
	MaxSubject  = 8 << 10 // bytes of a path or a field value that are looked at; longer ones match
	maxHost     = 253
	maxFieldLen = 64 // bytes of a field's name
)

// ErrInvalid is wrapped by the errors of Validate and Compile.
var ErrInvalid = errors.New("not a predicate")

// Match selects stored responses: those for which everything holds that it names. One
// that names nothing is invalid. Regular expressions are RE2's and find what they look
// for anywhere unless they are anchored; globs stand for the whole, with * for any run of
// characters, of slashes too.
type Match struct {
	// Host is a glob over the hosts of the response's site, lower case.
	Host string `json:"host,omitempty"`
	// Path is a glob over the path that clients ask for, without the query, as they
	// write it: percent-encodings are not decoded. PathRE is a regular expression over
	// the same.
	Path   string `json:"path,omitempty"`
	PathRE string `json:"path_re,omitempty"`
	// Headers are held against the header of the stored response.
	Headers []Header `json:"headers,omitempty"`
}

// Header holds if any line of the field does; with neither Value nor ValueRE, if there is
// one.
type Header struct {
	Name    string `json:"name"`               // any case
	Value   string `json:"value,omitempty"`    // a glob
	ValueRE string `json:"value_re,omitempty"` // a regular expression
}

// Subject is a stored response as a predicate sees it.
type Subject struct {
	// Hosts are those of its site, as the site's document has them: "*" is every host,
	// "*.example.com" all below it.
	Hosts []string
	// Path is the path of its target, without the query.
	Path string
	// Values are the values of a field of its header. nil: that is not known, and every
	// condition on the header counts as matched.
	Values func(name string) iter.Seq[string]
}

// Matcher is a predicate that is ready for use, by any goroutine.
type Matcher struct {
	host    string
	path    string
	pathRE  *regexp.Regexp
	headers []field
}

type field struct {
	name  string
	value string
	re    *regexp.Regexp
}

// Validate is Compile without its result.
func (m *Match) Validate() error {
	_, err := m.Compile()
	return err
}

// Compile prepares a predicate. The error wraps ErrInvalid.
func (m *Match) Compile() (*Matcher, error) {
	c := &Matcher{host: m.Host, path: m.Path}
	if m.Host == "" && m.Path == "" && m.PathRE == "" && len(m.Headers) == 0 {
		return nil, fmt.Errorf("%w: it names neither host, path nor header", ErrInvalid)
	}
	if len(m.Host) > maxHost || strings.Trim(m.Host, "abcdefghijklmnopqrstuvwxyz0123456789-._:[]*") != "" {
		return nil, fmt.Errorf("%w: host %.80q: a name in lower case, with * for any run of characters, at most %d bytes", ErrInvalid, m.Host, maxHost)
	}
	if m.Path != "" && m.Path[0] != '/' && m.Path[0] != '*' {
		return nil, fmt.Errorf("%w: path %.80q: it should begin with a slash or *", ErrInvalid, m.Path)
	}
	if strings.ContainsAny(m.Path, "?# ") {
		return nil, fmt.Errorf("%w: path %.80q: paths are matched without the query, and have no spaces", ErrInvalid, m.Path)
	}
	var err error
	if err = plain("path", m.Path); err != nil {
		return nil, err
	}
	if c.pathRE, err = expression("path_re", m.PathRE); err != nil {
		return nil, err
	}
	if len(m.Headers) > MaxHeaders {
		return nil, fmt.Errorf("%w: %d header conditions, at most %d fit", ErrInvalid, len(m.Headers), MaxHeaders)
	}
	for _, h := range m.Headers {
		if !fieldName(h.Name) {
			return nil, fmt.Errorf("%w: header %.80q: not the name of a field", ErrInvalid, h.Name)
		}
		what := "value of " + h.Name
		if err := plain(what, h.Value); err != nil {
			return nil, err
		}
		re, err := expression(what, h.ValueRE)
		if err != nil {
			return nil, err
		}
		c.headers = append(c.headers, field{h.Name, h.Value, re})
	}
	return c, nil
}

// Matches reports whether the predicate covers a stored response.
func (c *Matcher) Matches(s Subject) bool {
	if !c.MatchesHosts(s.Hosts) {
		return false
	}
	if len(s.Path) <= MaxSubject {
		if c.path != "" && !wildcard.Match(c.path, s.Path) || c.pathRE != nil && !c.pathRE.MatchString(s.Path) {
			return false
		}
	}
	if s.Values == nil {
		return true
	}
	for i := range c.headers {
		if !c.headers[i].matches(s.Values) {
			return false
		}
	}
	return true
}

// MatchesHosts reports whether the predicate may cover what a site with these hosts has.
func (c *Matcher) MatchesHosts(hosts []string) bool {
	if c.host == "" {
		return true
	}
	for _, h := range hosts {
		if overlap(c.host, h) {
			return true
		}
	}
	return false
}

// OfHeaders reports whether the predicate looks at the header of a stored response.
func (c *Matcher) OfHeaders() bool { return len(c.headers) > 0 }

func (f *field) matches(values func(string) iter.Seq[string]) bool {
	for v := range values(f.name) {
		if len(v) > MaxSubject {
			return true
		}
		if (f.value == "" || wildcard.Match(f.value, v)) && (f.re == nil || f.re.MatchString(v)) {
			return true
		}
	}
	return false
}

// String names the predicate for people, on one line.
func (m *Match) String() string {
	var parts []string
	add := func(name, operator, pattern string) {
		if pattern != "" {
			parts = append(parts, name+" "+operator+" "+pattern)
		}
	}
	add("host", "=", m.Host)
	add("path", "=", m.Path)
	add("path", "~", m.PathRE)
	for _, h := range m.Headers {
		if h.Value == "" && h.ValueRE == "" {
			parts = append(parts, "header "+h.Name)
		}
		add("header "+h.Name, "=", h.Value)
		add("header "+h.Name, "~", h.ValueRE)
	}
	return strings.Join(parts, " and ")
}
