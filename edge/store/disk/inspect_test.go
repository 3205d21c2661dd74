package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/edge/store/disk/record"
)

// inspected is a store on the OS with live, superseded and deleted responses in several
// segments, and what is live in it: key and body length.
func inspected(t *testing.T) (*Store, Config, map[string]int64) {
	t.Helper()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "cache"), Size: 8 << 20, SegmentSize: 256 << 10, Log: testLog(t)}
	s := mustOpen(t, cfg)
	t.Cleanup(s.Close)
	want := map[string]int64{}
	for i := range 300 {
		key := fmt.Sprint("site\nexample.org/", i)
		if !put(t, s, key, 1, 1000+i*10) {
			t.Fatalf("%s is not kept", key)
		}
		want[key] = int64(1000 + i*10)
	}
	for i := 0; i < 300; i += 10 {
		key := fmt.Sprint("site\nexample.org/", i)
		put(t, s, key, 2, 70<<10)
		want[key] = 70 << 10
	}
	for i := 1; i < 300; i += 10 {
		key := fmt.Sprint("site\nexample.org/", i)
		s.Delete(response.NewKey(key))
		delete(want, key)
	}
	return s, cfg, want
}

func mustInspect(t *testing.T, dir string) *Inspection {
	t.Helper()
	in, err := Inspect(t.Context(), nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// verify runs Verify and gives what it found, too.
func verify(t *testing.T, in *Inspection) (Verification, []Damage) {
	t.Helper()
	var found []Damage
	last := int64(0)
	v, err := in.Verify(t.Context(), func(d Damage) error { found = append(found, d); return nil }, func(done, total int64) {
		if done < last || done > total {
			t.Errorf("progress: %d of %d after %d", done, total, last)
		}
		last = done
	})
	if err != nil {
		t.Fatal(err)
	}
	if v.Damaged != int64(len(found)) {
		t.Errorf("%d damaged parts, %d were told", v.Damaged, len(found))
	}
	return v, found
}

// TestInspectionSeesWhatTheStoreHolds, while the store is open and after it was closed,
// and leaves the directory as it is.
func TestInspectionSeesWhatTheStoreHolds(t *testing.T) {
	s, cfg, want := inspected(t)
	see := func(t *testing.T) {
		in := mustInspect(t, cfg.Dir)
		sum := in.Summary
		if sum.Live.Records != int64(len(want)) || sum.Kinds["content"] != sum.Live || sum.Version != record.Version {
			t.Errorf("summary = %+v, want %d live", sum, len(want))
		}
		if sum.Records != 360 || sum.Tombstones != 30 || sum.SegmentSize != cfg.SegmentSize || sum.Oldest.After(sum.Newest) || sum.Oldest.IsZero() {
			t.Errorf("summary = %+v, want 330 records and 30 tombstones", sum)
		}
		got := map[string]int64{}
		unread, err := in.List(t.Context(), func(r *response.Response, n int64) error {
			got[r.Key.Text] = n
			if r.Status != 200 || r.Header.Len() == 0 {
				t.Errorf("%q: status %d, header %q", r.Key.Text, r.Status, r.Header.Wire())
			}
			return nil
		})
		if err != nil || unread != 0 {
			t.Fatalf("%d unread, %v", unread, err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("listed:\n%v\nwant:\n%v", got, want)
		}
		v, found := verify(t, in)
		if v.Records != 360 || v.Good != 360 || v.Unfinished != 0 || v.Skipped != 0 {
			t.Errorf("verification = %+v, %v", v, found)
		}
	}
	t.Run("open", func(t *testing.T) {
		see(t)
		if sum := mustInspect(t, cfg.Dir).Summary; sum.Sealed == sum.Segments || sum.Live.Records != s.Stats().Entries {
			t.Errorf("%+v: some segments of a store in use are open", sum)
		}
	})
	s.Close()
	t.Run("closed", func(t *testing.T) {
		before := filesOf(t, cfg.Dir)
		see(t)
		if after := filesOf(t, cfg.Dir); !slices.Equal(before, after) {
			t.Errorf("the directory has changed:\n%v\n%v", before, after)
		}
		if sum := mustInspect(t, cfg.Dir).Summary; sum.Sealed != sum.Segments {
			t.Errorf("%+v: all segments of a closed store are sealed", sum)
		}
	})
}

// filesOf lists names, sizes and times of the files of a directory.
func filesOf(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprint(info.Name(), info.Size(), info.ModTime()))
	}
	return list
}

// TestInspectionWhileTheStoreIsWrittenTo: nothing that is being written or evicted counts
// as damage.
func TestInspectionWhileTheStoreIsWrittenTo(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "cache"), Size: 2 << 20, SegmentSize: 128 << 10, Log: testLog(t)}
	s := mustOpen(t, cfg)
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			put(t, s, fmt.Sprint("k", n%3000), 1, 100+n%20_000)
		}
		written <- n
	}()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		in := mustInspect(t, cfg.Dir)
		if _, found := verify(t, in); len(found) > 0 {
			t.Errorf("damage: %+v", found)
			break
		}
		if _, err := in.List(t.Context(), func(*response.Response, int64) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if n := <-written; n < 100 {
		t.Errorf("%d puts: this shows nothing", n)
	}
}

// someSegment is the path of the first segment, with the bytes of it.
func someSegment(t *testing.T, dir string) (string, []byte) {
	t.Helper()
	path := filepath.Join(dir, segmentName(1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, b
}

// TestVerifyFindsEveryBitOfARecord flips one bit here and there in a record of a sealed
// segment: exactly this record is named, all others are good.
func TestVerifyFindsEveryBitOfARecord(t *testing.T) {
	s, cfg, _ := inspected(t)
	s.Close()
	path, b := someSegment(t, cfg.Dir)
	at := int64(record.SegmentHeaderSize)
	p, err := record.ParsePrefix(b[at:], record.Place{Cache: s.cache, Segment: 1})
	if err != nil {
		t.Fatal(err)
	}
	for offset, part := range map[int64]string{
		0: "prefix", 30: "prefix", record.PrefixSize - 1: "prefix",
		record.PrefixSize: "head", p.BodyOffset() - 1: "head",
		p.BodyOffset(): "body", p.BodyOffset() + p.BodyLen - 1: "body",
	} {
		b[at+offset] ^= 4
		write(t, path, b)
		v, found := verify(t, mustInspect(t, cfg.Dir))
		b[at+offset] ^= 4
		if len(found) != 1 || v.Good != 359 || v.Records != 360 {
			t.Errorf("bit at %d flipped: %+v, %+v", offset, v, found)
			continue
		}
		d := found[0]
		if d.Part != part || d.Offset != at || d.Length != p.Size() || d.File != "00000001.segment" || d.Live { // superseded: 0
			t.Errorf("bit at %d flipped: %+v, want one in the %s", offset, d, part)
		}
		if part == "body" && d.Key != "site\nexample.org/0" {
			t.Errorf("key = %q", d.Key)
		}
	}
}

// TestVerifyTellsLiveFromSuperseded: what is damaged and would not be read anyway costs
// nothing.
func TestVerifyTellsLiveFromSuperseded(t *testing.T) {
	s, cfg, _ := inspected(t)
	s.Close()
	path, b := someSegment(t, cfg.Dir)
	in := mustInspect(t, cfg.Dir)
	live := map[string]bool{}
	err := in.eachOpen(func(g *segment) error {
		return in.entries(g, func(e record.Entry) error {
			if g.number == 1 {
				b[e.Offset+record.PrefixSize+200] ^= 1
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, b)
	v, found := verify(t, mustInspect(t, cfg.Dir))
	for _, d := range found {
		live[d.Key] = d.Live
	}
	for key, want := range map[string]bool{"0": false, "1": false, "2": true, "9": true, "10": false} {
		if got, ok := live["site\nexample.org/"+key]; got != want || !ok {
			t.Errorf("%s: live %v, %v; want %v", key, got, ok, want)
		}
	}
	if v.Good+v.Damaged != v.Records || v.Records != 360 {
		t.Errorf("%+v", v)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFindsDamagedHeadersAndFooters(t *testing.T) {
	s, cfg, _ := inspected(t)
	s.Close()
	path, whole := someSegment(t, cfg.Dir)
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		part   string
		good   bool // all records are still found
	}{
		"header":  {func(b []byte) []byte { b[3] ^= 1; return b }, "header", false},
		"trailer": {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, "footer", true},
		"footer":  {func(b []byte) []byte { b[len(b)-100] ^= 1; return b }, "footer", true},
		"cut off": {func(b []byte) []byte { return b[:len(b)/2] }, "size", false},
		"longer":  {func(b []byte) []byte { return append(b, 0) }, "size", true},
	} {
		write(t, path, c.change(slices.Clone(whole)))
		v, found := verify(t, mustInspect(t, cfg.Dir))
		if len(found) != 1 || found[0].Part != c.part || (v.Records == 360) != c.good || v.Records != v.Good {
			t.Errorf("%s: %+v, %+v", name, v, found)
		}
	}
}

// TestVerifyFindsDamageInAnOpenSegment, in the midst of it; a torn end is none.
func TestVerifyFindsDamageInAnOpenSegment(t *testing.T) {
	s, cfg, _ := inspected(t)
	s.mu.Lock()
	number, end := s.mu.cold.number, s.mu.cold.end
	last := s.mu.cold.entries[len(s.mu.cold.entries)-1]
	first := s.mu.cold.entries[0]
	s.mu.Unlock()
	copied := copyOf(t, cfg.Dir)
	path := filepath.Join(copied, segmentName(number))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	b[end] = 'F'
	write(t, path, b)
	if v, found := verify(t, mustInspect(t, copied)); len(found) > 0 || v.Unfinished != 1 || v.Good != 360 {
		t.Errorf("a torn end: %+v, %+v", v, found)
	}
	b[end] = 0
	b[last.Offset] ^= 1
	write(t, path, b)
	if v, found := verify(t, mustInspect(t, copied)); len(found) > 0 || v.Unfinished != 1 || v.Good != 359 {
		t.Errorf("a torn last record: %+v, %+v", v, found)
	}
	b[last.Offset] ^= 1
	for _, offset := range []uint32{0, record.PrefixSize, first.Length - record.Align} {
		b[first.Offset+offset] ^= 1
		write(t, path, b)
		v, found := verify(t, mustInspect(t, copied))
		if len(found) != 1 || found[0].Offset != int64(first.Offset) || found[0].Length != int64(first.Length) || v.Good != 359 || v.Records != 360 {
			t.Errorf("byte %d of the first record: %+v, %+v", offset, v, found)
		}
		b[first.Offset+offset] ^= 1
	}
}

// copyOf is a copy of a directory, as a power cut right now might leave it.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestInspectRefuses(t *testing.T) {
	s, cfg, _ := inspected(t)
	s.Close()
	super, err := os.ReadFile(filepath.Join(cfg.Dir, superblockName))
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(super)
	damaged[40] ^= 1
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    error
	}{
		"missing": {func(t *testing.T, dir string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}, ErrNoCache},
		"empty":         {func(*testing.T, string) {}, ErrNoCache},
		"foreign":       {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "notes.txt"), []byte("x")) }, ErrForeign},
		"foreign file":  {func(t *testing.T, dir string) { write(t, filepath.Join(dir, superblockName), make([]byte, 64)) }, ErrForeign},
		"damaged":       {func(t *testing.T, dir string) { write(t, filepath.Join(dir, superblockName), damaged) }, ErrDamaged},
		"cut off":       {func(t *testing.T, dir string) { write(t, filepath.Join(dir, superblockName), super[:20]) }, ErrDamaged},
		"no superblock": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, segmentName(1)), super) }, ErrDamaged},
		"newer":         {func(t *testing.T, dir string) { write(t, filepath.Join(dir, superblockName), newer(super)) }, ErrNewer},
		"not a directory": {func(t *testing.T, dir string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			write(t, dir, []byte("x"))
		}, fs.ErrInvalid},
	} {
		dir := t.TempDir()
		c.prepare(t, dir)
		_, err := Inspect(t.Context(), nil, dir)
		if c.want == fs.ErrInvalid { // no one error says it
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// newer is a superblock as a later version might write it.
func newer(super []byte) []byte {
	b := slices.Clone(super)
	b[24]++
	sum := record.Sum(b[24:])
	for i := range 8 {
		b[16+i] = byte(sum >> (8 * i))
	}
	return b
}

func TestInspectionEndsWithItsContext(t *testing.T) {
	s, cfg, _ := inspected(t)
	s.Close()
	in := mustInspect(t, cfg.Dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Inspect(ctx, nil, cfg.Dir); !errors.Is(err, context.Canceled) {
		t.Errorf("Inspect: %v", err)
	}
	if _, err := in.List(ctx, func(*response.Response, int64) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("List: %v", err)
	}
	if _, err := in.Verify(ctx, func(Damage) error { return nil }, func(int64, int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify: %v", err)
	}
	stop := errors.New("stop")
	if _, err := in.List(t.Context(), func(*response.Response, int64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("List: %v, want what its function said", err)
	}
}

// TestKindsHaveNames: one for each that the format knows.
func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := response.Content; k <= response.Slice; k++ {
		name := KindName(k)
		if name == "" || seen[name] {
			t.Errorf("kind %d is called %q", k, name)
		}
		seen[name] = true
	}
}
