package journal_test

import (
	"fmt"
	"testing"

	"freshet/edge/invalidate"
	"freshet/edge/invalidate/journal"
	"freshet/edge/response"
	"freshet/internal/command"
)

// onDisk is a table with its journal in a directory under TMPDIR.
func onDisk(b *testing.B) *invalidate.Table {
	b.Helper()
	j, state, err := journal.Open(journal.Config{Dirs: []string{b.TempDir()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { j.Close() })
	table := invalidate.Open(state, j)
	if err := table.Restart(command.Clock{Log: 7, Seq: command.FirstOf(1)}); err != nil {
		b.Fatal(err)
	}
	return table
}

// BenchmarkCommand is a purge of one URL that is durable, alone or as one of several
// that come at once.
func BenchmarkCommand(b *testing.B) {
	for _, batch := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("of=%d", batch), func(b *testing.B) {
			table := onDisk(b)
			n := 0
			for b.Loop() {
				table.Apply(table.Clock().Seq+1, purgeOf(hash(n)))
				if n++; n%batch != 0 {
					continue
				}
				if err := table.Commit(); err != nil {
					b.Fatal(err)
				}
				if n%4096 == 0 {
					table.Tend()
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// BenchmarkTouch is what an unsafe request waits for.
func BenchmarkTouch(b *testing.B) {
	table := onDisk(b)
	scopes := make([]response.ScopeHash, 1000)
	for i := range scopes {
		scopes[i] = hash(i)
	}
	n := 0
	for b.Loop() {
		table.Touch(scopes[n%len(scopes)])
		if n++; n%10_000 == 0 {
			table.Tend()
		}
	}
}

// BenchmarkOpen is a start with as many marks as there may be.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	open := func() (*journal.Journal, *invalidate.Table) {
		j, state, err := journal.Open(journal.Config{Dirs: []string{dir}})
		if err != nil {
			b.Fatal(err)
		}
		return j, invalidate.Open(state, j)
	}
	j, table := open()
	for i := range invalidate.MaxMarks {
		table.Apply(command.Seq(i+1), purgeOf(hash(i)))
	}
	for {
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		if !b.Loop() {
			return
		}
		if j, table = open(); table.Marks() != invalidate.MaxMarks {
			b.Fatalf("%d marks", table.Marks())
		}
	}
}
