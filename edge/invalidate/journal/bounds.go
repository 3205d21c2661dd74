package journal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/internal/command"
)

// MinBound is the least that a journal can be bounded to, in bytes.
const MinBound = 4 << 10

// maxStep is how far ahead space is reserved at most, in bytes, so that a disk which
// fills up stops the journal late, and syncs need not write the file's size.
const maxStep = 256 << 10

// slack is how much a journal may grow beyond what it began with before it is due to
// be written anew, in bytes, beside as much again as it began with.
const slack = 1 << 20

var errTooMuch = errors.New("more purge marks than there is room for")

// bounds divide what the files of a journal may take, in bytes. While it is written
// anew there are two files: the old one and the new one, of half that length at most.
type bounds struct {
	anew int64 // a file that was just written, with what is reserved
	file int64 // one that has grown
	step int64 // reserved ahead
}

// boundsOf divides a Config's Bound.
func boundsOf(bound int64) (bounds, error) {
	switch {
	case bound == 0:
		return bounds{anew: maxFile / 2, file: maxFile, step: maxStep}, nil
	case bound < MinBound:
		return bounds{}, fmt.Errorf("purge marks are bounded to %d bytes, %d is the least", bound, MinBound)
	}
	third := bound / 3
	return bounds{anew: third, file: 2 * third, step: min(maxStep, third/8)}, nil
}

// due is the length from which on a file is written anew that began with base, well
// before it is full.
func (b bounds) due(base int64) int64 { return min(2*base+slack, (base+b.file)/2) }

// Room is how much a new file can begin with: an eighth for bans, and of the rest four
// marks, of which a soft one takes the most, to one touched scope, and few windows.
func (j *Journal) Room() invalidate.Room {
	const record = prefixSize + 8 // around perRecord of them, with the touch floor
	bans := min(j.bounds.anew/8, invalidate.MaxBanBytes+invalidate.MaxBans*banRecord)
	room := j.bounds.anew - j.bounds.step - headerSize - prefixSize - stateSize - prefixSize - linkSize - 4*record - bans
	n := int(room * perRecord / (perRecord*softSize + record))
	return invalidate.Room{
		Marks: min(n-n/5-n/32, invalidate.MaxMarks), Touched: min(n/5, invalidate.MaxTouched), Windows: min(n/32, invalidate.MaxWindows),
		BanBytes: max(0, min(int(bans)-invalidate.MaxBans*banRecord, invalidate.MaxBanBytes)),
	}
}

// fit forgets the oldest until no more is left than there is room for, and reports
// whether it had to.
func (m *image) fit(room invalidate.Room) (forgot bool) {
	marks, touched := room.Marks, room.Touched
	forgot = m.fitBans(room.BanBytes)
	if len(m.windows) > room.Windows {
		m.windows = map[response.ScopeHash]int64{invalidate.Everything: invalidate.Latest(m.windows)}
	}
	if len(m.marks)+len(m.softs) > marks {
		forgot = true
		// What is marked ahead was not acknowledged and will be told again.
		for scope, seq := range m.marks {
			if seq > m.state.Clock.Seq {
				delete(m.marks, scope)
			}
		}
		all := make([]command.Seq, 0, len(m.marks)+len(m.softs))
		for _, seq := range m.marks {
			all = append(all, seq)
		}
		for at := range m.softs {
			if at.seq > m.state.Clock.Seq {
				delete(m.softs, at)
				continue
			}
			all = append(all, at.seq)
		}
		m.state.Floor = max(m.state.Floor, below(all, marks))
	}
	if len(m.touched) > touched {
		forgot = true
		m.state.TouchFloor = max(m.state.TouchFloor, below(slices.Collect(maps.Values(m.touched)), touched))
	}
	m.prune()
	return forgot
}

// fitBans makes the oldest bans marks on all that they may cover, until the others have
// room, and reports whether it had to.
func (m *image) fitBans(bytes int) (had bool) {
	slices.SortStableFunc(m.bans, func(a, b invalidate.Ban) int { return cmp.Compare(a.Seq, b.Seq) })
	size := 0
	for i := range m.bans {
		size += len(m.bans[i].Text())
	}
	for len(m.bans) > 0 && (len(m.bans) > invalidate.MaxBans || size > bytes) {
		had = true
		b := &m.bans[0]
		size -= len(b.Text())
		if b.Soft {
			m.soften(b.Wide(), b.Seq, b.Since)
		} else {
			m.mark(b.Wide(), b.Seq)
		}
		if b.Until > 0 {
			m.windows[b.Wide()] = max(m.windows[b.Wide()], b.Until)
		}
		m.bans = m.bans[1:]
	}
	return had
}

// below is the number above which no more than so many of all lie; zero if that is all.
func below[N ~uint64](all []N, most int) N {
	if len(all) <= most {
		return 0
	}
	slices.Sort(all)
	return all[len(all)-most-1]
}
