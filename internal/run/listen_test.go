package run_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"freshet/internal/run"
)

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenUDP, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer takenUDP.Close()

	tests := []struct {
		name, network, addr string
		kind                error
		says                string
	}{
		{"port in use", "tcp", taken.Addr().String(), run.ErrAddressInUse, "the port is in use by another process; stop it or choose another address"},
		{"UDP port in use", "udp", takenUDP.LocalAddr().String(), run.ErrAddressInUse, "the port is in use by another process; stop it or choose another address"},
		{"foreign address", "tcp", "192.0.2.1:8080", run.ErrNoSuchAddress, "this machine does not have the address"},
		{"no port", "tcp", "127.0.0.1", run.ErrInvalidAddress, "write host:port"},
		{"port too high", "tcp", "127.0.0.1:65536", run.ErrInvalidAddress, "write host:port"},
		{"no such network", "tcp7", "127.0.0.1:0", net.UnknownNetworkError("tcp7"), "unknown network tcp7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var err error
			if strings.HasPrefix(test.network, "udp") {
				_, err = run.ListenPacket(test.network, test.addr)
			} else {
				_, err = run.Listen(test.network, test.addr)
			}
			if !errors.Is(err, test.kind) {
				t.Fatalf("error = %v, want %v wrapped", err, test.kind)
			}
			if text := err.Error(); !strings.HasPrefix(text, "listen on "+test.addr+": ") || !strings.Contains(text, test.says) {
				t.Errorf("error says %q, want where and %q", text, test.says)
			}
		})
	}
}

// The right to bind a low port depends on who runs the test, so the system's answer
// is made up here.
func TestListenErrorNotPermitted(t *testing.T) {
	system := &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EACCES)}
	err := run.ListenError("127.0.0.1:53", system)
	if !errors.Is(err, run.ErrNotPermitted) || !errors.Is(err, syscall.EACCES) {
		t.Errorf("error = %v, want ErrNotPermitted and the system's own", err)
	}
	const want = "listen on 127.0.0.1:53: not permitted; ports below 1024 need the capability CAP_NET_BIND_SERVICE, or choose a higher port"
	if err.Error() != want {
		t.Errorf("error says %q, want %q", err, want)
	}
}

func TestListen(t *testing.T) {
	ln, err := run.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	conn, err := run.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
