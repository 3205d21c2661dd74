package distributor

import (
	"encoding/json"
	"testing"
	"time"

	"freshet/internal/command"
)

// TestForkedNodesAcknowledgeNothing: a node that has applied another command at a sequence
// than the log has there does not count as having applied that, and is told of.
func TestForkedNodesAcknowledgeNothing(t *testing.T) {
	at := func(log command.LogID, n command.Seq) command.Clock {
		return command.Clock{Log: log, Seq: command.FirstOf(1) + n}
	}
	one, two, other := command.Link{1}, command.Link{2}, command.Link{9}
	for name, test := range map[string]struct {
		report  command.Progress
		applied bool
		forked  bool
	}{
		"the same":                 {command.Progress{Log: 7, Applied: at(7, 2).Seq, Link: two}, true, false},
		"another":                  {command.Progress{Log: 7, Applied: at(7, 2).Seq, Link: other}, false, true},
		"not told":                 {command.Progress{Log: 7, Applied: at(7, 2).Seq}, true, false},
		"before":                   {command.Progress{Log: 7, Applied: at(7, 1).Seq, Link: one}, false, false},
		"another before":           {command.Progress{Log: 7, Applied: at(7, 1).Seq, Link: other}, false, true},
		"beyond the end":           {command.Progress{Log: 7, Applied: at(7, 3).Seq, Link: other}, false, false},
		"beyond the end, not told": {command.Progress{Log: 7, Applied: at(7, 3).Seq}, true, false},
		"another log":              {command.Progress{Log: 8, Applied: at(7, 2).Seq, Link: two}, false, false},
		"its own word":             {command.Progress{Log: 7, Applied: at(7, 2).Seq, Link: two, Forked: 7}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, first := range []bool{false, true} { // the report comes before the wait, or after
				tr := newTracker(time.Now)
				var forked command.LogID
				tr.fork = func(p command.Progress) { forked = p.Forked }
				tr.note(at(7, 1), one)
				tr.note(at(7, 2), two)
				test.report.Node = "e1"
				data, err := json.Marshal(test.report)
				if err != nil {
					t.Fatal(err)
				}
				receive := func() {
					if err := tr.receive("progress.e1", data); err != nil {
						t.Fatal(err)
					}
				}
				if first {
					receive()
				}
				w, err := tr.wait(at(7, 2), time.Now(), map[string]bool{"e1": true})
				if err != nil {
					t.Fatal(err)
				}
				if !first {
					receive()
				}
				if _, applied := tr.end(w)["e1"]; applied != test.applied || (forked == 7) != test.forked {
					t.Errorf("report first %t: applied %t, want %t; forked %s", first, applied, test.applied, forked)
				}
			}
		})
	}
}

// TestReportThatIsFaster: a node may report a command before its writer knows that it
// stands in the log, and counts as soon as that is known.
func TestReportThatIsFaster(t *testing.T) {
	tr := newTracker(time.Now)
	first, second := command.Clock{Log: 7, Seq: 1}, command.Clock{Log: 7, Seq: 2}
	tr.note(first, command.Link{1})
	w, err := tr.wait(first, time.Now(), map[string]bool{"e1": true})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(command.Progress{Node: "e1", Log: 7, Applied: 2, Link: command.Link{2}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.receive("progress.e1", data); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.done:
		t.Error("it counts before the command is known")
	default:
	}
	tr.note(second, command.Link{2})
	<-w.done
	if took := tr.end(w); len(took) != 1 {
		t.Errorf("%v", took)
	}
}

func TestLinksAreFew(t *testing.T) {
	tr := newTracker(time.Now)
	for seq := range command.Seq(10 * maxLinks) {
		tr.note(command.Clock{Log: 7, Seq: seq}, command.Link{1})
		if n := len(tr.mu.links); n > maxLinks {
			t.Fatalf("%d links", n)
		}
	}
	tr.note(command.Clock{Log: 8, Seq: 1}, command.Link{1})
	if n := len(tr.mu.links); n != 1 {
		t.Errorf("%d links of another log", n)
	}
}
