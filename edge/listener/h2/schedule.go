package h2

import "slices"

// pick chooses the stream that sends next (RFC 9218 §10): the most urgent ones first;
// among these the incremental ones take turns with one another and with the others, and
// of the others the first comes first. Nil if none can send. conn.mu is held.
func (c *conn) pick() *stream {
	var ordered, shared *stream
	for _, st := range c.mu.ready {
		if !st.sendable() {
			continue
		}
		if st.priority.incremental {
			if shared == nil || st.priority.urgency < shared.priority.urgency ||
				st.priority.urgency == shared.priority.urgency && st.turn < shared.turn {
				shared = st
			}
		} else if ordered == nil || st.priority.urgency < ordered.priority.urgency ||
			st.priority.urgency == ordered.priority.urgency && st.id < ordered.id {
			ordered = st
		}
	}
	st := ordered
	switch {
	case shared == nil:
	case ordered == nil, shared.priority.urgency < ordered.priority.urgency:
		st = shared
	case shared.priority.urgency == ordered.priority.urgency && c.mu.sharedNext:
		st = shared
	}
	if st == nil {
		return nil
	}
	c.mu.sharedNext = !st.priority.incremental
	c.mu.turn++
	st.turn = c.mu.turn
	return st
}

// sendable reports whether a part of the piece could be sent now: all but data can
// always be.
func (st *stream) sendable() bool {
	return st.waiting && (st.piece.answer != nil || len(st.piece.data) == 0 || st.window > 0 && st.conn.mu.window > 0)
}

// urgent reports whether somebody more urgent waits for room on the connection.
func (c *conn) urgent(urgency uint8) bool {
	for _, st := range c.mu.ready {
		if st.priority.urgency < urgency {
			return true
		}
	}
	return false
}

// unready forgets what a stream has to send.
func (c *conn) unready(st *stream) {
	if i := slices.Index(c.mu.ready, st); i >= 0 {
		c.mu.ready = slices.Delete(c.mu.ready, i, i+1)
	}
	st.waiting, st.piece = false, piece{}
}
