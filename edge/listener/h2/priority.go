package h2

import "strings"

// priority is what the client says of an answer's (RFC 9218 §4).
type priority struct {
	urgency     uint8 // 0 comes first, 7 last
	incremental bool  // a part of it is of use already
}

var usual = priority{urgency: 3}

// parsePriority reads the value of a Priority field or PRIORITY_UPDATE frame. What is
// unknown or cannot be read is the same as if it was not there.
func parsePriority(s string) priority {
	p := usual
	for s != "" {
		var member string
		member, s, _ = strings.Cut(s, ",")
		member, _, _ = strings.Cut(strings.Trim(member, " \t"), ";")
		name, value, given := strings.Cut(member, "=")
		switch {
		case name == "u" && len(value) == 1 && value[0] >= '0' && value[0] <= '7':
			p.urgency = value[0] - '0'
		case name == "i" && (!given || value == "?1"):
			p.incremental = true
		case name == "i" && value == "?0":
			p.incremental = false
		}
	}
	return p
}
