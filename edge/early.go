package edge

import (
	"freshet/edge/exchange"
	"freshet/internal/header"
)

// earlyField tells that a request may be a replay of TLS early data (RFC 8470 §5.1).
const earlyField = "Early-Data"

// sayEarly has a parent know that a request came as early data, whether to this node or
// to one before it: the parent may refuse it with 425, which its client can repeat after
// the handshake. What the field says does not matter (§5.1); it is never taken out.
func sayEarly(h *header.Block, req *exchange.Request) error {
	if !req.Early && !req.Header.Has(earlyField) {
		return nil
	}
	return h.Set(earlyField, "1")
}
