package listener

import (
	"io"
	"net/http"
	"sync"
	"syscall"
)

// copySize is the piece in which bodies are handed to the connection, in bytes.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// stream sends a body of length bytes, -1 when that is not known; what has come of one
// that is still arriving goes out at once. A body that ends early has not been sent.
func (to *responder) stream(body io.Reader, length int64) error {
	out := &outlet{w: to.w, flush: http.NewResponseController(to.w), left: length}
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

// outlet is what a body writes itself to: pieces with Write, open files with ReadFrom,
// which the kernel copies to a plain connection of HTTP/1.1 when the length of the body
// is known.
type outlet struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	left  int64 // bytes that may still come; below 0 for any number
}

// Write sends a piece. A small one is what there was: more may be long in coming.
func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.sent(int64(n))
	if err == nil && len(p) < copySize {
		err = o.flush.Flush()
	}
	return n, err
}

func (o *outlet) sent(n int64) {
	if o.left >= 0 {
		o.left -= n
	}
}

// ReadFrom sends what from has. net/http does not count what the kernel copies, so
// that nothing but this keeps a file that is too long from running into the next answer.
func (o *outlet) ReadFrom(from io.Reader) (int64, error) {
	to, ok := o.w.(io.ReaderFrom)
	if !ok || o.left < 0 || !isFile(from) {
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
	n, err := to.ReadFrom(limited)
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
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
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
