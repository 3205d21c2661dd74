package h3

import (
	"bufio"
	"io"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// update is what a PRIORITY_UPDATE frame has said.
type update struct {
	id    quic.StreamID
	value string // "" is none
}

// prioritize has the answer of a request that begins come in its turn, as its head says,
// or a PRIORITY_UPDATE that came before. Quic-go's own priority is that of clients which
// say nothing: the usual urgency, and turns with others.
func (c *conn) prioritize(s *stream) {
	id, value := s.q.StreamID(), s.head.priority
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.mu.early {
		if e.id == id && e.value != "" {
			value = e.value
		}
	}
	if c.mu.running == nil {
		c.mu.running = make(map[quic.StreamID]*quic.Stream)
	}
	c.mu.running[id], s.listed = s.q, true
	obey(s.q, value)
}

// obey sets the priority of a stream, if value says one.
func obey(q *quic.Stream, value string) {
	if value == "" {
		return
	}
	if urgency, incremental, ok := priority(value); ok {
		q.SetPriority(urgency, incremental)
	}
}

// forget forgets the stream of a request that has ended.
func (c *conn) forget(id quic.StreamID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.running, id)
}

// readPriority reads a PRIORITY_UPDATE frame and does what it says (RFC 9218 §7.2). It may
// come before its request; a few are kept for that.
func (c *conn) readPriority(in *bufio.Reader, length uint64) error {
	if length > maxControlFrame {
		return connError{codeExcessiveLoad, "PRIORITY_UPDATE that is too large"}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	n, i, err := quicvarint.Parse(body)
	if err != nil {
		return connError{codeFrame, "a frame of a wrong length"}
	}
	id, value := quic.StreamID(n), string(body[i:])
	if id%4 != 0 {
		return connError{codeID, "a priority of what is no request"}
	}
	if value == "" {
		value = "u=3" // the defaults again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.mu.running[id]; q != nil {
		obey(q, value)
		return nil
	}
	c.mu.early[c.mu.earlyAt%len(c.mu.early)] = update{id, value}
	c.mu.earlyAt++
	return nil
}
