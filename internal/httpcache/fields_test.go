package httpcache

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet/internal/header"
)

// start is when the responses of the tests are received.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// after is so many seconds after start.
func after(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// stamp is the HTTP-date of so many seconds after start.
func stamp(seconds int) string { return after(seconds).Format(http.TimeFormat) }

// fields makes a block of lines "Name: value".
func fields(t testing.TB, lines ...string) *header.Block {
	t.Helper()
	h := new(header.Block)
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("%q is no field", line)
		}
		if err := h.Add(name, strings.Trim(value, " ")); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// get is a GET request with those fields.
func get(t testing.TB, lines ...string) Request {
	t.Helper()
	return Request{Method: http.MethodGet, Header: fields(t, lines...)}
}

// answer is a response that was asked for and came at start.
func answer(t testing.TB, status int, lines ...string) Response {
	t.Helper()
	return Response{Status: status, Header: fields(t, lines...), Sent: start, Received: start}
}

// factsOf are the facts of a 200 with those fields, by the zero policy.
func factsOf(t testing.TB, lines ...string) *Facts {
	t.Helper()
	f, _ := Assess(get(t), answer(t, 200, lines...), &Policy{})
	return &f
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
