package run

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SteerQUIC makes the kernel give this process, of the two that share a UDP port, the
// packets of QUIC that are not of its predecessor's connections (RFC 8999 §5, RFC 9000
// §17). Connection IDs begin with the generation of the process that has given them; a
// packet that begins a connection has one of its client's making, and is ours. conn was
// opened by ListenPacket after the predecessor's. Once that is closed all packets are ours.
func SteerQUIC(conn net.PacketConn, generation uint8) error {
	const (
		predecessor, ours = 0, 1 // places in the port's group, by the order of binding

		longHeader, typeBits, handshake = 0x80, 0x30, 0x20
		shortID, longID                 = 1, 6 // where a packet's connection ID begins

		load  = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		and   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give  = unix.BPF_RET | unix.BPF_K
	)
	program := []unix.SockFilter{
		{Code: load, K: 0},
		{Code: and, K: longHeader | typeBits},
		{Code: equal, K: longHeader | handshake, Jt: 5}, // to longID
		{Code: and, K: longHeader},
		{Code: equal, K: longHeader, Jt: 5}, // another long header begins a connection
		{Code: load, K: shortID},
		{Code: equal, K: uint32(generation), Jt: 3},
		{Code: give, K: predecessor},
		{Code: load, K: longID},
		{Code: equal, K: uint32(generation), Jf: 1},
		{Code: give, K: ours},
		{Code: give, K: predecessor},
	}
	of, ok := conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("steer packets: %T is no socket", conn)
	}
	raw, err := of.SyscallConn()
	if err != nil {
		return fmt.Errorf("steer packets: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &prog)
	})
	if err = errors.Join(err, os.NewSyscallError("setsockopt", failed)); err != nil {
		return fmt.Errorf("steer packets: %w", err)
	}
	return nil
}
