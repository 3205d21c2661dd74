package listener

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// troubled is a listener that fails at first.
type troubled struct {
	net.Listener
	failures []error
	next     atomic.Int32
}

func (l *troubled) Accept() (net.Conn, error) {
	if n := int(l.next.Add(1)) - 1; n < len(l.failures) {
		return nil, &net.OpError{Op: "accept", Err: l.failures[n]}
	}
	return l.Listener.Accept()
}

func TestACrowdedMachineIsWaitedOut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, echo, func(c *Config) {
		c.Plain = append(c.Plain, &troubled{Listener: ln, failures: []error{syscall.EMFILE, syscall.ECONNABORTED, syscall.ENOMEM}})
	})
	if answer := talk(t, s.dial(ln.Addr().String()), get); !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("got %q", answer)
	}
	if got := testutil.ToFloat64(s.metrics.acceptErrors); got != 2 {
		t.Errorf("%v errors are counted, want 2", got)
	}
}

func TestAListenerThatIsBrokenEndsTheServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, echo, nil)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s2, err := New(Config{Handler: handler(echo), Plain: []net.Listener{&troubled{Listener: ln, failures: []error{syscall.EINVAL}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s2.Run(t.Context()); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("error %v, want EINVAL", err)
	}
}
