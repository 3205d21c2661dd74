package edge

import (
	"errors"
	"strings"

	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/hop"
)

// isLoop reports whether a request has passed this node before: its CDN-Loop
// names it (RFC 8586).
func (e *Edge) isLoop(h *header.Block) bool {
	for value := range h.Values("CDN-Loop") {
		for member := range strings.SplitSeq(value, ",") {
			id, _, _ := strings.Cut(member, ";")
			if strings.EqualFold(strings.TrimSpace(id), e.pseudonym) {
				return true
			}
		}
	}
	return false
}

// markPassage says in a request that it has passed here (RFC 8586, RFC 9110
// §7.6.3).
func (e *Edge) markPassage(h *header.Block) error {
	return errors.Join(
		h.Set("CDN-Loop", appendList(h.Joined("CDN-Loop"), e.pseudonym)),
		h.Set("Via", appendList(h.Joined("Via"), "1.1 "+e.pseudonym)),
	)
}

// appendList adds a member to a list-based field value.
func appendList(list, member string) string {
	if list == "" {
		return member
	}
	return list + ", " + member
}

// fenceClock is the moment that a node must have reached to know whether it can
// satisfy a fence from what it holds. A hard mark that it has not heard of needs no
// wait: what it holds is older, and has to be fetched anyway.
func fenceClock(f hop.Fence) command.Clock { return command.Clock{Log: f.Log, Seq: f.Floor} }
