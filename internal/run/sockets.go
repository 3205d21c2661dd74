package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sockets are the listening sockets of a process. A process that takes over from a
// running one (see HandOver) gets them from that: no client is refused in between. The
// zero value has none; nil opens sockets that no successor can have. The methods may be
// called from any goroutine.
type Sockets struct {
	predecessor *predecessor // nil for none
	ending      sync.Once
	ended       <-chan struct{} // see Alone; set by ending

	mu struct {
		sync.Mutex
		inherited []socket // that nobody has asked for yet
		open      []socket
	}
}

// socket is one of them. Its file is a duplicate, which keeps the socket, and what waits
// in its queue, when the listener is closed.
type socket struct {
	Network string // as it was asked for
	Addr    string
	file    *os.File
}

// Listen opens n sockets that listen on addr, with the errors of this package's Listen;
// more than one share the port, and the kernel spreads connections over them. A process
// that has inherited sockets of that address gets those, however many they are: each may
// hold connections that nobody has accepted yet.
func (s *Sockets) Listen(network, addr string, n int) ([]net.Listener, error) {
	var opened []net.Listener
	for _, file := range s.take(network, addr) {
		ln, err := net.FileListener(file)
		file.Close() // ln has its own
		if err != nil {
			return opened, errors.Join(fmt.Errorf("listen on inherited %s: %w", addr, err), closeAll(opened))
		}
		opened = append(opened, ln)
	}
	if len(opened) == 0 {
		var err error
		if opened, err = listenShared(network, addr, n); err != nil {
			return nil, err
		}
	}
	for _, ln := range opened {
		if err := s.keep(network, addr, ln); err != nil {
			return nil, errors.Join(fmt.Errorf("listen on %s: %w", addr, err), closeAll(opened))
		}
	}
	return opened, nil
}

// ListenPacket opens a socket for datagrams whose port a successor can share: the kernel
// then has two sockets to choose from, this one first in its order. A process without
// predecessor is refused a port that another process has.
func (s *Sockets) ListenPacket(network, addr string) (net.PacketConn, error) {
	if s.Generation() == 0 {
		probe, err := ListenPacket(network, addr)
		if err != nil {
			return nil, err
		}
		addr = probe.LocalAddr().String()
		probe.Close()
	}
	config := net.ListenConfig{Control: sharePort}
	conn, err := config.ListenPacket(context.Background(), network, addr)
	if err != nil {
		return nil, ListenError(addr, err)
	}
	return conn, nil
}

// Generation counts the processes that have handed over to one another before this one.
func (s *Sockets) Generation() uint8 {
	if s == nil || s.predecessor == nil {
		return 0
	}
	return s.predecessor.Generation + 1
}

// Settled says that everything has been asked for, to the predecessor as well: inherited
// sockets that are left over are closed. It returns their addresses.
func (s *Sockets) Settled() (left []string) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, socket := range s.mu.inherited {
		socket.file.Close()
		left = append(left, socket.Addr)
	}
	s.mu.inherited = nil
	if s.predecessor != nil {
		s.predecessor.settled.Close()
	}
	return left
}

// Close closes the sockets themselves. It is for the end of the process, or of the last
// that uses them: what was given out has to be closed by whoever got it.
func (s *Sockets) Close() {
	s.Settled()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, socket := range s.mu.open {
		socket.file.Close()
	}
	s.mu.open = nil
}

// take takes the inherited sockets of an address.
func (s *Sockets) take(network, addr string) (files []*os.File) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.inherited = slices.DeleteFunc(s.mu.inherited, func(in socket) bool {
		if in.Network != network || in.Addr != addr {
			return false
		}
		files = append(files, in.file)
		return true
	})
	return files
}

// keep notes what was opened, for a successor.
func (s *Sockets) keep(network, addr string, of net.Listener) error {
	if s == nil {
		return nil
	}
	file, err := duplicate(of)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.open = append(s.mu.open, socket{network, addr, file})
	return nil
}

// duplicate is another descriptor of a listener's socket. Its own File would do, but what
// that gives turns the socket, which both share, into a blocking one when a process is
// started with it: Accept would hold a thread, and Close would not end it.
func duplicate(of net.Listener) (*os.File, error) {
	conn, ok := of.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no file descriptor", of)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var file *os.File
	var failed error
	err = raw.Control(func(fd uintptr) {
		var second int
		if second, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); failed == nil {
			file = os.NewFile(uintptr(second), of.Addr().String())
		}
	})
	return file, errors.Join(err, os.NewSyscallError("fcntl", failed))
}

// listenShared opens n sockets on one address. That another process has its port is an
// error even where the kernel would let us share it.
func listenShared(network, addr string, n int) ([]net.Listener, error) {
	ln, err := Listen(network, addr)
	if err != nil || n <= 1 {
		return []net.Listener{ln}, err
	}
	at := ln.Addr().String() // addr may have left the port open
	ln.Close()
	config := net.ListenConfig{Control: sharePort}
	var opened []net.Listener
	for range n {
		ln, err := config.Listen(context.Background(), network, at)
		if err != nil {
			return nil, errors.Join(ListenError(addr, err), closeAll(opened))
		}
		opened = append(opened, ln)
	}
	return opened, nil
}

// sharePort lets several sockets of this process, and of its successor, have one port.
func sharePort(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, failed)
}

func closeAll(listeners []net.Listener) (err error) {
	for _, ln := range listeners {
		err = errors.Join(err, ln.Close())
	}
	return err
}
