package record

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 1, time.UTC)

func TestSuperblock(t *testing.T) {
	want := Superblock{Cache: 0xfeed, SegmentSize: 4 << 20, Created: noon}
	b := want.Append(nil)
	if got, err := ParseSuperblock(b); err != nil || got != want || len(b) != SuperblockSize {
		t.Fatalf("%+v, %v, %d bytes", got, err, len(b))
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		want := ErrDamaged
		if i < 16*8 {
			want = ErrForeign // of the magic nothing is left to say what it was
		}
		if _, err := ParseSuperblock(b); !errors.Is(err, want) {
			t.Fatalf("bit %d of byte %d flipped: %v, want %v", i%8, i/8, err, want)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		if _, err := ParseSuperblock(b[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
	if _, err := ParseSuperblock([]byte("# settings of something else, much longer than a magic\n")); !errors.Is(err, ErrForeign) {
		t.Errorf("a foreign file: %v", err)
	}
}

// TestANewerSuperblockIsToldFromADamagedOne, whatever else a later version puts there.
func TestANewerSuperblockIsToldFromADamagedOne(t *testing.T) {
	b := append(Superblock{SegmentSize: 4 << 20, Created: noon}.Append(nil), "fields of a later version"...)
	b[24] = Version + 1
	putSum(b)
	if _, err := ParseSuperblock(b); !errors.Is(err, ErrNewer) {
		t.Errorf("err = %v, want ErrNewer", err)
	}
	b[30] ^= 1
	if _, err := ParseSuperblock(b); !errors.Is(err, ErrDamaged) {
		t.Errorf("err = %v, want ErrDamaged", err)
	}
}

// putSum makes the checksum of a superblock right again.
func putSum(b []byte) {
	for i := range 8 {
		b[16+i] = byte(Sum(b[24:]) >> (8 * i))
	}
}

func TestSegmentHeader(t *testing.T) {
	want := SegmentHeader{Place: here, Size: 4 << 20, Created: noon, Hot: true}
	b := want.Append(nil)
	if got, err := ParseSegmentHeader(b); err != nil || got != want || len(b) != SegmentHeaderSize {
		t.Fatalf("%+v, %v, %d bytes", got, err, len(b))
	}
	everyBit(t, b, func(b []byte) error { _, err := ParseSegmentHeader(b); return err })
	b[8]++
	seal(b, segmentSum)
	if _, err := ParseSegmentHeader(b); !errors.Is(err, ErrNewer) {
		t.Errorf("err = %v, want ErrNewer", err)
	}
}

// everyBit: parse refuses b with any bit flipped, and cut off anywhere.
func everyBit(t *testing.T, b []byte, parse func([]byte) error) {
	t.Helper()
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if err := parse(b); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		if err := parse(b[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
}

var entries = []Entry{
	{Sum: xxh3.Uint128{Hi: 1, Lo: 2}, Put: 3, Offset: 64, Length: 192, Type: Stored, Kind: response.Slice, Flags: 5},
	{Sum: xxh3.Uint128{Hi: 6, Lo: 7}, Put: 8, Offset: 256, Length: 128, Type: Tombstone},
	{Sum: xxh3.Uint128{Hi: 9, Lo: 10}, Put: 11, Offset: 1024, Length: 1024, Type: Stored, Flags: 1<<16 - 1},
}

// parseFooter reads footer and trailer as a recovery does.
func parseFooter(b []byte, segmentSize int64) ([]Entry, error) {
	if len(b) < TrailerSize {
		return nil, ErrDamaged
	}
	split := len(b) - TrailerSize
	trailer, err := ParseTrailer(b[split:], here, segmentSize)
	if err != nil {
		return nil, err
	}
	var got []Entry
	return got, trailer.Entries(b[:split], func(e Entry) { got = append(got, e) })
}

func TestFooter(t *testing.T) {
	b := AppendFooter(nil, here, 2048, noon, entries)
	if int64(len(b)) != FooterSize(len(entries)) {
		t.Errorf("%d bytes", len(b))
	}
	trailer, err := ParseTrailer(b[len(b)-TrailerSize:], here, 4096)
	if err != nil || trailer.End != 2048 || trailer.Sealed != noon || trailer.Count != 3 {
		t.Fatalf("%+v, %v", trailer, err)
	}
	if err := trailer.Entries(b[:len(b)-TrailerSize-1], nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a footer without its last byte: %v", err)
	}
	everyBit(t, b, func(b []byte) error { _, err := parseFooter(b, 4096); return err })
	other := Place{here.Cache, here.Segment + 1}
	if _, err := ParseTrailer(b[len(b)-TrailerSize:], other, 4096); !errors.Is(err, ErrDamaged) {
		t.Errorf("the trailer of another segment: %v", err)
	}
}

func TestFooterGivesBackItsEntries(t *testing.T) {
	for n := range len(entries) + 1 {
		var got []Entry
		b := AppendFooter(nil, here, 2048, noon, entries[:n])
		split := len(b) - TrailerSize
		trailer, err := ParseTrailer(b[split:], here, 4096)
		if err == nil {
			err = trailer.Entries(b[:split], func(e Entry) { got = append(got, e) })
		}
		if err != nil || !reflect.DeepEqual(got, append([]Entry(nil), entries[:n]...)) {
			t.Errorf("%d entries: %v, %v", n, got, err)
		}
	}
}

// TestFooterRefusesImpossibleEntries even if their checksum is right.
func TestFooterRefusesImpossibleEntries(t *testing.T) {
	for name, change := range map[string]func(e []Entry) (end int64){
		"offset in the header": func(e []Entry) int64 { e[0].Offset = 0; return 2048 },
		"not aligned":          func(e []Entry) int64 { e[0].Offset = 65; return 2048 },
		"length not aligned":   func(e []Entry) int64 { e[0].Length = 191; return 2048 },
		"too short":            func(e []Entry) int64 { e[0].Length = 64; return 2048 },
		"overlap":              func(e []Entry) int64 { e[1].Offset = 192; return 2048 },
		"past the end":         func(e []Entry) int64 { e[2].Length = 1088; return 2048 },
		"far past the end":     func(e []Entry) int64 { e[2].Offset = 1<<32 - 64; return 2048 },
		"unknown type":         func(e []Entry) int64 { e[0].Type = 3; return 2048 },
		"unknown kind":         func(e []Entry) int64 { e[0].Kind = lastKind + 1; return 2048 },
		"end past the footer":  func(e []Entry) int64 { return 4096 - FooterSize(3) + 1 },
		"end before the start": func(e []Entry) int64 { return 0 },
		"negative end":         func(e []Entry) int64 { return -1 },
	} {
		changed := append([]Entry(nil), entries...)
		end := change(changed)
		got, err := parseFooter(AppendFooter(nil, here, end, noon, changed), 4096)
		if !errors.Is(err, ErrDamaged) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
