package disk

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"freshet/edge/response"
	"freshet/edge/store/storetest"
	"freshet/internal/files/filestest"
)

// FuzzOpen opens a cache of which one file has other bytes at some place, sealed or as a
// killed process leaves it: it is opened or refused, never eaten, and every body that it
// gives is the one that was put.
func FuzzOpen(f *testing.F) {
	f.Add(uint16(0), []byte{0xff}, true, false)
	f.Add(uint16(64), []byte{0}, false, false)
	f.Add(uint16(64+44), []byte{0xff, 0xff, 0xff, 0x7f}, false, true)
	f.Add(uint16(32<<10-64), []byte("FRSHend\n"), true, true)
	f.Add(uint16(32<<10-200), bytes.Repeat([]byte{1}, 100), true, false)
	f.Add(uint16(500), bytes.Repeat([]byte{7}, 3000), true, true)
	f.Fuzz(func(t *testing.T, at uint16, b []byte, closed, second bool) {
		fsys := filestest.New()
		cfg := Config{Dir: "/cache", FS: fsys, Size: 512 << 10, SegmentSize: 32 << 10}
		s := mustOpen(t, cfg)
		keys := []string{"a", "b", "c", "d", "e", "f"}
		for i, key := range keys {
			put(t, s, key, 1, 1000*i)
			put(t, s, key, 2, 3000*i)
		}
		s.Delete(response.NewKey("b"))
		if closed {
			s.Close()
		} else {
			kill(s)
		}
		name := "/cache/00000001.segment"
		if second {
			name = "/cache/00000002.segment"
		}
		file, err := fsys.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b[:min(len(b), 32<<10-min(int(at), 32<<10))], int64(min(at, 32<<10))); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s, err := Open(cfg)
			if errors.Is(err, ErrForeign) || errors.Is(err, ErrNewer) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				r := s.Get(response.NewKey(key))
				if r == nil {
					continue
				}
				if got, err := storetest.Content(r); err == nil && !bytes.Equal(got, content(key, r.Born, len(got))) {
					t.Fatalf("key %s has a wrong body of %d bytes", key, len(got))
				}
			}
			for i, key := range keys {
				put(t, s, key, 3, 100*i)
			}
			if !s.Stats().Up {
				t.Fatal("out of service")
			}
			s.Close()
		}
	})
}
