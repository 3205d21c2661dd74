package h1

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"freshet/edge/listener/limits"
)

// runSocket reads a connection by its descriptor. While it waits it holds no buffer.
func (c *conn) runSocket() {
	for c.fate == open {
		err := c.raw.Read(c.onRead)
		switch {
		case err == nil: // decided
		case errors.Is(err, os.ErrDeadlineExceeded):
			// With the deadline gone readable looks once more, and decides what it means.
			c.due = time.Time{}
			_ = c.net.SetReadDeadline(time.Time{})
		default:
			c.fate = gone
		}
	}
}

// readable reads and serves what is there, and is true when the connection is over.
//
// The whole life of a connection passes within one RawConn.Read: the poller tells of
// bytes that come meanwhile, and nothing else has to be asked.
func (c *conn) readable(fd uintptr) bool {
	for {
		w := c.get()
		n, errno := sysRead(fd, w.in[w.end:])
		if errno == syscall.EAGAIN {
			if w.end == 0 {
				c.put()
			}
			c.rest()
			return c.fate != open
		}
		if errno != 0 || n <= 0 {
			c.fate = gone
			return true
		}
		w.end += n
		full, first, last := w.end == len(w.in), c.first, c.active
		c.serve()
		if c.fate != open {
			return true
		}
		if brisk := !first && c.active.Sub(last) < briskGap; brisk && !full && w.end == 0 {
			c.put()
			c.glance()
			return false
		}
	}
}

const (
	briskGap   = 500 * time.Millisecond
	glanceTime = time.Second
)

// glance has a connection wait that is asked again and again, without a read in vain. A
// read that gave less than there was room for has emptied the socket: what comes after it
// is told by the poller, as the connection is still in the same RawConn.Read. The exception
// is the end of a connection that came together with the bytes that were read, of which the
// poller told once: that is why a connection that goes quiet is read from once more.
func (c *conn) glance() {
	until := c.active.Add(glanceTime)
	if c.due.IsZero() || c.due.After(until) {
		c.due = until
		_ = c.net.SetReadDeadline(time.Now().Add(glanceTime))
	}
}

// write has f write to the socket until it is true; it waits whenever that is false.
func (c *conn) write(f func(fd uintptr) bool) error {
	c.broken = nil
	err := c.raw.Write(f)
	if !c.dueWrite.IsZero() {
		c.dueWrite = time.Time{}
		_ = c.net.SetWriteDeadline(time.Time{})
	}
	return c.wrote(err)
}

// wrote makes one error of a write's two.
func (c *conn) wrote(err error) error {
	if err == nil {
		err = c.broken
	}
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.limited(limits.WriteTimeout)
	}
	return err
}

// writable writes what is left, in one go where the kernel takes it, and is true when nothing is or it cannot be written.
func (c *conn) writable(fd uintptr) bool {
	o := &c.w.out
	for progress := c.dueWrite.IsZero(); ; progress = true {
		bufs := o.left()
		if len(bufs) == 0 {
			return true
		}
		n, errno := sysWrite(fd, bufs, o.iov[:], c.cork)
		if errno == syscall.EAGAIN {
			c.block(progress)
			return false
		}
		if errno != 0 {
			c.broken = errno
			return true
		}
		if n <= 0 {
			c.broken = io.ErrUnexpectedEOF
			return true
		}
		o.wrote(n)
	}
}

// block sets the time in which the client must take something.
func (c *conn) block(progress bool) {
	if progress {
		c.dueWrite = time.Now().Add(c.server.limits.WriteTimeout)
		_ = c.net.SetWriteDeadline(c.dueWrite)
	}
}

// The calls below never block, as the descriptors do not: they need not tell the
// scheduler about themselves.

func sysRead(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

// sysWrite writes one buffer or several; more says that others follow soon, so that the
// kernel need not send a packet that is not full.
func sysWrite(fd uintptr, bufs [][]byte, iov []syscall.Iovec, more bool) (int, syscall.Errno) {
	for {
		var n uintptr
		var errno syscall.Errno
		if len(bufs) == 1 {
			flags := uintptr(syscall.MSG_NOSIGNAL)
			if more {
				flags |= msgMore
			}
			p := bufs[0]
			n, _, errno = syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		} else {
			for i, p := range bufs {
				iov[i].Base = unsafe.SliceData(p)
				iov[i].SetLen(len(p))
			}
			n, _, errno = syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(bufs)))
			clear(iov)
		}
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

const msgMore = 0x8000 // MSG_MORE of Linux
