package listener

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// body is a request's body, of bounded size and with bounded time between its pieces. It
// may be read by others than its handler, also while that answers, and when it has
// returned: from then on reads fail.
type body struct {
	io.Reader
	full *Full
	conn *http.ResponseController
	most int64 // bytes; 0: any number
	read int64 // who reads alone knows it

	mu struct {
		sync.Mutex
		begun   bool // somebody has read from it
		whole   bool // to its end
		over    bool // nobody is to read from it any more
		patient bool
		reading chan struct{} // closed when the read that is under way returns; nil when none is
		err     error         // that ended it
	}
}

// errOver is what a body gives that is read when its request is over.
var errOver = errors.New("the request is over")

// body bounds the body of a request. Its time begins now: net/http reads what is left of
// a body by itself, before and after it answers.
func (f *Full) body(w http.ResponseWriter, r *http.Request) *body {
	b := &body{Reader: r.Body, full: f, conn: http.NewResponseController(w), most: f.limits.BodyBytes}
	b.mu.patient = exchange.IsGRPC(r.Header.Get("Content-Type"))
	b.wait()
	return b
}

// wait begins the time for the next piece.
func (b *body) wait() {
	within := b.full.limits.BodyTimeout
	if b.mu.patient {
		within = b.full.limits.QuietTimeout
	}
	_ = b.conn.SetReadDeadline(time.Now().Add(within))
}

// begin is for each Read: an error says that there is nothing to read.
func (b *body) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.err != nil:
		return b.mu.err
	case b.mu.over:
		return errOver
	}
	b.mu.begun, b.mu.reading = true, make(chan struct{})
	b.wait()
	return nil
}

// isWhole reports whether all of it has been read.
func (b *body) isWhole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.whole
}

// unwanted ends a body that nobody has begun to read, and is false for any other.
func (b *body) unwanted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.begun {
		return false
	}
	b.mu.over = true
	return true
}

// answered tells it that an answer has begun which may depend on what is still to come:
// the client may take its time from now on.
func (b *body) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.patient = true
	if !b.mu.over && !b.mu.whole {
		b.wait()
	}
}

// end has a read that is under way return, and later ones fail. It waits for that read:
// net/http would take the deadline away that ends it.
func (b *body) end() {
	b.mu.Lock()
	reading := b.mu.reading
	if b.mu.over = true; !b.mu.whole {
		_ = b.conn.SetReadDeadline(time.Unix(1, 0))
	}
	b.mu.Unlock()
	if reading != nil {
		<-reading
	}
}

// Read reads what has come, and waits for the next piece as long as that may take.
func (b *body) Read(p []byte) (int, error) {
	if err := b.begin(); err != nil {
		return 0, err
	}
	n, err := b.Reader.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.mu.reading)
	b.mu.reading = nil
	if b.read += int64(n); b.most > 0 && b.read > b.most {
		n, err = 0, exchange.ErrBodyTooLarge // not by http.MaxBytesReader, which edits the answer's header
	}
	if err == nil {
		return n, nil
	}
	if b.mu.err = b.ended(err); b.mu.over && err != io.EOF {
		b.mu.err = errOver
	}
	return n, b.mu.err
}

// ended is what an error of net/http means for who reads the body. b.mu is held.
func (b *body) ended(err error) error {
	var broken net.Error
	switch {
	case err == io.EOF:
		// From now on net/http looks whether the client is still there, however long the
		// answer takes.
		if b.mu.whole = true; !b.mu.over {
			_ = b.conn.SetReadDeadline(time.Time{})
		}
	case b.mu.over:
	case err == exchange.ErrBodyTooLarge:
		b.full.limited(limits.BodyBytes)
		err = fmt.Errorf("%w: more than %d bytes", err, b.most)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.full.limited(limits.BodyTimeout)
		err = fmt.Errorf("%w: nothing has come in time", exchange.ErrBodyStalled)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken): // the client has gone
	default:
		err = fmt.Errorf("%w: %w", exchange.ErrBodyMalformed, err)
	}
	return err
}
