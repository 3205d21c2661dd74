package h2

import "freshet/internal/header"

// staticNames are the names of the static table (RFC 7541 appendix A) with the first
// index that each has.
var staticNames = []struct {
	index byte
	name  string
}{
	{8, ":status"}, {15, "accept-charset"}, {16, "accept-encoding"}, {17, "accept-language"}, {18, "accept-ranges"},
	{19, "accept"}, {20, "access-control-allow-origin"}, {21, "age"}, {22, "allow"}, {23, "authorization"},
	{24, "cache-control"}, {25, "content-disposition"}, {26, "content-encoding"}, {27, "content-language"},
	{28, "content-length"}, {29, "content-location"}, {30, "content-range"}, {31, "content-type"}, {32, "cookie"},
	{33, "date"}, {34, "etag"}, {35, "expect"}, {36, "expires"}, {37, "from"}, {38, "host"}, {39, "if-match"},
	{40, "if-modified-since"}, {41, "if-none-match"}, {42, "if-range"}, {43, "if-unmodified-since"}, {44, "last-modified"},
	{45, "link"}, {46, "location"}, {47, "max-forwards"}, {48, "proxy-authenticate"}, {49, "proxy-authorization"},
	{50, "range"}, {51, "referer"}, {52, "refresh"}, {53, "retry-after"}, {54, "server"}, {55, "set-cookie"},
	{56, "strict-transport-security"}, {57, "transfer-encoding"}, {58, "user-agent"}, {59, "vary"}, {60, "via"},
	{61, "www-authenticate"},
}

// The last index of the static table.
const staticLen = 61

// staticSlots finds a name by its length and some of its letters; names that fall on one
// slot stand in those that follow.
var staticSlots = func() (slots [256]byte) {
	for i, s := range staticNames {
		at := staticSlot(s.name)
		for slots[at] != 0 {
			at++
		}
		slots[at] = byte(i) + 1
	}
	return
}()

func staticSlot(name string) byte {
	n := len(name)
	return byte(n*29) + (name[0]|0x20)*7 + (name[n/2]|0x20)*13 + (name[n-1]|0x20)*37
}

// staticName is the static table's index of a name in any case, 0 if it has none.
func staticName(name string) byte {
	if name == "" {
		return 0
	}
	for at := staticSlot(name); staticSlots[at] != 0; at++ {
		if s := &staticNames[staticSlots[at]-1]; header.EqualName(s.name, name) {
			return s.index
		}
	}
	return 0
}
