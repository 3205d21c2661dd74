package site

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxProgram bounds a regular expression: instructions of its program. The time to
// match grows with their number times the length of the path.
const maxProgram = 1000

var (
	errTooLong = fmt.Errorf("is longer than %d bytes", MaxPattern)
	errTooMuch = errors.New("is too large: write smaller repetitions, or several rules")
)

// Path is a compiled PathMatch. It is immutable.
type Path struct {
	any    bool
	prefix string
	glob   *Glob
	regex  *regexp.Regexp
}

// CompilePath prepares a condition on paths, of which at most one field is given.
func CompilePath(m PathMatch) (*Path, error) {
	switch {
	case m.Glob != "":
		glob, err := CompileGlob(m.Glob)
		return &Path{glob: glob}, err
	case m.Regex != "":
		regex, err := compileRegex(m.Regex)
		return &Path{regex: regex}, err
	case len(m.Prefix) > MaxPattern:
		return nil, errTooLong
	}
	return &Path{any: m.Prefix == "", prefix: m.Prefix}, nil
}

func compileRegex(text string) (*regexp.Regexp, error) {
	if len(text) > MaxPattern {
		return nil, errTooLong
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	var wrong *syntax.Error
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("is no regular expression of RE2: %s: %q", wrong.Code, wrong.Expr)
	} else if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if len(program.Inst) > maxProgram {
		return nil, errTooMuch
	}
	return regexp.Compile(text)
}

// Match reports whether path matches. It allocates nothing.
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

// Captures are what $1, $2, … stand for where path matches, and nil where it does
// not: the rest after a prefix, what each wildcard of a glob stood for, the groups
// of an expression.
func (p *Path) Captures(path string) []string {
	regex := p.regex
	switch {
	case p.any:
		return []string{}
	case p.glob != nil:
		regex = p.glob.expr
	case regex == nil:
		if rest, ok := strings.CutPrefix(path, p.prefix); ok {
			return []string{rest}
		}
		return nil
	}
	if found := regex.FindStringSubmatch(path); found != nil {
		return found[1:]
	}
	return nil
}

// Groups is the number of captures that a match has.
func (p *Path) Groups() int {
	switch {
	case p.any:
		return 0
	case p.glob != nil:
		return p.glob.expr.NumSubexp()
	case p.regex != nil:
		return p.regex.NumSubexp()
	}
	return 1
}

// Glob is a compiled pattern for whole paths: * stands for any bytes but the slash,
// ** for any, ? for one that is no slash. It is immutable.
type Glob struct {
	pattern string
	expr    *regexp.Regexp // the same, for captures
}

// CompileGlob prepares a pattern.
func CompileGlob(pattern string) (*Glob, error) {
	if len(pattern) > MaxPattern {
		return nil, errTooLong
	}
	var expr strings.Builder
	expr.WriteString("^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c >= 0x80:
			return nil, errors.New("has characters that are not ASCII: write them as clients send them, %-encoded")
		case strings.HasPrefix(pattern[i:], "**"):
			i++
			expr.WriteString("((?s:.*))")
		case c == '*':
			expr.WriteString("([^/]*)")
		case c == '?':
			expr.WriteString("([^/])")
		default:
			expr.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	expr.WriteString("$")
	compiled, err := regexp.Compile(expr.String())
	return &Glob{pattern, compiled}, err
}

// Match reports whether all of s matches. It takes time in proportion to the product
// of both lengths at most.
//
// It suffices to come back to the last * and the last ** when a try fails: what an
// earlier wildcard could take in their place, they can take themselves, and no *
// reaches beyond a slash that a ** before it has not passed.
func (g *Glob) Match(s string) bool {
	p := g.pattern
	i, j := 0, 0          // in s and p
	starS, starP := -1, 0 // where the last * took up to, and what follows it
	allS, allP := -1, 0   // likewise the last **
	for i < len(s) || j < len(p) {
		switch {
		case strings.HasPrefix(p[j:], "**"):
			j += 2
			allS, allP, starS = i, j, -1
			continue
		case j < len(p) && p[j] == '*':
			j++
			starS, starP = i, j
			continue
		case i < len(s) && j < len(p) && (p[j] == s[i] || p[j] == '?' && s[i] != '/'):
			i++
			j++
			continue
		}
		switch {
		case starS >= 0 && starS < len(s) && s[starS] != '/':
			starS++
			i, j = starS, starP
		case allS >= 0 && allS < len(s):
			allS++
			i, j, starS = allS, allP, -1
		default:
			return false
		}
	}
	return true
}
