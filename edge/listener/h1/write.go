package h1

import (
	"syscall"
	"time"
)

const (
	// copyLimit is the size of a body in bytes up to which it is copied behind the head:
	// for larger ones the kernel is given both places.
	copyLimit = 4 << 10
	// outSize is how many bytes of answers are gathered before they are written, and
	// keepSize how large a buffer may be that is kept for others.
	outSize  = 32 << 10
	keepSize = 64 << 10
	// pieceSize is what a connection without a descriptor is given at a time: a record of
	// TLS. Each piece has the whole time between two pieces.
	pieceSize = 16 << 10
	// gatherSize is how many bytes of pieces go out together where they can: 64 KiB of a
	// body, and its head.
	gatherSize = 68 << 10
)

// outgoing is what is on its way to the client.
type outgoing struct {
	buf   []byte    // answers, or the beginning of one, which are not written yet
	bufs  [3][]byte // from first on: what is being written
	first int
	n     int
	iov   [3]syscall.Iovec
	sends uint // how often something was written
}

// left is what is still to be written.
func (o *outgoing) left() [][]byte { return o.bufs[o.first:o.n] }

// wrote takes n bytes off what is left.
func (o *outgoing) wrote(n int) {
	for o.first < o.n && n >= len(o.bufs[o.first]) {
		n -= len(o.bufs[o.first])
		o.bufs[o.first] = nil
		o.first++
	}
	if o.first < o.n {
		o.bufs[o.first] = o.bufs[o.first][n:]
	}
}

func (o *outgoing) reset() {
	if o.buf = o.buf[:0]; cap(o.buf) > keepSize {
		o.buf = nil
	}
	o.bufs, o.first, o.n = [3][]byte{}, 0, 0
}

// flush writes what is gathered.
func (c *conn) flush() error {
	if c.w == nil || len(c.w.out.buf) == 0 {
		return nil
	}
	return c.send(nil, nil)
}

// send writes what is gathered, and two pieces behind it. An error ends the connection.
func (c *conn) send(a, b []byte) error {
	o := &c.w.out
	o.sends++
	o.first, o.n = 0, 0
	for _, p := range [3][]byte{o.buf, a, b} {
		if len(p) > 0 {
			o.bufs[o.n] = p
			o.n++
		}
	}
	var err error
	if c.raw != nil {
		err = c.write(c.onWrite)
	} else {
		err = c.writeOther()
	}
	o.reset()
	if err != nil {
		c.fate = gone
	}
	return err
}

// writeOther writes by the methods of the connection, a piece at a time.
func (c *conn) writeOther() error {
	o := &c.w.out
	if o.n > 1 && 0 < len(o.buf) && len(o.buf) < pieceSize { // fill the first piece up
		rest := o.bufs[1]
		n := min(len(rest), pieceSize-len(o.buf))
		o.buf = append(o.buf, rest[:n]...)
		o.bufs[0], o.bufs[1] = o.buf, rest[n:]
	}
	for o.first < o.n {
		if err := c.writePieces(); err != nil {
			return c.wrote(err)
		}
	}
	return nil
}

// corked is a connection below TLS that has what is written between Cork and Uncork go
// out together: each record would be a system call.
type corked interface {
	Cork()
	Uncork() error
}

// writePieces writes a piece, or a few together.
func (c *conn) writePieces() error {
	o := &c.w.out
	c.patience()
	if len(o.bufs[o.first]) <= pieceSize && o.first+1 == o.n || c.corked == nil {
		return c.writePiece()
	}
	c.corked.Cork()
	var err error
	for sum := 0; sum < gatherSize && o.first < o.n && err == nil; {
		n := min(len(o.bufs[o.first]), pieceSize)
		if sum += n; sum > gatherSize {
			break
		}
		err = c.writePiece()
	}
	if failed := c.corked.Uncork(); err == nil {
		err = failed
	}
	return err
}

func (c *conn) writePiece() error {
	o := &c.w.out
	p := o.bufs[o.first]
	p = p[:min(len(p), pieceSize)]
	if len(p) > 0 {
		if _, err := c.net.Write(p); err != nil {
			return err
		}
	}
	o.wrote(len(p))
	return nil
}

// patience sets the time in which the client must take a piece. A deadline that is set is
// kept as long as it leaves that time, so that few pieces set one.
func (c *conn) patience() {
	now, timeout := time.Now(), c.server.limits.WriteTimeout
	if c.dueWrite.Sub(now) < timeout {
		c.dueWrite = now.Add(timeout + timeout/4)
		_ = c.net.SetWriteDeadline(c.dueWrite)
	}
}
