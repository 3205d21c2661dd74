// Package wildcard matches the simplest patterns there are: texts in which * stands for any
// run of bytes.
package wildcard

import "strings"

// Match reports whether all of s is what a pattern stands for. It looks at each byte of s
// once for every part of the pattern at most, and allocates nothing.
func Match(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, head)
	if !ok {
		return false
	}
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
