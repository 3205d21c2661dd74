// Package bustest is the suite that every form of package bus passes.
package bustest

import (
	"context"
	"testing"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// patience is how long the suite waits for what must happen.
const patience = 30 * time.Second

// Form is one form of the bus, ready for one test: without a log.
type Form struct {
	Bus  bus.Bus
	Peer bus.Bus // another way to the same log; the same Bus where there is only one
	// Lose takes the log away, as the loss of a server's disk would (for RunLoss).
	Lose func()
	// Restart ends the server and starts it again on what it has kept (for RunRestart).
	Restart func()
}

// test is one case of the suite.
type test struct {
	name string
	run  func(*testing.T, Form)
}

// Run runs what every form passes. open makes a form anew for each case, and has t
// clean it up.
func Run(t *testing.T, open func(t *testing.T) Form) {
	runAll(t, open, []test{
		{"no log", testNoLog},
		{"create", testCreate},
		{"first sequence of an epoch", testFirstSequence},
		{"append", testAppend},
		{"append expects the last sequence", testConflict},
		{"append refuses what is too large", testTooLarge},
		{"concurrent appenders", testConcurrentAppenders},
		{"head knows every acknowledged append", testHead},
		{"read from the middle", testReadMiddle},
		{"a waiting reader is woken", testReadWaits},
		{"a waiting reader ends", testReadEnds},
		{"a truncated log shows the gap", testTruncated},
		{"records are linked", testLinks},
		{"a sealed log takes nothing more", testSealed},
		{"subjects", testSubjects},
		{"refused subjects", testRefusedSubjects},
		{"one call at a time, in order", testOneCall},
		{"cancel waits for a running call", testCancelWaits},
		{"closed", testClosed},
	})
}

// RunLoss runs what a form passes whose log can be lost while it is connected.
func RunLoss(t *testing.T, open func(t *testing.T) Form) {
	runAll(t, open, []test{
		{"a lost log is noticed", testLost},
		{"a replaced log is noticed", testReplaced},
	})
}

// RunRestart runs what a form passes whose server can restart while it is connected.
func RunRestart(t *testing.T, open func(t *testing.T) Form) {
	runAll(t, open, []test{
		{"a restart keeps the log", testRestart},
		{"a restart keeps an empty log", testRestartEmpty},
	})
}

func runAll(t *testing.T, open func(t *testing.T) Form, tests []test) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// within is a context that ends long after everything should have happened.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func create(t *testing.T, b bus.Bus, first command.Seq) bus.Head {
	t.Helper()
	head, err := b.Create(within(t), first)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// appendTo adds a record at the head, which nobody else moves.
func appendTo(t *testing.T, b bus.Bus, data string) command.Seq {
	t.Helper()
	head, err := b.Head(within(t))
	if err != nil {
		t.Fatal(err)
	}
	seq, err := b.Append(within(t), []byte(data), head.Last)
	if err != nil {
		t.Fatal(err)
	}
	if seq != head.Last+1 {
		t.Fatalf("appended at %s, want %s", seq, head.Last+1)
	}
	return seq
}

func read(t *testing.T, b bus.Bus, log command.LogID, from command.Seq) bus.Reader {
	t.Helper()
	r, err := b.Read(within(t), log, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func next(t *testing.T, r bus.Reader) bus.Entry {
	t.Helper()
	e, err := r.Next(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func wantNext(t *testing.T, r bus.Reader, seq command.Seq, data string) {
	t.Helper()
	if e := next(t, r); e.Seq != seq || string(e.Data) != data {
		t.Fatalf("read %q at %s, want %q at %s", e.Data, e.Seq, data, seq)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("still not after %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
