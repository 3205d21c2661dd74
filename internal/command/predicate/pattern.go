package predicate

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// plain checks the text of a glob, which every text without control characters is, or of
// a regular expression.
func plain(what, pattern string) error {
	if len(pattern) > MaxPattern {
		return fmt.Errorf("%w: %s has %d bytes, at most %d fit", ErrInvalid, what, len(pattern), MaxPattern)
	}
	if !utf8.ValidString(pattern) || strings.ContainsFunc(pattern, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
		return fmt.Errorf("%w: %s is not UTF-8 without control characters", ErrInvalid, what)
	}
	return nil
}

// expression compiles a regular expression of bounded size; nil for "".
func expression(what, pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	if err := plain(what, pattern); err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
	}
	// Before it is compiled, because repetitions are written out there.
	if n := size(tree); n > MaxProgram {
		return nil, fmt.Errorf("%w: %s is too large: about %d steps, at most %d fit", ErrInvalid, what, n, MaxProgram)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
	}
	return re, nil
}

// size is about how many instructions a tree compiles to, at most some above MaxProgram.
func size(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n = 1 + len(re.Rune)/16 // one instruction, that takes longer the more ranges it has
	}
	for _, sub := range re.Sub {
		if n += size(sub); n > MaxProgram {
			return n
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1) + 1
	}
	return n
}

// overlap reports whether two globs can stand for one text.
func overlap(a, b string) bool {
	// row[j]: whether a[i:] and b[j:] can. From the ends backwards.
	row := make([]bool, len(b)+1)
	next := make([]bool, len(b)+1)
	for i := len(a); i >= 0; i-- {
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a) && j == len(b):
				row[j] = true
			case i < len(a) && a[i] == '*':
				row[j] = next[j] || j < len(b) && row[j+1]
			case j < len(b) && b[j] == '*':
				row[j] = row[j+1] || i < len(a) && next[j]
			default:
				row[j] = i < len(a) && j < len(b) && a[i] == b[j] && next[j+1]
			}
		}
		row, next = next, row
	}
	return next[0]
}

// fieldName reports whether s is a field's name (RFC 9110 §5.1) of a bounded length.
func fieldName(s string) bool {
	return s != "" && len(s) <= maxFieldLen &&
		strings.Trim(s, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}
