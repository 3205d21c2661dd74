package cluster

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"
)

// The version of a list is a hash of what it says. So it never changes without the
// list, whatever made the store wake a watch, and it survives a store that starts
// to count anew.

// NewNodes sorts list, which it keeps, and gives it its version.
func NewNodes(list []Node) Nodes {
	slices.SortFunc(list, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	var d digest
	for _, n := range list {
		for _, text := range []string{n.Name, string(n.Role), n.PoP, n.Region, n.Admin, n.Version, n.Reason} {
			d.text(text)
		}
		d.number(uint64(n.Tier))
		for _, addrs := range [][]netip.AddrPort{n.Addrs, n.TierAddrs} {
			d.number(uint64(len(addrs)))
			for _, addr := range addrs {
				d.text(addr.String())
			}
		}
		if n.Ready {
			d.number(1)
		} else {
			d.number(0)
		}
	}
	return Nodes{Version: d.version(), List: list}
}

// NewPairs sorts list, which it keeps, and gives it its version.
func NewPairs(list []Pair) Pairs {
	slices.SortFunc(list, func(a, b Pair) int { return strings.Compare(a.Key, b.Key) })
	var d digest
	for _, p := range list {
		d.text(p.Key)
		d.number(p.Version)
		d.number(uint64(len(p.Value)))
		_, _ = d.hash.Write(p.Value)
	}
	return Pairs{Version: d.version(), List: list}
}

// digest hashes a sequence of texts and numbers, such that no two sequences run
// into the same bytes.
type digest struct{ hash xxh3.Hasher }

func (d *digest) number(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	_, _ = d.hash.Write(b[:])
}

func (d *digest) text(s string) {
	d.number(uint64(len(s)))
	_, _ = d.hash.WriteString(s)
}

// version is the hash, and never 0, which names no version.
func (d *digest) version() uint64 { return max(d.hash.Sum64(), 1) }
