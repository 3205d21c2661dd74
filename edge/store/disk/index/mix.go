package index

// mixer turns keys into tags, one to one, by secrets of the process: who chooses keys
// cannot choose where they lie, and so cannot crowd them.
type mixer struct {
	add               uint64
	first, second     uint64 // odd
	unfirst, unsecond uint64 // their inverses modulo 2^64
}

func newMixer(add, first, second uint64) mixer {
	first, second = first|1, second|1
	return mixer{add: add, first: first, second: second, unfirst: inverse(first), unsecond: inverse(second)}
}

func (m *mixer) tag(key uint64) uint64 {
	x := (key ^ m.add) * m.first
	return (x ^ x>>32) * m.second
}

// key is the key that has the tag.
func (m *mixer) key(tag uint64) uint64 {
	x := tag * m.unsecond
	return (x^x>>32)*m.unfirst ^ m.add
}

// inverse is the inverse of an odd number modulo 2^64. n is its own inverse modulo 8,
// and each round of Newton's doubles the bits that are right.
func inverse(n uint64) uint64 {
	x := n
	for range 5 {
		x *= 2 - n*x
	}
	return x
}
