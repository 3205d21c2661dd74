package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Error is the API's own answer that something is wrong (RFC 9457).
type Error struct {
	Status int      `json:"status"` // of the HTTP response
	Title  string   `json:"title"`  // the status in words
	Detail string   `json:"detail"` // what is wrong here, and what to do
	Errors []Detail `json:"errors"` // each mistake of a document or a request

	later bool // the API has done nothing, and asks to be asked again
}

// Detail is one mistake.
type Detail struct {
	Location string `json:"location"` // file:line:column, or a field of the request; may be empty
	Message  string `json:"message"`
}

// String prints "location: message".
func (d Detail) String() string {
	if d.Location == "" {
		return d.Message
	}
	return d.Location + ": " + d.Message
}

// Error prints the detail, then one mistake a line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	if e.Detail == "" {
		fmt.Fprintf(&b, "%d %s", e.Status, e.Title)
	}
	for _, d := range e.Errors {
		b.WriteString("\n" + d.String())
	}
	return b.String()
}

// problem reads an error response. A body that is no problem document (from a
// proxy in between, say) leaves the status.
func problem(status int, body []byte) *Error {
	e := &Error{}
	if json.Unmarshal(body, e) != nil {
		e = &Error{}
	}
	e.Status = status
	if e.Title == "" {
		e.Title = http.StatusText(status)
	}
	return e
}
