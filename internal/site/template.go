package site

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Template is a compiled text with $1, ${1}, ${path}, ${query} and ${host}; $$ is a
// dollar. It is immutable.
type Template struct {
	parts  []templatePart
	groups int
}

// templatePart is text, or a placeholder: a group from 1, or a name.
type templatePart struct {
	text  string
	group int
	name  string
}

// maxPlaceholders bounds how much longer than a path a template can make it.
const maxPlaceholders = 16

// CompileTemplate prepares a template.
func CompileTemplate(text string) (*Template, error) {
	if len(text) > MaxPattern {
		return nil, errTooLong
	}
	t := new(Template)
	placeholders := 0
	for text != "" {
		before, rest, found := strings.Cut(text, "$")
		if before != "" {
			t.parts = append(t.parts, templatePart{text: before})
		}
		if !found {
			break
		}
		part, after, err := placeholder(rest)
		if err != nil {
			return nil, err
		}
		if part.text == "" {
			placeholders++
		}
		t.groups = max(t.groups, part.group)
		t.parts = append(t.parts, part)
		text = after
	}
	if placeholders > maxPlaceholders {
		return nil, fmt.Errorf("has %d placeholders, at most %d are allowed", placeholders, maxPlaceholders)
	}
	return t, nil
}

var errDollar = errors.New("has a $ that begins no placeholder: want $1 to $9, ${1} to ${99}, ${path}, ${query}, ${host}, or $$ for a dollar")

// Template is the text to compile for the new path, for the captures of the prefix,
// of the regular expression, or of the rule.
func (w *Rewrite) Template() string {
	if w.Prefix != "" {
		return strings.ReplaceAll(w.To, "$", "$$") + "$1"
	}
	return w.To
}

// placeholder reads what stands after a dollar.
func placeholder(s string) (part templatePart, rest string, err error) {
	switch {
	case s == "":
		return part, "", errDollar
	case s[0] == '$':
		return templatePart{text: "$"}, s[1:], nil
	case '1' <= s[0] && s[0] <= '9':
		return templatePart{group: int(s[0] - '0')}, s[1:], nil
	case s[0] != '{':
		return part, "", errDollar
	}
	name, rest, found := strings.Cut(s[1:], "}")
	if !found {
		return part, "", errDollar
	}
	switch name {
	case "path", "query", "host":
		return templatePart{name: name}, rest, nil
	}
	n, err := strconv.Atoi(name)
	if err != nil || n < 1 || n > 99 {
		return part, "", errDollar
	}
	return templatePart{group: n}, rest, nil
}

// Groups is the highest group that the template refers to; 0 for none.
func (t *Template) Groups() int { return t.groups }

// Uses reports whether the template has that placeholder: path, query or host.
func (t *Template) Uses(name string) bool {
	for _, p := range t.parts {
		if p.name == name {
			return true
		}
	}
	return false
}

// Values are what placeholders stand for.
type Values struct {
	Captures          []string // of $1, $2, …; what is not there is empty
	Path, Query, Host string
}

// Longest is how many bytes the template can become for a path of so many, without query
// and host.
func (t *Template) Longest(path int) int {
	n := 0
	for _, p := range t.parts {
		if n += len(p.text); p.text == "" {
			n += path
		}
	}
	return n
}

// Append appends the template with its placeholders replaced.
func (t *Template) Append(dst []byte, v *Values) []byte {
	for _, p := range t.parts {
		switch {
		case p.group > 0:
			if p.group <= len(v.Captures) {
				dst = append(dst, v.Captures[p.group-1]...)
			}
		case p.name == "path":
			dst = append(dst, v.Path...)
		case p.name == "query":
			dst = append(dst, v.Query...)
		case p.name == "host":
			dst = append(dst, v.Host...)
		default:
			dst = append(dst, p.text...)
		}
	}
	return dst
}
