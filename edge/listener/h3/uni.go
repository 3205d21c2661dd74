package h3

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// acceptUni takes the streams that go one way, until the connection ends.
func (c *conn) acceptUni() {
	for {
		q, err := c.q.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		c.handlers.Go(func() { c.uni(q) })
	}
}

// uni reads such a stream: which it is, and then what it says.
func (c *conn) uni(q *quic.ReceiveStream) {
	defer q.ReleaseStreamCredit()
	in := bufio.NewReaderSize(q, 64)
	kind, err := quicvarint.Read(in)
	if err != nil {
		q.CancelRead(codeStreamCreation) // a stream may end before its type (RFC 9114 §6.2)
		return
	}
	switch kind {
	case streamControl, streamEncoder, streamDecoder:
		c.mu.Lock()
		twice := c.mu.seen[kind]
		c.mu.seen[kind] = true
		c.mu.Unlock()
		if twice {
			c.fail(connError{codeStreamCreation, "a critical stream that stands twice"})
			return
		}
		read := map[uint64]func(*bufio.Reader) error{
			streamControl: c.readControl, streamEncoder: readEncoder, streamDecoder: readDecoder,
		}[kind]
		err := read(in)
		if e, ok := errors.AsType[connError](err); ok {
			c.fail(e)
		} else if c.q.Context().Err() == nil {
			c.fail(connError{codeClosedCritical, "a critical stream has ended"})
		}
	case streamPush:
		c.fail(connError{codeStreamCreation, "a push by a client"})
	default: // of an extension
		q.CancelRead(codeStreamCreation)
		if e, ok := errors.AsType[connError](c.control()); ok {
			c.fail(e)
		}
	}
}

// readControl reads the client's control stream (RFC 9114 §6.2.1).
func (c *conn) readControl(in *bufio.Reader) error {
	var goAway, maxPush uint64
	goAway = 1<<62 - 1
	for first := true; ; first = false {
		kind, err := quicvarint.Read(in)
		if err != nil {
			return err
		}
		length, err := quicvarint.Read(in)
		if err != nil {
			return err
		}
		if first != (kind == frameSettings) {
			if first {
				return connError{codeMissingSettings, "no SETTINGS at first"}
			}
			return connError{codeFrameUnexpected, "SETTINGS that stand twice"}
		}
		if !first {
			if err := c.control(); err != nil {
				return err
			}
		}
		switch kind {
		case frameSettings:
			err = readSettings(in, length)
		case frameGoAway: // it names a push, of which there are none
			goAway, err = readID(in, length, func(id uint64) bool { return id <= goAway })
		case frameMaxPushID:
			maxPush, err = readID(in, length, func(id uint64) bool { return id >= maxPush })
		case frameCancelPush:
			_, err = readID(in, length, func(uint64) bool { return false })
		case frameData, frameHeaders, framePushPromise, 0x2, 0x6, 0x8, 0x9:
			return connError{codeFrameUnexpected, "a frame that may not stand on a control stream"}
		case priorityOfRequest:
			err = c.readPriority(in, length)
		case priorityOfPush:
			return connError{codeID, "a priority of a push that is not there"}
		default: // of an extension
			_, err = io.CopyN(io.Discard, in, int64(length))
		}
		if err != nil {
			return err
		}
	}
}

// readID reads a frame that holds one number.
func readID(in *bufio.Reader, length uint64, good func(uint64) bool) (uint64, error) {
	var b [8]byte
	if length == 0 || length > uint64(len(b)) {
		return 0, connError{codeFrame, "a frame of a wrong length"}
	}
	if _, err := io.ReadFull(in, b[:length]); err != nil {
		return 0, err
	}
	id, n, err := quicvarint.Parse(b[:length])
	if err != nil || uint64(n) != length {
		return 0, connError{codeFrame, "a frame of a wrong length"}
	}
	if !good(id) {
		return 0, connError{codeID, "an identifier that cannot be"}
	}
	return id, nil
}

// readSettings checks the client's settings. Nothing in them is of use here: no push is
// sent, there is no dynamic table, and answers are smaller than anybody's limit.
func readSettings(in *bufio.Reader, length uint64) error {
	if length > maxControlFrame {
		return connError{codeExcessiveLoad, "SETTINGS that are too large"}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	seen := make(map[uint64]bool)
	for len(body) > 0 {
		id, _, n := parseHead(body) // two numbers, as well
		if n == 0 {
			return connError{codeFrame, "SETTINGS of a wrong length"}
		}
		body = body[n:]
		if seen[id] {
			return connError{codeSettings, "a setting that stands twice"}
		}
		seen[id] = true
		if id >= 0x2 && id <= 0x5 { // of HTTP/2
			return connError{codeSettings, "a setting of HTTP/2"}
		}
	}
	return nil
}

// readEncoder reads the client's QPACK encoder stream: with no dynamic table it can only
// say that there is none (RFC 9204 §4.3).
func readEncoder(in *bufio.Reader) error {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return err
		}
		if b != 0x20 { // Set Dynamic Table Capacity 0
			return connError{codeQPACKEncoderStream, "an instruction for a table that is not there"}
		}
	}
}

// readDecoder reads the client's QPACK decoder stream, which can only say that sections
// of streams were not decoded (RFC 9204 §4.4.2): none that was sent needs acknowledgement.
func readDecoder(in *bufio.Reader) error {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return err
		}
		if b&0xc0 != 0x40 {
			return connError{codeQPACKDecoderStream, "an acknowledgement of nothing"}
		}
		if b&0x3f == 0x3f {
			for range 10 {
				if b, err = in.ReadByte(); err != nil || b&0x80 == 0 {
					break
				}
			}
			if err != nil {
				return err
			}
		}
	}
}
