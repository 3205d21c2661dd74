package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/edge/store/storetest"
)

func benchStore(b *testing.B, size, segment int64) (*Store, Config) {
	cfg := Config{Dir: b.TempDir() + "/cache", Size: size, SegmentSize: segment}
	s := mustOpen(b, cfg)
	b.Cleanup(func() { s.Close() })
	return s, cfg
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1 << 10, 16 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			s, _ := benchStore(b, 512<<20, 0)
			const keys = 1000
			var key [keys]response.Key
			for i := range keys {
				put(b, s, fmt.Sprint(i), 1, n)
				key[i] = response.NewKey(fmt.Sprint(i))
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if s.Get(key[i%keys]) == nil {
					b.Fatal("gone")
				}
				i++
			}
		})
	}
}

// BenchmarkSend sends a slice over a TCP connection of the host, by sendfile: from the
// store, and from a plain file for comparison.
func BenchmarkSend(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	const n, keys = 1 << 20, 100
	s, _ := benchStore(b, 512<<20, 0)
	var key [keys]response.Key
	for i := range keys {
		put(b, s, fmt.Sprint(i), 1, n)
		key[i] = response.NewKey(fmt.Sprint(i))
	}
	b.Run("store", func(b *testing.B) {
		b.SetBytes(n)
		i := 0
		for b.Loop() {
			from, err := s.Get(key[i%keys]).Body.Open(0, n)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := from.(io.WriterTo).WriteTo(c); err != nil {
				b.Fatal(err)
			}
			from.Close()
			i++
		}
	})
	b.Run("file", func(b *testing.B) {
		slot, _ := s.index.Get(key[0].Sum.Lo)
		g := s.table()[slot.Segment]
		b.SetBytes(n)
		i := 0
		for b.Loop() {
			file, err := g.file.Reopen()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := file.Seek(int64(i%5)*n, io.SeekStart); err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyN(c, file, n); err != nil {
				b.Fatal(err)
			}
			file.Close()
			i++
		}
	})
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			s, _ := benchStore(b, 1<<30, 0)
			r := storetest.Response(b, "", 1, 1, make([]byte, n))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var worst time.Duration
			var text [8]byte
			i := uint64(0)
			for b.Loop() {
				began := time.Now()
				i++
				binary.LittleEndian.PutUint64(text[:], i)
				s.full.Store(false) // admission is not what is measured
				one := r.WithBody(r.Body)
				one.Key = response.NewKey(string(text[:]))
				if !s.Offer(one) {
					b.Fatalf("not kept after %v: %+v", time.Since(began), s.Stats())
				}
				worst = max(worst, time.Since(began))
			}
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
		})
	}
}

// BenchmarkOpen opens a cache of a million small responses, a part of which replaced
// others.
func BenchmarkOpen(b *testing.B) {
	const million = 1_000_000
	s, cfg := benchStore(b, 2<<30, 64<<20)
	r := storetest.Response(b, "", 1, 1, []byte("small"))
	for i := range million + million/5 {
		one := r.WithBody(r.Body)
		one.Key = response.NewKey(fmt.Sprint("https://site.example/a/path/of/usual/length/", i%million))
		if !s.Offer(one) {
			b.Fatal("not kept")
		}
	}
	s.Close()
	open := func(b *testing.B, close func(*Store)) {
		for b.Loop() {
			s := mustOpen(b, cfg)
			if st := s.Stats(); st.Entries != million {
				b.Fatalf("%+v", st)
			}
			b.ReportMetric(s.Stats().OpenedIn.Seconds(), "s/million")
			b.StopTimer()
			close(s)
			b.StartTimer()
		}
	}
	b.Run("sealed", func(b *testing.B) { open(b, (*Store).Close) })
}
