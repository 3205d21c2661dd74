// Package outlet sends the bodies of answers to connections, whatever protocol frames
// them: in the pieces in which they come, and by the kernel where it can copy files.
package outlet

import (
	"errors"
	"io"
	"sync"
	"syscall"
)

// PieceSize is the size in bytes of the pieces in which a body is read.
const PieceSize = 32 << 10

// ErrTooLong is a body that is longer than was promised.
var ErrTooLong = errors.New("body is longer than promised")

var pieces = sync.Pool{New: func() any { return new([PieceSize]byte) }}

// Sink is a connection as a body sees it.
type Sink interface {
	// Write takes a piece, and may keep it back for more until Flush.
	io.Writer
	Flush() error
	// SendFile has the kernel copy what from has, and takes from from.N what it copied; from
	// reads an open file, or something else with a descriptor. ok is false when it cannot,
	// and nothing was sent. It is called for bodies of known length only.
	SendFile(from *io.LimitedReader) (n int64, ok bool, err error)
}

// Send sends a body of length bytes, -1 when that is not known; what has come of one
// that is still arriving goes out at once. A body that ends early has not been sent.
func Send(to Sink, body io.Reader, length int64) error {
	out := &outlet{to: to, left: length}
	var err error
	if direct, ok := body.(io.WriterTo); ok {
		_, err = direct.WriteTo(out)
	} else {
		_, err = out.copy(body)
	}
	if err == nil && out.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// outlet is what a body writes itself to: pieces with Write, open files with ReadFrom.
type outlet struct {
	to   Sink
	left int64 // bytes that may still come; below 0 for any number
}

// Write sends a piece. A small one is what there was: more may be long in coming.
func (o *outlet) Write(p []byte) (int, error) {
	if o.left >= 0 && int64(len(p)) > o.left {
		return 0, ErrTooLong
	}
	n, err := o.to.Write(p)
	o.sent(int64(n))
	if err == nil && len(p) < PieceSize {
		err = o.to.Flush()
	}
	return n, err
}

func (o *outlet) sent(n int64) {
	if o.left >= 0 {
		o.left -= n
	}
}

// ReadFrom sends what from has. Nobody counts what the kernel copies but this, which
// keeps a file that is too long from running into the next answer.
func (o *outlet) ReadFrom(from io.Reader) (int64, error) {
	if o.left < 0 || !isFile(from) {
		return o.copy(from)
	}
	limited := &io.LimitedReader{R: from, N: o.left}
	if l, ok := from.(*io.LimitedReader); ok { // two in a row would hide the file
		limited.R, limited.N = l.R, min(l.N, o.left)
		defer func(before int64) { l.N -= before - limited.N }(limited.N)
	}
	if limited.N == 0 {
		return 0, nil
	}
	n, ok, err := o.to.SendFile(limited)
	if !ok {
		return o.copy(limited)
	}
	o.sent(n)
	return n, err
}

// isFile reports whether the kernel may be able to copy from a reader.
func isFile(r io.Reader) bool {
	if l, ok := r.(*io.LimitedReader); ok {
		r = l.R
	}
	_, ok := r.(syscall.Conn)
	return ok
}

// copy sends pieces as they come.
func (o *outlet) copy(from io.Reader) (sent int64, err error) {
	buf := pieces.Get().(*[PieceSize]byte)
	defer pieces.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			w, err := o.Write(buf[:n])
			sent += int64(w)
			if err != nil {
				return sent, err
			}
		}
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}
