package site

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Path is a compiled PathMatch. It is immutable.
type Path struct {
	prefix string
	glob   *Glob
	regex  *regexp.Regexp
	any    bool
}

// CompilePath prepares a condition on paths. The error says which field is wrong
// and why.
func CompilePath(m PathMatch) (*Path, error) {
	switch {
	case m == PathMatch{}:
		return &Path{any: true}, nil
	case m.Glob != "":
		glob, err := CompileGlob(m.Glob, '/')
		return &Path{glob: glob}, err
	case m.Regex != "":
		if len(m.Regex) > MaxPattern {
			return nil, errTooLong
		}
		regex, err := regexp.Compile(m.Regex)
		return &Path{regex: regex}, err
	}
	return &Path{prefix: m.Prefix}, nil
}

var errTooLong = fmt.Errorf("longer than %d bytes", MaxPattern)

// Match reports whether path matches. It allocates nothing but for what a regular
// expression needs.
func (p *Path) Match(path string) bool {
	switch {
	case p.any:
		return true
	case p.glob != nil:
		return p.glob.Match(path)
	case p.regex != nil:
		return p.regex.MatchString(path)
	}
	return strings.HasPrefix(path, p.prefix)
}

// Captures are what $1, $2, … stand for where path matches, nil where it does not.
func (p *Path) Captures(path string) []string {
	switch {
	case p.any:
		return []string{}
	case p.glob != nil:
		return p.glob.Captures(path)
	case p.regex != nil:
		if found := p.regex.FindStringSubmatch(path); found != nil {
			return found[1:]
		}
		return nil
	}
	if rest, ok := strings.CutPrefix(path, p.prefix); ok {
		return []string{rest}
	}
	return nil
}

// Groups is the number of captures that a match has.
func (p *Path) Groups() int {
	switch {
	case p.any:
		return 0
	case p.glob != nil:
		return p.glob.Groups()
	case p.regex != nil:
		return p.regex.NumSubexp()
	}
	return 1
}

// Glob is a compiled pattern in which * stands for any characters but a separator,
// ** for any, and ? for one that is no separator. It is immutable.
type Glob struct {
	expr *regexp.Regexp
}

// CompileGlob prepares a pattern; separator 0 is none.
func CompileGlob(pattern string, separator byte) (*Glob, error) {
	if len(pattern) > MaxPattern {
		return nil, errTooLong
	}
	if pattern == "" {
		return nil, errors.New("empty")
	}
	one := "(?s:.)"
	if separator != 0 {
		one = "[^" + regexp.QuoteMeta(string(separator)) + "]"
	}
	var expr strings.Builder
	expr.WriteString("^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*' && i+1 < len(pattern) && pattern[i+1] == '*':
			i++
			expr.WriteString("((?s:.*))")
		case c == '*':
			expr.WriteString("(" + one + "*)")
		case c == '?':
			expr.WriteString("(" + one + ")")
		default:
			expr.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	expr.WriteString("$")
	compiled, err := regexp.Compile(expr.String())
	return &Glob{compiled}, err
}

// Match reports whether all of s matches.
func (g *Glob) Match(s string) bool { return g.expr.MatchString(s) }

// Captures are what each wildcard stood for, nil where s does not match.
func (g *Glob) Captures(s string) []string {
	if found := g.expr.FindStringSubmatch(s); found != nil {
		return found[1:]
	}
	return nil
}

// Groups is the number of wildcards.
func (g *Glob) Groups() int { return g.expr.NumSubexp() }
