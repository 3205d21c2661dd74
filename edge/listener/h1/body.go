package h1

import (
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"

	"freshet/edge/exchange"
	"freshet/edge/listener/outlet"
	"freshet/internal/header"
)

// stream sends a body whose head is gathered: the first piece goes together with it, unless
// the length is not known, as then that may be long in coming (events, say).
func (to *responder) stream(a *exchange.Answer, inChunks bool) error {
	s := sink{conn: to.w.conn, chunked: inChunks}
	if inChunks {
		if err := to.w.conn.flush(); err != nil {
			return err
		}
	}
	if err := outlet.Send(&s, a.Stream, a.Length); err != nil {
		return err
	}
	var trailer *header.Block
	if a.Trailer != nil {
		trailer = a.Trailer()
	}
	if inChunks {
		o := &to.w.out
		o.buf = append(o.buf, "0\r\n"...)
		if trailer != nil {
			o.buf = append(o.buf, trailer.Wire()...)
		}
		o.buf = append(o.buf, "\r\n"...)
	}
	return to.w.conn.flush()
}

// sink writes the pieces of a body at once.
type sink struct {
	conn    *conn
	chunked bool
}

// Write sends a piece, in a chunk of its own where the length is not known
// (RFC 9112 §7.1).
func (s *sink) Write(p []byte) (int, error) {
	if len(p) == 0 { // a chunk without bytes would be the last
		return 0, nil
	}
	var end []byte
	o := &s.conn.w.out
	if s.chunked {
		o.buf = strconv.AppendInt(o.buf, int64(len(p)), 16)
		o.buf = append(o.buf, "\r\n"...)
		end = crlfcrlf[:2]
	}
	if err := s.conn.send(p, end); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush has nothing to do.
func (s *sink) Flush() error { return nil }

// filePiece is how much the kernel is asked to copy at a time, in bytes, so that one
// client with a large window does not keep a CPU for long.
const filePiece = 4 << 20

var sendfile = syscall.Sendfile // tests count and break it

// SendFile has the kernel copy a file to a socket.
func (s *sink) SendFile(from *io.LimitedReader) (sent int64, ok bool, err error) {
	c := s.conn
	file, ok := from.R.(*os.File)
	if !ok || c.raw == nil || s.chunked {
		return 0, false, nil
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, false, nil
	}
	c.cork = true
	err = c.flush()
	c.cork = false
	if err != nil {
		return 0, true, err
	}
	before := from.N
	useErr := raw.Control(func(in uintptr) {
		err = c.write(func(out uintptr) bool { return c.copyFile(int(out), int(in), from) })
	})
	sent = before - from.N
	if sent == 0 && errors.Is(err, syscall.EINVAL) { // nothing that the kernel copies from
		return 0, false, nil
	}
	if err == nil {
		err = useErr
	}
	return sent, true, err
}

// copyFile copies until the file, or what is wanted of it, has ended.
func (c *conn) copyFile(out, in int, from *io.LimitedReader) (done bool) {
	for progress := c.dueWrite.IsZero(); from.N > 0; progress = true {
		n, err := sendfile(out, in, nil, int(min(from.N, filePiece)))
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			c.block(progress)
			return false
		case err != nil:
			c.broken = os.NewSyscallError("sendfile", err)
			return true
		case n == 0:
			return true
		default:
			from.N -= int64(n)
		}
	}
	return true
}
