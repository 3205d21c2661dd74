package run_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"freshet/internal/run"
)

// TestSteerQUIC: each packet reaches the process whose connection it is of, from whatever
// address it comes; once the predecessor has gone, all of them reach the other.
func TestSteerQUIC(t *testing.T) {
	var first run.Sockets
	defer first.Close()
	old, err := first.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	addr := old.LocalAddr().String()
	// What a successor does, within this process.
	ours, err := run.OpenAsSuccessor(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	if err := run.SteerQUIC(ours, 1); err != nil {
		t.Fatal(err)
	}
	long := func(kind, id byte) []byte {
		return append([]byte{0x80 | 0x40 | kind, 0, 0, 0, 1, 8, id}, make([]byte, 20)...)
	}
	short := func(id byte) []byte { return append([]byte{0x40, id}, make([]byte, 20)...) }
	tests := []struct {
		name   string
		packet []byte
		to     net.PacketConn
	}{
		{"short header of the predecessor", short(0), old},
		{"short header of ours", short(1), ours},
		{"handshake of the predecessor", long(0x20, 0), old},
		{"handshake of ours", long(0x20, 1), ours},
		{"initial", long(0, 77), ours},
		{"initial that looks like one of the predecessor", long(0, 0), ours},
		{"early data", long(0x10, 0), ours},
		{"too short for a packet", []byte{0x40}, nil},
	}
	const clients = 16 // the kernel would spread them over both sockets
	see := func(name string, packet []byte, to net.PacketConn) {
		t.Helper()
		for range clients {
			client, err := net.Dial("udp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write(packet); err != nil {
				t.Fatal(err)
			}
			client.Close()
		}
		if to == nil {
			return
		}
		buf := make([]byte, 100)
		for i := range clients {
			_ = to.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, _, err := to.ReadFrom(buf)
			if err != nil || !bytes.Equal(buf[:n], packet) {
				t.Fatalf("%s: packet %d of %d: %x, %v", name, i, clients, buf[:n], err)
			}
		}
	}
	for _, test := range tests {
		see(test.name, test.packet, test.to)
		if test.to == nil {
			drain(t, old)
			drain(t, ours)
		}
	}
	old.Close()
	for _, test := range tests {
		see(test.name+", alone", test.packet, ours)
	}
}

// drain reads what there is.
func drain(t *testing.T, conn net.PacketConn) {
	t.Helper()
	buf := make([]byte, 100)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, _, err := conn.ReadFrom(buf); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}
