package h2

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"
)

// sink is a connection that keeps what is written, and how often that was.
type sink struct {
	net.Conn
	mu   sync.Mutex
	got  bytes.Buffer
	n    int
	fail error
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if s.fail != nil {
		return 0, s.fail
	}
	return s.got.Write(p)
}

// TestCork: what is written between Cork and Uncork goes out at once, in its order and
// with what others write meanwhile, and all else as ever.
func TestCork(t *testing.T) {
	s := new(sink)
	k := Cork(s).(*corked)
	if k.NetConn() != net.Conn(s) {
		t.Error("the connection beneath is hidden")
	}
	write := func(p string) {
		t.Helper()
		if n, err := k.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	write("a")
	k.Cork()
	write("b")
	write("c")
	if s.n != 1 {
		t.Error("written while corked")
	}
	if err := k.Uncork(); err != nil || s.n != 2 {
		t.Errorf("%d writes, %v", s.n, err)
	}
	write("d")
	k.Cork()
	if err := k.Uncork(); err != nil || s.n != 3 || s.got.String() != "abcd" {
		t.Errorf("%d writes of %q, %v", s.n, s.got.String(), err)
	}
	k.Cork()
	for range 10 { // more than it holds
		write(string(make([]byte, corkSize/3)))
	}
	write(string(make([]byte, corkSize+1)))
	if err := k.Uncork(); err != nil || s.got.Len() != 4+10*(corkSize/3)+corkSize+1 {
		t.Errorf("%d bytes, %v", s.got.Len(), err)
	}
	k.Cork()
	s.fail = errors.New("gone")
	write("e")
	if err := k.Uncork(); err != s.fail {
		t.Errorf("got %v", err)
	}
}
