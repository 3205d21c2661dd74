package tiered

import (
	"fmt"
	"log/slog"
	"testing"

	"freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/edge/store/storetest"
)

// BenchmarkGet: hits in RAM, on disk with and without a place in RAM for them, and of
// bodies that stay on disk; misses.
func BenchmarkGet(b *testing.B) {
	for _, bc := range []struct {
		name        string
		ram         int64
		count, size int
		missing     bool
	}{
		{name: "RAM", ram: 64 << 20, count: 1000, size: 10 << 10},
		{name: "disk 10 KiB, RAM for a tenth", ram: 4 << 20, count: 4000, size: 10 << 10},
		{name: "disk 400 KiB", ram: 16 << 20, count: 200, size: 400 << 10},
		{name: "miss", ram: 16 << 20, count: 1000, size: 100, missing: true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s, err := Open(Config{Memory: bc.ram, Log: slog.New(slog.DiscardHandler), Disks: []disk.Config{{Dir: b.TempDir(), Size: 512 << 20}}})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			keys := make([]response.Key, bc.count)
			for i := range keys {
				keys[i] = response.NewKey(fmt.Sprint("http://www.example.com/", i))
				if !bc.missing {
					s.Put(storetest.Response(b, keys[i].Text, 1, 1, make([]byte, bc.size)))
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if r := s.Get(keys[i*7919%len(keys)]); (r == nil) != bc.missing {
						b.Errorf("found is %v", r != nil)
						return
					}
				}
			})
		})
	}
}
