package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/internal/command"
)

// version is of the format that is written, and the newest that is read.
const version = 2

// Sizes, in bytes.
const (
	headerSize = 40
	prefixSize = 24
	stateSize  = 56
	markSize   = 16
	softSize   = 24
	scopeSize  = 8
	oldScope   = 16 // of version 1
	banSize    = 32 // without its text
	banRecord  = prefixSize + banSize + 7
	linkSize   = 24
	maxPayload = 128 << 10 // of one record
	maxFile    = 256 << 20 // more than invalidate.MaxMarks and what is appended to them may take
)

// perRecord is how many marks, touches or scopes are put into one record.
const perRecord = 4096

const magic = "FRSHMRKS"

type kind uint8

// The kinds of records.
const (
	kindState kind = iota + 1
	kindMarks
	kindTouched
	kindApplied
	kindForgot
	kindNote
	kindSofts
	kindSoftened
	kindWindows
	kindBan
	kindLink
)

// Errors of reading a journal.
var (
	errDamaged = errors.New("journal is damaged")
	// ErrNewer says that a newer version has written the journal.
	ErrNewer = errors.New("journal is of a newer version")
)

var le = binary.LittleEndian

func sum(b []byte, id uint64) uint64 { return xxh3.HashSeed(b, id) }

// appendHeader appends the header of a file.
func appendHeader(b []byte, id, base uint64) []byte {
	at := len(b)
	b = append(b, magic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, id)
	b = le.AppendUint64(b, base)
	return le.AppendUint64(b, sum(b[at:], id))
}

// parseHeader reads the header that data begins with. The header of every version
// keeps its shape.
func parseHeader(data []byte) (id, base uint64, v uint32, err error) {
	if len(data) < headerSize || string(data[:8]) != magic {
		return 0, 0, 0, fmt.Errorf("%w: it has no header", errDamaged)
	}
	id, base = le.Uint64(data[16:]), le.Uint64(data[24:])
	if sum(data[:32], id) != le.Uint64(data[32:]) {
		return 0, 0, 0, fmt.Errorf("%w: its header fails its checksum", errDamaged)
	}
	if v = le.Uint32(data[8:]); v < 1 || v > version {
		return 0, 0, 0, fmt.Errorf("%w (%d, this one reads 1 to %d)", ErrNewer, v, version)
	}
	return id, base, v, nil
}

// appendRecord appends a record around the payload that fill appends.
func appendRecord(b []byte, id uint64, k kind, durable int64, fill func([]byte) []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, prefixSize)...)
	b = fill(b)
	le.PutUint32(b[at+8:], uint32(len(b)-at-prefixSize))
	b[at+12] = byte(k)
	le.PutUint64(b[at+16:], uint64(durable))
	le.PutUint64(b[at:], sum(b[at+8:], id))
	return append(b, make([]byte, -len(b)&7)...)
}

// record is one record as it stands in a file.
type record struct {
	kind    kind
	durable uint64
	payload []byte
	size    int
}

// recordAt is the record of file id that stands at off, if one does whole.
func recordAt(data []byte, off int, id uint64) (r record, ok bool) {
	data = data[off:]
	if len(data) < prefixSize {
		return r, false
	}
	length := le.Uint32(data[8:])
	r = record{kind: kind(data[12]), durable: le.Uint64(data[16:])}
	if length > maxPayload || int(length) > len(data)-prefixSize || r.durable > uint64(off) {
		return r, false
	}
	end := prefixSize + int(length)
	if sum(data[8:end], id) != le.Uint64(data) {
		return r, false
	}
	r.payload, r.size = data[prefixSize:end], end+(-end&7)
	return r, true
}

func appendState(b []byte, s *invalidate.State) []byte {
	for _, v := range [...]uint64{
		uint64(s.Clock.Log), uint64(s.Clock.Seq), uint64(s.Floor), s.Generation, s.Keyed, s.Touches, s.TouchFloor,
	} {
		b = le.AppendUint64(b, v)
	}
	return b
}

func appendLink(b []byte, seq command.Seq, link command.Link) []byte {
	return append(le.AppendUint64(b, uint64(seq)), link[:]...)
}

func appendScope(b []byte, scope response.ScopeHash) []byte {
	return le.AppendUint64(b, uint64(scope))
}

func readScope(b []byte) response.ScopeHash { return response.ScopeHash(le.Uint64(b)) }

// image is what a file says.
type image struct {
	state   invalidate.State // without Marks and Touched
	marks   map[response.ScopeHash]command.Seq
	softs   map[softMark]int64 // and their times
	touched map[response.ScopeHash]uint64
	windows map[response.ScopeHash]int64
	bans    []invalidate.Ban
	links   [2]linked // the last ones
	old     bool      // of version 1
	end     int       // of what is good
}

// linked is the link of the record at a sequence.
type linked struct {
	seq  command.Seq
	link command.Link
}

// softMark is a soft mark on a scope.
type softMark struct {
	scope response.ScopeHash
	seq   command.Seq
}

// parse reads a file. It fails with errDamaged or ErrNewer.
func parse(data []byte) (*image, error) {
	id, base, v, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	m := &image{
		marks: make(map[response.ScopeHash]command.Seq), softs: make(map[softMark]int64),
		touched: make(map[response.ScopeHash]uint64), windows: make(map[response.ScopeHash]int64), old: v == 1, end: headerSize,
	}
	for {
		r, ok := recordAt(data, min(m.end, len(data)), id)
		if !ok {
			break
		}
		if first := m.end == headerSize; first != (r.kind == kindState) {
			return nil, fmt.Errorf("%w: a record of kind %d at %d", errDamaged, r.kind, m.end)
		}
		if !m.add(r) {
			return nil, fmt.Errorf("%w: a record of kind %d with %d bytes at %d", errDamaged, r.kind, len(r.payload), m.end)
		}
		m.end += r.size
	}
	switch {
	case m.end == headerSize || uint64(m.end) < base:
		return nil, fmt.Errorf("%w: no good record at %d, below %d that was durable from the start", errDamaged, m.end, base)
	case wasDurable(data, m.end, id):
		return nil, fmt.Errorf("%w: no good record at %d, where a later record says that one was durable", errDamaged, m.end)
	case m.state.Generation == 0:
		return nil, fmt.Errorf("%w: it has no generation", errDamaged)
	}
	if m.old { // it has no mark that anything stored since could be held against
		m.state.Floor, m.state.TouchFloor = max(m.state.Floor, m.state.Clock.Seq), m.state.Touches
	}
	for _, l := range m.links { // that of what is applied: the last may be of a command that is not
		if l.seq == m.state.Clock.Seq {
			m.state.Link = l.link
		}
	}
	m.prune()
	return m, nil
}

// wasDurable reports whether a record beyond off says that more than off bytes were
// durable.
func wasDurable(data []byte, off int, id uint64) bool {
	for at := off + 8; at+prefixSize <= len(data); at += 8 {
		// First what costs nothing: most of what is here are zeros.
		if le.Uint64(data[at+16:]) <= uint64(off) {
			continue
		}
		if r, ok := recordAt(data, at, id); ok && r.durable > uint64(off) {
			return true
		}
	}
	return false
}

// add takes in one record; false if that is no shape of its kind.
func (m *image) add(r record) bool {
	p, s := r.payload, &m.state
	word := func(i int) uint64 { return le.Uint64(p[8*i:]) }
	switch r.kind {
	case kindState:
		if len(p) != stateSize {
			return false
		}
		s.Clock = command.Clock{Log: command.LogID(word(0)), Seq: command.Seq(word(1))}
		s.Floor, s.Generation, s.Keyed, s.Touches, s.TouchFloor = command.Seq(word(2)), word(3), word(4), word(5), word(6)
	case kindMarks:
		return m.addMarks(p)
	case kindTouched:
		return m.addTouched(p)
	case kindApplied, kindSoftened:
		return m.addApplied(p, r.kind == kindSoftened)
	case kindSofts:
		if m.old || len(p)%softSize != 0 {
			return false
		}
		for ; len(p) > 0; p = p[softSize:] {
			m.soften(readScope(p), command.Seq(le.Uint64(p[8:])), int64(le.Uint64(p[16:])))
		}
	case kindWindows:
		if m.old || len(p)%markSize != 0 {
			return false
		}
		for ; len(p) > 0; p = p[markSize:] {
			scope := readScope(p)
			m.windows[scope] = max(m.windows[scope], int64(le.Uint64(p[8:])))
		}
	case kindBan:
		if m.old || len(p) < banSize {
			return false
		}
		b := invalidate.Ban{Seq: command.Seq(word(0)), Since: int64(word(1)), Until: int64(word(2)), Soft: word(3) != 0}
		b.SetText(p[banSize:])
		m.ban(b)
	case kindLink:
		if m.old || len(p) != linkSize {
			return false
		}
		m.links = [2]linked{m.links[1], {command.Seq(word(0)), command.Link(p[8:])}}
	case kindForgot:
		if len(p) != 8 {
			return false
		}
		s.Floor = max(s.Floor, command.Seq(word(0)))
	case kindNote:
		return len(p) == 0
	default:
		return false
	}
	return true
}

// addMarks, addTouched and addApplied take in the payloads of those kinds. Those of version
// 1 are held against their shape alone, but for the sequences.
func (m *image) addMarks(p []byte) bool {
	if m.old {
		return len(p)%(oldScope+8) == 0
	}
	if len(p)%markSize != 0 {
		return false
	}
	for ; len(p) > 0; p = p[markSize:] {
		m.mark(readScope(p), command.Seq(le.Uint64(p[8:])))
	}
	return true
}

func (m *image) addTouched(p []byte) bool {
	size := markSize
	if m.old {
		size = oldScope + 8
	}
	if len(p) < 8 || len(p[8:])%size != 0 {
		return false
	}
	s := &m.state
	s.TouchFloor = max(s.TouchFloor, le.Uint64(p))
	s.Touches = max(s.Touches, s.TouchFloor)
	for p = p[8:]; len(p) > 0; p = p[size:] {
		n := le.Uint64(p[size-8:])
		if !m.old {
			scope := readScope(p)
			m.touched[scope] = max(m.touched[scope], n)
		}
		s.Touches = max(s.Touches, n)
	}
	return true
}

func (m *image) addApplied(p []byte, softly bool) bool {
	fixed, size := 8, scopeSize
	switch {
	case softly && m.old:
		return false
	case softly:
		fixed = 16
	case m.old:
		size = oldScope
	}
	if len(p) < fixed || len(p[fixed:])%size != 0 {
		return false
	}
	seq, since := command.Seq(le.Uint64(p)), int64(0)
	if softly {
		since = int64(le.Uint64(p[8:]))
	}
	m.state.Clock.Seq = max(m.state.Clock.Seq, seq)
	for p = p[fixed:]; len(p) > 0 && !m.old; p = p[size:] {
		if softly {
			m.soften(readScope(p), seq, since)
		} else {
			m.mark(readScope(p), seq)
		}
	}
	return true
}

func (m *image) mark(scope response.ScopeHash, seq command.Seq) {
	m.marks[scope] = max(m.marks[scope], seq)
}

// soften takes in a soft mark; of two times the earlier counts.
func (m *image) soften(scope response.ScopeHash, seq command.Seq, since int64) {
	at := softMark{scope, seq}
	if was, ok := m.softs[at]; ok {
		since = min(since, was)
	}
	m.softs[at] = since
}

// ban takes in a ban, which may be there already if its command was applied again.
func (m *image) ban(b invalidate.Ban) {
	for i := len(m.bans) - 1; i >= 0 && m.bans[i].Seq == b.Seq; i-- {
		if bytes.Equal(m.bans[i].Text(), b.Text()) {
			return
		}
	}
	m.bans = append(m.bans, b)
}

// prune drops what lies below the floors, which stand for it.
func (m *image) prune() {
	for scope, seq := range m.marks {
		if seq <= m.state.Floor {
			delete(m.marks, scope)
		}
	}
	for at := range m.softs {
		if at.seq <= m.state.Floor {
			delete(m.softs, at)
		}
	}
	m.bans = slices.DeleteFunc(m.bans, func(b invalidate.Ban) bool { return b.Seq <= m.state.Floor && b.Until == 0 })
	for scope, n := range m.touched {
		if n <= m.state.TouchFloor {
			delete(m.touched, scope)
		}
	}
}
