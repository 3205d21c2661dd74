// Package document reads what people write: YAML documents into Go structs, with
// every mistake reported at once and each with its place. Node files (package
// node) and site documents (package site) are read through it.
//
// The structs are the only description of a document: Decode checks against
// them, Schema prints them as a JSON Schema. Field tags say what Go types cannot:
//
//	yaml:"name"        the key; without it the field is not part of the document
//	doc:"…"            what it is, for the schema
//	required:"true"    must be there
//	enum:"a,b"         the strings allowed
//	default:"10s"      set where the document has nothing, written as in the document
//	min:"1" max:"9"    bounds of numbers, durations and sizes, written likewise
package document

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration written as "10s", "5m", "1h30m" or "7d".
type Duration time.Duration

// Size is a number of bytes written as "512", "64KiB", "256MiB" or "1.5GiB" (also
// kB, MB, GB in powers of 1000).
type Size int64

// Secret is a value that never shows in logs or errors. It is written as a mapping
// with one key: file (the file's content less a final newline), env (a variable's
// value) or value (in the clear; for tests and demos).
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Value is the secret in the clear; "" when none was given.
func (s Secret) Value() string { return s.value }

// String hides the value.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return "[secret]"
}

// Error is one mistake in a document.
type Error struct {
	File         string // as given to Decode
	Line, Column int    // from 1; 0 when the document as a whole is meant
	Path         string // dotted: "cluster.tls.ca"
	Message      string // what is wrong, and what would be right
	Hint         string // "did you mean …", or empty
}

// Error prints "file:line:column: path: message (hint)".
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors is every mistake of a document, in the order of their places.
type Errors []Error

// Error prints one mistake a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
