package disk

import "freshet/edge/store/disk/record"

// filter is a set of keys that never forgets one and now and then believes that it has
// one which it doesn't: a Bloom filter in blocks of a cache line. At the number of keys
// that it was made for it takes 20 bits each and is wrong about once in two thousand times.
// A tombstone stays for as long as one filter of all segments takes it for one of its
// keys: at one time in a hundred a disk of some hundred segments would never lose any.
type filter struct {
	blocks []filterBlock
}

type filterBlock [8]uint64

const (
	filterBits   = 20 // for each key
	filterProbes = 6
)

func newFilter(keys int) *filter {
	return &filter{make([]filterBlock, max(1, (keys*filterBits+511)/512))}
}

// filterOf is the set of the keys of stored records, with room for as many more.
func filterOf(entries []record.Entry, more int) *filter {
	f := newFilter(len(entries) + more)
	for _, e := range entries {
		if e.Type == record.Stored {
			f.add(e.Sum.Hi, e.Sum.Lo)
		}
	}
	return f
}

func (f *filter) block(lo uint64) *filterBlock {
	return &f.blocks[(lo>>32)*uint64(len(f.blocks))>>32]
}

func (f *filter) add(hi, lo uint64) {
	b := f.block(lo)
	for range filterProbes {
		b[hi>>6&7] |= 1 << (hi & 63)
		hi >>= 9
	}
}

func (f *filter) has(hi, lo uint64) bool {
	b := f.block(lo)
	for range filterProbes {
		if b[hi>>6&7]&(1<<(hi&63)) == 0 {
			return false
		}
		hi >>= 9
	}
	return true
}
