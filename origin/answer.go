package origin

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// pace is how many bytes of a response must be taken within the idle time.
const pace = 512 << 10

// answer is a response under way. It sees to it that a client that takes nothing
// for the idle time is cut off, without bounding the time of the whole, and that
// files still go out by sendfile.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
	size    int64 // of the whole representation, where it is known; else -1
	status  int   // 0 until the head is written
}

func newAnswer(w http.ResponseWriter, idle time.Duration) *answer {
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w), idle: idle, size: -1}
	// The last request of the connection has left a deadline behind.
	a.extend()
	return a
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// extend gives the client another idle time. Where deadlines are not to be had,
// nothing is lost but the protection.
func (a *answer) extend() {
	_ = a.control.SetWriteDeadline(time.Now().Add(a.idle))
}

// WriteHeader remembers the status, and says the length of an encoded
// representation, which http.ServeContent leaves out.
func (a *answer) WriteHeader(status int) {
	if status >= 200 && a.status == 0 {
		a.status = status
		if h := a.Header(); status == http.StatusOK && a.size >= 0 && h.Get("Content-Length") == "" {
			h.Set("Content-Length", formatInt(a.size))
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	a.extend()
	return a.ResponseWriter.Write(p)
}

// ReadFrom sends src in parts, each of which must be taken within the idle time.
// The writer below sends a limited file with sendfile.
func (a *answer) ReadFrom(src io.Reader) (n int64, err error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	left := int64(1<<63 - 1)
	whole, limited := src.(*io.LimitedReader)
	if limited {
		left, src = whole.N, whole.R
	}
	for left > 0 {
		a.extend()
		part := min(left, pace)
		m, err := io.CopyN(a.ResponseWriter, src, part)
		n, left = n+m, left-m
		if limited {
			whole.N = left
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// upload is the body of a request, whose client must send something within every
// idle time.
type upload struct {
	body io.Reader
	a    *answer
}

func (u *upload) Read(p []byte) (int, error) {
	_ = u.a.control.SetReadDeadline(time.Now().Add(u.a.idle))
	n, err := u.body.Read(p)
	switch {
	case err == io.EOF:
		// Else it would strike while the upload is made durable.
		_ = u.a.control.SetReadDeadline(time.Time{})
		u.a.extend()
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errStalled
	case err != nil:
		err = errors.Join(errBroken, err)
	}
	return n, err
}
