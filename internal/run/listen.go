package run

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Errors of Listen and ListenPacket, wrapped together with the system's own.
var (
	ErrAddressInUse   = errors.New("address in use")      // another socket has the port
	ErrNoSuchAddress  = errors.New("no such address")     // no interface of this machine has the address
	ErrNotPermitted   = errors.New("not permitted")       // the port asks for a privilege
	ErrInvalidAddress = errors.New("not a valid address") // not host:port, or the host has no address
)

// Listen is net.Listen with an error that tells an operator what to do.
func Listen(network, addr string) (net.Listener, error) {
	ln, err := net.Listen(network, addr)
	if err != nil {
		return nil, ListenError(addr, err)
	}
	return ln, nil
}

// ListenPacket is net.ListenPacket with the errors of Listen.
func ListenPacket(network, addr string) (net.PacketConn, error) {
	conn, err := net.ListenPacket(network, addr)
	if err != nil {
		return nil, ListenError(addr, err)
	}
	return conn, nil
}

// ListenError words err, the failure to listen on addr, for an operator; for those
// who open their sockets otherwise than by Listen.
func ListenError(addr string, err error) error {
	where := fmt.Sprintf("listen on %s: ", addr)
	var dns *net.DNSError
	var form *net.AddrError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &listenError{where + "the port is in use by another process; stop it or choose another address", ErrAddressInUse, err}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return &listenError{where + "this machine does not have the address; add it to an interface or choose another", ErrNoSuchAddress, err}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return &listenError{where + "not permitted; ports below 1024 need the capability CAP_NET_BIND_SERVICE, or choose a higher port", ErrNotPermitted, err}
	case errors.As(err, &form), errors.As(err, &dns):
		return &listenError{where + "not an address of this machine; write host:port, such as 127.0.0.1:8080 or :8080", ErrInvalidAddress, err}
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the rest of its text repeats the address
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// listenError is a text with the errors that it stands for.
type listenError struct {
	text        string
	kind, cause error
}

func (e *listenError) Error() string   { return e.text }
func (e *listenError) Unwrap() []error { return []error{e.kind, e.cause} }
