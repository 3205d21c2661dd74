package header

import "strings"

// EqualName reports whether two field names are the same, ASCII case folded.
func EqualName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z' {
			return false
		}
	}
	return true
}

// HasPrefixName reports whether name starts with prefix, ASCII case folded.
func HasPrefixName(name, prefix string) bool {
	return len(name) >= len(prefix) && EqualName(name[:len(prefix)], prefix)
}

// nameBits is a set of field names in which each has one bit, which it may share with
// others: a name whose bit is not set is not in it.
type nameBits uint64

// bitOf is the bit of a name, the same in any case.
func bitOf(name string) nameBits {
	if name == "" {
		return 0
	}
	n := uint32(len(name))
	h := n ^ uint32(name[0]|0x20)<<8 ^ uint32(name[n/2]|0x20)<<16 ^ uint32(name[n-1]|0x20)<<24
	return 1 << (h * 0x9e3779b1 >> 26)
}

// Names is a set of field names to be asked after together. The zero value is empty.
type Names struct {
	list []string
	bits nameBits
}

// NamesOf makes a set.
func NamesOf(names ...string) *Names {
	set := &Names{list: names}
	for _, name := range names {
		set.bits |= bitOf(name)
	}
	return set
}

// HasAny reports whether a field of one of the names is there. Mostly it is one
// comparison that tells that there is none.
func (b *Block) HasAny(set *Names) bool {
	if b.names&set.bits == 0 {
		return false
	}
	for _, name := range set.list {
		if b.Has(name) {
			return true
		}
	}
	return false
}

// hopByHop are the fields that belong to one connection (RFC 9110 §7.6.1) besides
// those that Connection names. Proxy-Authenticate and its kin are between a client
// and the proxy next to it (RFC 9110 §11.7).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "TE", "Trailer",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info", "HTTP2-Settings",
}

// RemoveHopByHop drops every field that is meant for the next hop alone: those of
// RFC 9110 §7.6.1 and those that Connection names. It allocates nothing where
// Connection names none of the block's fields or few.
func (b *Block) RemoveHopByHop() {
	if b.names&hopBits == 0 {
		return
	}
	var few [8]string
	named := few[:0]
	for v := range b.Values("Connection") {
		for token := range strings.SplitSeq(v, ",") {
			token = strings.TrimSpace(token)
			if b.Has(token) && !containsName(named, token) {
				named = append(named, token)
			}
		}
	}
	for _, name := range hopByHop {
		b.cut(name)
	}
	for _, name := range named {
		b.cut(name)
	}
}

var hopBits = NamesOf(hopByHop...).bits

// cut removes the fields of that name and leaves their bytes where they are.
func (b *Block) cut(name string) {
	kept := b.find(name, 0)
	if kept < 0 {
		return
	}
	for _, f := range b.fields[kept+1:] {
		if int(f.nameLen) != len(name) || !EqualName(b.slice(f.name, f.nameLen), name) {
			b.fields[kept] = f
			kept++
		}
	}
	b.fields, b.gaps = b.fields[:kept], true
}

func containsName(names []string, name string) bool {
	for _, n := range names {
		if EqualName(n, name) {
			return true
		}
	}
	return false
}

// validName: RFC 9110 §5.6.2, token.
func validName(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return true
}

// tokenByte is tchar of RFC 9110 §5.6.2.
var tokenByte = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return
}()

// validValue: RFC 9110 §5.5, field-content; no controls but tab, no white space
// at the ends.
func validValue(s string) bool {
	if s == "" {
		return true
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	first, last := s[0], s[len(s)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t'
}
