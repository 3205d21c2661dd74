package journal

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"testing"

	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
)

const testID = 0x1122334455667788

func scope(i int) response.ScopeHash {
	return response.ScopeHash(uint64(i) * 0x9e3779b97f4a7c15)
}

var testBan = invalidate.Ban{Seq: command.FirstOf(2) + 2, Since: 4000, Until: 5000, Soft: true, Site: "s", Match: &predicate.Match{Path: "/a*"}}

// file is a file with every kind of record; ends are where the records end.
func file() (data []byte, ends []int) {
	add := func(k kind, durable int, fill func([]byte) []byte) {
		data = appendRecord(data, testID, k, int64(durable), fill)
		ends = append(ends, len(data))
	}
	data = make([]byte, headerSize)
	s := invalidate.State{
		Clock: command.Clock{Log: 7, Seq: command.FirstOf(2)}, Floor: command.FirstOf(1), Generation: 5, Keyed: 6, Touches: 8, TouchFloor: 2,
	}
	add(kindState, 0, func(b []byte) []byte { return appendState(b, &s) })
	add(kindMarks, 0, func(b []byte) []byte {
		return appendPairs(b, []pair[command.Seq]{{scope(1), command.FirstOf(1)}, {scope(2), command.FirstOf(1) + 1}})
	})
	add(kindTouched, 0, func(b []byte) []byte {
		return appendPairs(le.AppendUint64(b, 2), []pair[uint64]{{scope(3), 8}, {scope(4), 3}})
	})
	base := len(data)
	copy(data, appendHeader(nil, testID, uint64(base)))
	add(kindApplied, base, func(b []byte) []byte {
		return appendScope(appendScope(le.AppendUint64(b, uint64(command.FirstOf(2)+1)), scope(1)), scope(5))
	})
	add(kindTouched, base, func(b []byte) []byte {
		return le.AppendUint64(appendScope(le.AppendUint64(b, 4), scope(6)), 9)
	})
	add(kindForgot, base, func(b []byte) []byte { return le.AppendUint64(b, uint64(command.FirstOf(1)+1)) })
	add(kindSofts, base, func(b []byte) []byte {
		for seq := range uint64(3) {
			b = le.AppendUint64(le.AppendUint64(appendScope(b, scope(7)), uint64(command.FirstOf(1))+seq), 1000+seq)
		}
		return b
	})
	add(kindSoftened, base, func(b []byte) []byte {
		return appendScope(le.AppendUint64(le.AppendUint64(b, uint64(command.FirstOf(2)+2)), 2000), scope(7))
	})
	add(kindWindows, base, func(b []byte) []byte {
		for until := range uint64(2) {
			b = le.AppendUint64(appendScope(b, scope(8)), 3001-until)
		}
		return b
	})
	ban := testBan
	for range 2 { // applied again
		add(kindBan, base, func(b []byte) []byte { return appendBan(b, &ban) })
	}
	add(kindNote, len(data), func(b []byte) []byte { return b })
	return data, ends
}

func TestParse(t *testing.T) {
	data, ends := file()
	m, err := parse(append(data, make([]byte, 1000)...)) // space was reserved
	if err != nil {
		t.Fatal(err)
	}
	want := invalidate.State{
		Clock: command.Clock{Log: 7, Seq: command.FirstOf(2) + 2}, Floor: command.FirstOf(1) + 1, Generation: 5, Keyed: 6, Touches: 9, TouchFloor: 4,
	}
	if got := m.state; got.Clock != want.Clock || got.Floor != want.Floor || got.Generation != want.Generation ||
		got.Keyed != want.Keyed || got.Touches != want.Touches || got.TouchFloor != want.TouchFloor {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// What lies below the floors has gone.
	if want := map[response.ScopeHash]command.Seq{scope(1): command.FirstOf(2) + 1, scope(5): command.FirstOf(2) + 1}; !maps.Equal(m.marks, want) {
		t.Errorf("marks %v, want %v", m.marks, want)
	}
	if want := map[softMark]int64{{scope(7), command.FirstOf(1) + 2}: 1002, {scope(7), command.FirstOf(2) + 2}: 2000}; !maps.Equal(m.softs, want) {
		t.Errorf("soft marks %v, want %v", m.softs, want)
	}
	if want := map[response.ScopeHash]int64{scope(8): 3001}; !maps.Equal(m.windows, want) {
		t.Errorf("windows %v, want %v", m.windows, want)
	}
	if !reflect.DeepEqual(m.bans, []invalidate.Ban{testBan}) {
		t.Errorf("bans %+v, want %+v", m.bans, testBan)
	}
	if want := map[response.ScopeHash]uint64{scope(3): 8, scope(6): 9}; !maps.Equal(m.touched, want) {
		t.Errorf("touched %v, want %v", m.touched, want)
	}
	if m.end != ends[len(ends)-1] {
		t.Errorf("ends at %d, want %d", m.end, ends[len(ends)-1])
	}
}

// TestTornTail: a file that ends anywhere behind what it began with is good up to its
// last whole record; one that ends before is damaged.
func TestTornTail(t *testing.T) {
	data, ends := file()
	base := ends[2]
	for n := range len(data) {
		m, err := parse(data[:n])
		if n < base {
			if !errors.Is(err, errDamaged) {
				t.Errorf("%d bytes: %v, want damage below %d", n, err, base)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		end := 0
		for _, e := range ends {
			if e <= n+7 && n >= m.end-7 { // zeros that fill a record up may be missing
				end = max(end, e)
			}
		}
		if m.end > end {
			t.Errorf("%d bytes: good up to %d, want at most %d", n, m.end, end)
		}
	}
}

// TestEveryBitCounts flips each bit of a file whose records were durable: the file is
// damaged, or says what it said. Never is one of its records dropped as a torn tail.
func TestEveryBitCounts(t *testing.T) {
	data, ends := file()
	whole, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(data) {
		hurt := bytes.Clone(data)
		hurt[bit/8] ^= 1 << (bit % 8)
		m, err := parse(hurt)
		switch {
		case err != nil && !errors.Is(err, errDamaged):
			t.Errorf("bit %d: %v", bit, err)
		case err == nil && (m.state.Clock != whole.state.Clock || m.state.Floor != whole.state.Floor || m.state.Touches != whole.state.Touches ||
			!maps.Equal(m.marks, whole.marks) || !maps.Equal(m.softs, whole.softs) || !maps.Equal(m.windows, whole.windows) || !reflect.DeepEqual(m.bans, whole.bans) || !maps.Equal(m.touched, whole.touched)):
			t.Errorf("bit %d: says something else", bit)
		case err == nil && bit/8 >= headerSize && bit/8 < ends[9] && !fills(data, ends, bit/8):
			t.Errorf("bit %d of a record is not seen", bit)
		}
	}
}

// fills reports whether a byte is one of the zeros behind a payload.
func fills(data []byte, ends []int, at int) bool {
	off := headerSize
	for _, end := range ends {
		if at < end {
			return at >= off+prefixSize+int(le.Uint32(data[off+8:]))
		}
		off = end
	}
	return false
}

func TestRecordsOfAnotherFileAreNone(t *testing.T) {
	data, ends := file()
	other := appendRecord(nil, testID+1, kindApplied, int64(ends[len(ends)-1]), func(b []byte) []byte { return le.AppendUint64(b, 1<<50) })
	m, err := parse(append(data, other...))
	if err != nil || m.end != len(data) {
		t.Errorf("%v; good up to %d of %d", err, m.end, len(data))
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	data, _ := file()
	data[8] = version + 1
	if _, err := parse(data); !errors.Is(err, errDamaged) {
		t.Errorf("a version that fails the checksum: %v, want %v", err, errDamaged)
	}
	copy(data[32:], le.AppendUint64(nil, sum(data[:32], testID)))
	if _, err := parse(data); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v, want %v", err, ErrNewer)
	}
}

// TestNonsense: records whose sums are right and that say what no journal says.
func TestNonsense(t *testing.T) {
	state := func(b []byte) []byte { return appendState(b, &invalidate.State{Generation: 1}) }
	type rec struct {
		k    kind
		fill func([]byte) []byte
	}
	bytesOf := func(n int) func([]byte) []byte { return func(b []byte) []byte { return append(b, make([]byte, n)...) } }
	for name, records := range map[string][]rec{
		"nothing":            {},
		"no state":           {{kindForgot, bytesOf(8)}},
		"two states":         {{kindState, state}, {kindState, state}},
		"no generation":      {{kindState, bytesOf(stateSize)}},
		"short state":        {{kindState, bytesOf(stateSize - 8)}},
		"half a mark":        {{kindState, state}, {kindMarks, bytesOf(12)}},
		"half a touch":       {{kindState, state}, {kindTouched, bytesOf(30)}},
		"touch without":      {{kindState, state}, {kindTouched, bytesOf(4)}},
		"half a scope":       {{kindState, state}, {kindApplied, bytesOf(12)}},
		"half a soft mark":   {{kindState, state}, {kindSofts, bytesOf(16)}},
		"half a window":      {{kindState, state}, {kindWindows, bytesOf(12)}},
		"half a ban":         {{kindState, state}, {kindBan, bytesOf(24)}},
		"softened nothing":   {{kindState, state}, {kindSoftened, bytesOf(8)}},
		"applied nothing":    {{kindState, state}, {kindApplied, bytesOf(0)}},
		"forgot too much":    {{kindState, state}, {kindForgot, bytesOf(16)}},
		"a note with a text": {{kindState, state}, {kindNote, bytesOf(1)}},
		"an unknown kind":    {{kindState, state}, {kindBan + 1, bytesOf(0)}},
	} {
		data := make([]byte, headerSize)
		for _, r := range records {
			data = appendRecord(data, testID, r.k, 0, r.fill)
		}
		copy(data, appendHeader(nil, testID, headerSize))
		if _, err := parse(data); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v, want %v", name, err, errDamaged)
		}
	}
}

// TestVersion1IsRead: what its marks are of is not known here, so that all that was not
// tested as of its clock is dead; what it counted goes on.
func TestVersion1IsRead(t *testing.T) {
	data := make([]byte, headerSize)
	s := invalidate.State{
		Clock: command.Clock{Log: 7, Seq: command.FirstOf(2)}, Floor: command.FirstOf(1), Generation: 5, Keyed: 6, Touches: 8, TouchFloor: 2,
	}
	old := func(b []byte) []byte { return append(b, make([]byte, oldScope)...) }
	data = appendRecord(data, testID, kindState, 0, func(b []byte) []byte { return appendState(b, &s) })
	data = appendRecord(data, testID, kindMarks, 0, func(b []byte) []byte { return le.AppendUint64(old(b), uint64(s.Clock.Seq)) })
	data = appendRecord(data, testID, kindTouched, 0, func(b []byte) []byte { return le.AppendUint64(old(le.AppendUint64(b, 2)), 9) })
	base := len(data)
	data = appendRecord(data, testID, kindApplied, int64(base), func(b []byte) []byte {
		return old(old(le.AppendUint64(b, uint64(s.Clock.Seq+1))))
	})
	copy(data, appendHeader(nil, testID, uint64(base)))
	data = AsVersion(data, 1)
	m, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if m.end != len(data) || m.state.Clock.Seq != s.Clock.Seq+1 || m.state.Floor != s.Clock.Seq+1 || m.state.Generation != 5 ||
		m.state.Touches != 9 || m.state.TouchFloor != 9 || len(m.marks)+len(m.touched)+len(m.softs) > 0 {
		t.Errorf("read %+v with %v, %v, %v", m.state, m.marks, m.touched, m.softs)
	}
	if _, err := parse(AsVersion(append(bytes.Clone(data), appendRecord(nil, testID, kindSofts, int64(base), func(b []byte) []byte { return b })...), 1)); !errors.Is(err, errDamaged) {
		t.Errorf("a kind that version 1 does not have: %v", err)
	}
}

// FuzzParse: whatever stands in the file, reading it ends, within what it holds.
func FuzzParse(f *testing.F) {
	data, ends := file()
	f.Add(data, false)
	f.Add(data[:ends[4]+5], false)
	f.Add(data[headerSize:], true)
	f.Fuzz(func(t *testing.T, data []byte, head bool) {
		if head { // past the header's checksum, and the records' as far as the seeds go
			data = append(appendHeader(nil, testID, headerSize), data...)
		}
		m, err := parse(data)
		switch {
		case err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, ErrNewer):
			t.Fatal(err)
		case err == nil && (m.state.Generation == 0 || m.end < headerSize || m.end > len(data)+7):
			t.Fatalf("%+v", m)
		}
		if err == nil {
			for scope, seq := range m.marks {
				if seq <= m.state.Floor {
					t.Fatalf("mark %v at %v below the floor", scope, seq)
				}
			}
		}
	})
}
