package document

import (
	"fmt"
	"strings"
)

// Error is one mistake in a document.
type Error struct {
	File    string `json:"file"`             // as given to Decode
	Line    int    `json:"line,omitempty"`   // from 1; 0 when the document as a whole is meant
	Column  int    `json:"column,omitempty"` // from 1, in characters
	Path    string `json:"path,omitempty"`   // dotted: "cluster.tls.ca", "listen[0]"
	Message string `json:"message"`          // what is wrong, and what would be right
	Hint    string `json:"hint,omitempty"`   // "did you mean …", or empty
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
