package journal

import (
	"testing"

	"freshet/internal/command"
)

// TestLinks: wherever a file ends, it has the link of the command that it says is applied,
// or none.
func TestLinks(t *testing.T) {
	link := func(seq command.Seq) command.Link { return command.Link{}.Next(seq, []byte("record")) }
	data, ends := file()
	first, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	base := first.state.Clock.Seq
	for seq := base + 1; seq <= base+5; seq++ {
		if seq != base+3 { // which comes from a writer that knows no links
			data = appendRecord(data, testID, kindLink, 0, func(b []byte) []byte { return appendLink(b, seq, link(seq)) })
		}
		data = appendRecord(data, testID, kindApplied, 0, func(b []byte) []byte { return le.AppendUint64(b, uint64(seq)) })
	}
	for n := ends[len(ends)-1]; n <= len(data); n++ {
		m, err := parse(data[:n])
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		want := link(m.state.Clock.Seq)
		if seq := m.state.Clock.Seq; seq == base || seq == base+3 {
			want = command.Link{}
		}
		if m.state.Link != want {
			t.Errorf("%d bytes: %s at %s, want %s", n, m.state.Link, m.state.Clock, want)
		}
	}
	if m, err := parse(data); err != nil || m.state.Clock.Seq != base+5 {
		t.Errorf("the whole is at %s, %v", m.state.Clock, err)
	}
}
