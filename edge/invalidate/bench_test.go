package invalidate

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
)

// marked is a table with so many marks, a part of each kind of scope that there is, every
// so many of them soft.
func marked(n, soft int) *Table {
	t := started()
	kinds := []command.ScopeKind{command.ScopeURL, command.ScopeKey, command.ScopePrefix, command.ScopeTag, response.ScopeGroup}
	seq := command.Seq(10)
	apply := func(i int, s command.Scope) {
		seq++
		e := purge(s)
		e.Soft, e.At = soft > 0 && i%soft == 0, time.UnixMilli(int64(i))
		t.Apply(seq, e)
	}
	apply(1, command.Scope{Kind: command.ScopeAll})
	apply(1, command.Scope{Kind: command.ScopeSite, Site: "other"})
	for i := range n - 2 {
		apply(i, command.Scope{Kind: kinds[i%len(kinds)], Site: "s", Value: fmt.Sprint("/", i, "x")})
	}
	return t
}

// many are responses that have so many scopes each, of which none is marked but the
// widest, before they were born.
func many(born command.Seq, scopes int) []*response.Response {
	var list []*response.Response
	for i := range 4096 {
		r := stored(born, url("s", fmt.Sprint("/r", i)), command.Scope{Kind: command.ScopePrefix, Site: "s", Value: "/"},
			command.Scope{Kind: command.ScopeSite, Site: "s"}, command.Scope{Kind: command.ScopeAll})
		for len(r.Scopes) < scopes {
			tag := command.Scope{Kind: command.ScopeTag, Site: "s", Value: fmt.Sprint(i, "-", len(r.Scopes))}
			r.Scopes = append(r.Scopes, response.HashScope(tag))
		}
		list = append(list, r)
	}
	return list
}

// BenchmarkLookUp is a test against 100,000 marks of every kind of a response that was not
// tested since the last command: 4,096 responses in turn, so that their scopes are found
// in no cache.
func BenchmarkLookUp(b *testing.B) {
	for _, soft := range []int{0, 4} {
		table := marked(100_000, soft)
		seq := table.Clock().Seq
		for _, n := range []int{4, 8, 16, 68} {
			list := many(seq, n)
			b.Run(fmt.Sprintf("soft=%t/scopes=%d", soft > 0, n), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					r := list[i%len(list)]
					i++
					if hard, soft := table.above(r.Scopes, seq, seq); hard > seq || soft.Seq != 0 {
						b.Fatal("marked")
					}
				}
			})
		}
	}
}

// BenchmarkTest is the whole test, of what was tested as of the last command and of what
// was not, by the number of processors that test at once.
func BenchmarkTest(b *testing.B) {
	table := marked(100_000, 4)
	seq := table.Clock().Seq
	list := many(seq-1, 4)
	b.Run("nothing new", func(b *testing.B) {
		for _, r := range list {
			table.Test(r)
		}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if table.Test(list[i%len(list)]) != Living {
					b.Error("dead")
				}
			}
		})
	})
	b.Run("one command since", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i%len(list) == 0 {
				seq++
				table.Apply(seq, purge(url("s", "/else")))
			}
			if table.Test(list[i%len(list)]) != Living {
				b.Fatal("dead")
			}
			i++
		}
	})
}

// BenchmarkHitUnderCommands is the test of responses in turn while commands come, so many
// a second; applying them is timed apart, by the metric of that name.
func BenchmarkHitUnderCommands(b *testing.B) {
	for _, rate := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("commands=%d", rate), func(b *testing.B) {
			table := marked(100_000, 4)
			list := many(table.Clock().Seq, 8)
			done := make(chan struct{})
			var wg sync.WaitGroup
			if rate > 0 {
				wg.Go(func() {
					tick := time.NewTicker(time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-done:
							return
						case <-tick.C:
							for range rate / 1000 {
								seq := table.Clock().Seq + 1
								table.Apply(seq, purge(url("s", fmt.Sprint("/p", seq%50_000))))
							}
						}
					}
				})
			}
			b.ResetTimer()
			i := 0
			for b.Loop() {
				table.Test(list[i%len(list)])
				i++
			}
			b.StopTimer()
			close(done)
			wg.Wait()
		})
	}
}

// BenchmarkTag applies a purge of a surrogate key that covers so many stored responses.
func BenchmarkTag(b *testing.B) {
	for _, n := range []int{1, 1_000_000} {
		b.Run(fmt.Sprintf("covers=%d", n), func(b *testing.B) {
			table := started()
			tag := purge(command.Scope{Kind: command.ScopeTag, Site: "s", Value: "t"})
			held := make([]*response.Response, n)
			for i := range held {
				held[i] = &response.Response{Log: testLog, Born: 10, Generation: 1, Scopes: tag.Scopes}
			}
			b.ReportAllocs()
			for b.Loop() {
				table.Apply(table.Clock().Seq+1, tag)
			}
			b.StopTimer()
			if table.Test(held[n-1]) != OfMark {
				b.Fatal("it does not cover them")
			}
		})
	}
}

// BenchmarkSet sets marks on scopes that had none, and says what one takes in RAM.
func BenchmarkSet(b *testing.B) {
	for _, soft := range []bool{false, true} {
		b.Run(fmt.Sprintf("soft=%t", soft), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			table := started()
			n := 0
			for b.Loop() {
				e := Effect{Scopes: []response.ScopeHash{response.ScopeHash(uint64(n+1) * 0x9e3779b97f4a7c15)}, Soft: soft}
				table.Apply(command.Seq(11+n), e)
				n++
			}
			b.StopTimer()
			runtime.GC()
			runtime.ReadMemStats(&after)
			if n = int(table.Marks()); n > 1000 {
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "bytes/mark")
			}
			runtime.KeepAlive(table)
		})
	}
}
