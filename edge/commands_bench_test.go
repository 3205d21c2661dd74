package edge

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"freshet/internal/command"
)

// BenchmarkHitUnderCommands serves a hit with 100,000 live marks, while commands are
// applied: one for so many hits, which at 100,000 hits a second are 10,000 commands a
// second for 10. cpu-ns/hit is without what applying took.
func BenchmarkHitUnderCommands(b *testing.B) {
	up := startOriginTB(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Surrogate-Key", "a b c d e f g h")
		fmt.Fprint(w, "hello")
	}))
	for _, every := range []int{0, 100, 10, 1} {
		b.Run(fmt.Sprintf("hits=%d", every), func(b *testing.B) {
			e := served(b, up, "")
			name := e.sites.Load().snapshot.Sites()[0].Site
			purge := func(i int) command.Command {
				return command.Command{
					ID: "1", Kind: command.Purge, At: time.Unix(int64(i), 0),
					Scopes: []command.Scope{{Kind: command.ScopeTag, Site: name, Value: fmt.Sprint("k", i)}},
				}
			}
			apply := func(c command.Command) {
				if err := e.Apply(e.table.Clock().Seq+1, c); err != nil {
					b.Fatal(err)
				}
			}
			for i := range 50_000 { // each is of a key and a group
				apply(purge(i))
			}
			log := make([]command.Command, 4096)
			for i := range log {
				log[i] = purge(i)
			}
			l := newLane(b, e, asks(b, "GET", "/a/b/c", browserFields...))
			b.ReportAllocs()
			var applies []time.Duration
			began, n := cpuTime(b), 0
			for ; b.Loop(); n++ {
				if every > 0 && n%every == 0 {
					from := time.Now()
					apply(log[len(applies)%len(log)])
					applies = append(applies, time.Since(from))
				}
				l.serve()
			}
			took := cpuTime(b) - began
			if every > 0 { // the median, since others may have had the processor meanwhile
				slices.Sort(applies)
				one := applies[len(applies)/2]
				took -= time.Duration(len(applies)) * one
				b.ReportMetric(float64(one), "ns/command")
			}
			b.ReportMetric(float64(took)/float64(n), "cpu-ns/hit") // of all threads, whoever else is busy
		})
	}
}
