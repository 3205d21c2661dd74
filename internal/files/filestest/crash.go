package filestest

import (
	"math/rand/v2"
	"slices"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// CrashState is what a disk might hold when the power went after the first point
// changes of the journal: a layer of its own, without faults and journal. The seed
// chooses one of the many. What had been synced is there. Of what had not, each change
// of a name, each size and each sector of each write may be there or not, whatever came
// after it; where a file became longer and the bytes are not there, zeros are, or what
// a removed file had there. It is cheapest when points rise from call to call.
func (f *FS) CrashState(point int, seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.journal
	if j.disk == nil || j.disk.point > point {
		j.disk = j.begin()
	}
	for j.disk.point < point {
		j.disk.apply(j.changes[j.disk.point])
	}
	r := rand.New(rand.NewPCG(seed, uint64(point)))
	made := New()
	made.number = f.number
	for name := range f.dirs {
		made.dirs[name] = true
	}
	j.disk.rebuild(made, r)
	j.disk.by = &owner{}
	return made
}

// rebuild fills made with what might be left of the disk.
func (d *disk) rebuild(made *FS, r *rand.Rand) {
	names := map[string]uint64{}
	for name, number := range d.names {
		names[name] = number
	}
	keep := chooseNames(r, len(d.loose))
	for i, c := range d.loose {
		if keep(i) {
			follow(names, c)
		}
	}
	// In an order that the seed alone decides.
	for _, name := range sortedKeys(names) {
		file := d.files[names[name]]
		node := &inode{number: names[name], named: true}
		if len(file.loose) == 0 {
			node.content = file.durable.clone()
		} else {
			node.content = file.survivors(file.durable.clone(), made.by, chooseFate(r, len(file.loose)), d.stale(r))
		}
		made.inodes[name] = node
		made.used += node.size
	}
	made.peak = made.used
}

func sortedKeys(m map[string]uint64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// chooseNames decides which of n changes of names are there.
func chooseNames(r *rand.Rand, n int) func(i int) bool {
	switch r.IntN(4) {
	case 0:
		return func(int) bool { return false }
	case 1:
		return func(int) bool { return true }
	case 2: // a journal of the file system, cut off
		first := r.IntN(n + 1)
		return func(i int) bool { return i < first }
	default:
		return func(int) bool { return r.IntN(2) == 0 }
	}
}

// stale is a removed file whose blocks a file that grew may have got, often nil.
func (d *disk) stale(r *rand.Rand) *content {
	if len(d.gone) == 0 || r.IntN(3) > 0 {
		return nil
	}
	return &d.gone[r.IntN(len(d.gone))].durable
}

// fate says what becomes of loose changes: does the i-th change of size take effect,
// and did the disk write this sector after the i-th change?
type fate struct {
	size  func(i int) bool
	wrote func(i int, sector int64) bool
}

func allKept(int) bool { return true }

// fateOf is a fate of whole changes.
func fateOf(kept func(i int) bool) fate {
	return fate{kept, func(i int, _ int64) bool { return kept(i) }}
}

// sectorFate keeps half of the sectors of the first n changes, and all that follow.
func sectorFate(seed uint64, n int) fate {
	r := rand.New(rand.NewPCG(seed, 0))
	return fate{
		size:  func(i int) bool { return i >= n || r.IntN(2) == 0 },
		wrote: func(i int, _ int64) bool { return i >= n || r.IntN(2) == 0 },
	}
}

// chooseFate decides what is there of n changes.
func chooseFate(r *rand.Rand, n int) fate {
	chance := []float64{0.03, 0.3, 0.5, 0.9, 0.99}[r.IntN(5)]
	random := func(int) bool { return r.Float64() < chance }
	torn := func(int, int64) bool { return r.Float64() < chance }
	switch r.IntN(7) {
	case 0: // nothing
		return fateOf(func(int) bool { return false })
	case 1: // everything: the page cache was just written back
		return fateOf(allKept)
	case 2: // in order, up to some point
		return ordered(r, n)
	case 3: // any of them, each whole
		decided := make([]bool, n)
		for i := range decided {
			decided[i] = random(i)
		}
		return fateOf(func(i int) bool { return decided[i] })
	case 4: // the size alone
		return fate{allKept, torn}
	case 5: // the bytes, of the size only what was there
		return fate{random, func(int, int64) bool { return true }}
	default: // any sectors of them
		return fate{random, torn}
	}
}

// ordered keeps all changes up to one, and the first sectors of that.
func ordered(r *rand.Rand, n int) fate {
	last := r.IntN(n)
	left := r.IntN(64)
	return fate{
		size: func(i int) bool { return i <= last },
		wrote: func(i int, _ int64) bool {
			if i == last {
				left--
			}
			return i < last || i == last && left >= 0
		},
	}
}

// survivors is c after the loose changes met their fate. A sector that was written
// holds all that had been changed in it by then: the page cache knows no less. Where
// the file became longer and nothing was written, the bytes of stale show, if any.
func (s *state) survivors(c content, by *owner, f fate, stale *content) content {
	old, longest := c.size, c.size
	for _, l := range s.loose {
		longest = max(longest, l.off+int64(len(l.data)))
	}
	// last tells for each sector up to which change it was written, plus 1.
	low, last := s.sectors(longest)
	for i, l := range s.loose {
		for n := l.off / sector; l.kind == written && n*sector < l.off+int64(len(l.data)); n++ {
			if f.wrote(i, n) {
				last[n-low] = int32(i) + 1
			}
		}
	}
	size, seen := old, old // on the disk, and as the program sees it
	c.size = longest
	for i, l := range s.loose {
		end := l.off + int64(len(l.data))
		if l.kind == resized {
			if f.size(i) {
				size = l.off
				c.resize(min(size, seen), by)
				c.size = longest
			}
			seen = l.off
			continue
		}
		if end > seen {
			seen = end
			if f.size(i) {
				size = max(size, end)
			}
		}
		for n := l.off / sector; n*sector < end; n++ {
			from, to := max(l.off, n*sector), min(end, (n+1)*sector)
			if int32(i) < last[n-low] {
				c.writeAt(l.data[from-l.off:to-l.off], from, by)
			}
		}
	}
	c.resize(size, by)
	if stale != nil {
		s.expose(&c, old, low, last, stale, by)
	}
	return c
}

// sectors is room for a number for each sector that a loose write touches, from low on.
func (s *state) sectors(end int64) (low int64, last []int32) {
	low = end / sector
	for _, l := range s.loose {
		if l.kind == written {
			low = min(low, l.off/sector)
		}
	}
	return low, make([]int32, end/sector+1-low)
}

// expose lets the sectors that c got beyond old, and that nothing was written to, show
// the bytes of stale.
func (s *state) expose(c *content, old, low int64, last []int32, stale *content, by *owner) {
	buffer := make([]byte, sector)
	for n := (old + sector - 1) / sector; (n+1)*sector <= min(c.size, stale.size); n++ {
		if n >= low && n-low < int64(len(last)) && last[n-low] > 0 {
			continue
		}
		stale.readAt(buffer, n*sector)
		c.writeAt(buffer, n*sector, by)
	}
}
