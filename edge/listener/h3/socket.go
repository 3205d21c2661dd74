package h3

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// wantBuffer is what the socket buffers should hold in bytes, so that a burst of packets
// is not lost while this process is not running.
const wantBuffer = 7 << 20

// prepare makes the buffers of a socket large, and says once, with what to set, when the
// system does not allow that.
func (s *Server) prepare(pc net.PacketConn) {
	// Quic-go would say the same in a log of its own.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	conn, ok := pc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	received := grow(raw, unix.SO_RCVBUF, unix.SO_RCVBUFFORCE)
	sent := grow(raw, unix.SO_SNDBUF, unix.SO_SNDBUFFORCE)
	if received < wantBuffer || sent < wantBuffer {
		s.warned.Do(func() {
			s.log.Warn("socket buffers for QUIC are small, packets may be lost in bursts",
				"addr", pc.LocalAddr().String(), "receive", received, "send", sent, "want", wantBuffer,
				"do", "sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000")
		})
	}
}

// grow enlarges one buffer and says how large it is. Linux counts its own overhead in,
// and doubles what is asked for.
func grow(raw syscall.RawConn, option, force int) (size int) {
	err := raw.Control(func(fd uintptr) {
		size, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option)
		for _, how := range []int{option, force} {
			if size < wantBuffer && unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, how, wantBuffer) == nil {
				size, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option)
			}
		}
	})
	if err != nil {
		return 0
	}
	return size
}
