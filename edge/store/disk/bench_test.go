package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
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
	plain := b.TempDir() + "/plain" // as many bytes, so that the processor's caches hold no more of them
	if err := os.WriteFile(plain, make([]byte, n*keys), 0o644); err != nil {
		b.Fatal(err)
	}
	fromStore := func(i int) {
		from, err := s.Get(key[i%keys]).Body.Open(0, n)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := from.(io.WriterTo).WriteTo(c); err != nil {
			b.Fatal(err)
		}
		from.Close()
	}
	fromFile := func(i int) {
		file, err := os.Open(plain)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := file.Seek(int64(i%keys)*n, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyN(c, file, n); err != nil {
			b.Fatal(err)
		}
		file.Close()
	}
	// In turns, so that whatever else the machine does hits both.
	var store, file time.Duration
	b.SetBytes(2 * n)
	i := 0
	for b.Loop() {
		began := time.Now()
		fromStore(i)
		between := time.Now()
		fromFile(i)
		store, file = store+between.Sub(began), file+time.Since(between)
		i++
	}
	b.ReportMetric(float64(file)/float64(store), "store/file")
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
	for _, end := range []struct {
		name string
		end  func(*Store)
	}{{"closed", (*Store).Close}, {"killed", kill}} {
		b.Run(end.name, func(b *testing.B) {
			for b.Loop() {
				began := cpuTime(b)
				s := mustOpen(b, cfg)
				b.ReportMetric((cpuTime(b) - began).Seconds(), "cpu-s/million")
				st := s.Stats()
				if st.Entries != million {
					b.Fatalf("%+v", st)
				}
				b.ReportMetric(st.OpenedIn.Seconds(), "s/million")
				b.StopTimer()
				end.end(s)
				b.StartTimer()
			}
		})
	}
}

// cpuTime is what the process has used of the processors so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
