package run

import "net"

// OpenAsSuccessor opens a UDP address as a process does that has a predecessor.
func OpenAsSuccessor(addr string) (net.PacketConn, error) {
	s := &Sockets{predecessor: new(predecessor)}
	return s.ListenPacket("udp", addr)
}
