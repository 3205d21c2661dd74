// Package proxyhead reads the head of the PROXY protocol, versions 1 and 2, with which
// a load balancer says whose connection it passes on
// (https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt).
//
// It reads exactly the head's bytes, so that what follows is still in the connection,
// which goes on as the plain socket that it is: the kernel can copy files to it. A head
// is bounded and read strictly; whoever may send one is trusted to say the truth in it,
// not to be right in form.
package proxyhead

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// ErrMalformed is wrapped by the errors of heads that are none, or no good ones.
var ErrMalformed = errors.New("malformed head of the PROXY protocol")

// Bounds of a head in bytes: that of version 1 is the protocol's own. Version 2 allows
// 65551; TLVs of real load balancers take some hundred.
const (
	maxV1   = 107
	maxV2   = 16 + maxBody
	maxBody = 4096
)

// Head is what a load balancer says.
type Head struct {
	// Source is the client, Destination what it connected to. Both are zero for a
	// connection of the load balancer's own (LOCAL, such as a health check) or one whose
	// addresses it does not know (UNKNOWN): the connection's own addresses count then.
	Source, Destination netip.AddrPort
	TLS                 bool // the client's connection is encrypted as far as the load balancer
}

// signature begins a head of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Read reads a head, and nothing beyond it. It blocks as long as r does.
func Read(r io.Reader) (Head, error) {
	var buf [maxV2]byte
	start := buf[:len(signature)]
	if _, err := io.ReadFull(r, start); err != nil {
		return Head{}, fmt.Errorf("read head of the PROXY protocol: %w", err)
	}
	switch {
	case string(start) == signature:
		return readV2(r, &buf)
	case string(start[:6]) == "PROXY ":
		return readV1(r, buf[:maxV1])
	}
	return Head{}, fmt.Errorf("%w: neither version", ErrMalformed)
}

// readV1 reads on to the end of the line. A connection is not read beyond it: what is
// certain to be missing yet comes in one piece, the rest byte by byte.
func readV1(r io.Reader, buf []byte) (Head, error) {
	n := len(signature)
	least := map[string]int{"TCP4 ": len("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"), "TCP6 ": len("PROXY TCP6 :: :: 1 1\r\n")}[string(buf[6:11])]
	if least == 0 && string(buf[6:12]) != "UNKNOW" {
		return Head{}, fmt.Errorf("%w: no protocol that is known", ErrMalformed)
	}
	for more := max(least, n+1) - n; ; more = 1 {
		if n+more > len(buf) {
			return Head{}, fmt.Errorf("%w: a line of more than %d bytes", ErrMalformed, maxV1)
		}
		if _, err := io.ReadFull(r, buf[n:n+more]); err != nil {
			return Head{}, fmt.Errorf("read head of the PROXY protocol: %w", err)
		}
		if n += more; buf[n-1] == '\n' {
			return parseV1(buf[:n])
		}
	}
}

// parseV1 reads a whole line.
func parseV1(line []byte) (Head, error) {
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok || strings.ContainsAny(text, "\r\n") {
		return Head{}, fmt.Errorf("%w: the line does not end in CRLF", ErrMalformed)
	}
	if text == "PROXY UNKNOWN" || strings.HasPrefix(text, "PROXY UNKNOWN ") {
		return Head{}, nil // the rest of the line is to be ignored
	}
	f := strings.Split(text, " ")
	if len(f) != 6 {
		return Head{}, fmt.Errorf("%w: %d fields, not 6", ErrMalformed, len(f))
	}
	var h Head
	var err error
	if h.Source, err = endpoint(f[1], f[2], f[4]); err == nil {
		h.Destination, err = endpoint(f[1], f[3], f[5])
	}
	return h, err
}

// endpoint reads an address of version 1.
func endpoint(protocol, address, port string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Zone() != "" || addr.Is4() != (protocol == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no address of %s", ErrMalformed, address, protocol)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no port", ErrMalformed, port)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}

// What a head of version 2 says after the signature:
//
//	12  version (2) in the high half, command in the low one
//	13  family in the high half, transport in the low one
//	14  length of the rest, two bytes: addresses, ports, then TLVs
const (
	commandLocal, commandProxy          = 0x20, 0x21
	unspecified, tcp4, tcp6, unixStream = 0x00, 0x11, 0x21, 0x31
	addresses4, addresses6, addressesUn = 4 + 4 + 2 + 2, 16 + 16 + 2 + 2, 2 * 108
	typeCRC32C, typeSSL                 = 0x03, 0x20
	clientSSL                           = 0x01
)

func readV2(r io.Reader, buf *[maxV2]byte) (Head, error) {
	if _, err := io.ReadFull(r, buf[12:16]); err != nil {
		return Head{}, fmt.Errorf("read head of the PROXY protocol: %w", err)
	}
	if c := buf[12]; c != commandLocal && c != commandProxy {
		return Head{}, fmt.Errorf("%w: version and command %#02x", ErrMalformed, c)
	}
	length := int(binary.BigEndian.Uint16(buf[14:]))
	if length > maxBody {
		return Head{}, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, length, maxBody)
	}
	head := buf[:16+length]
	if _, err := io.ReadFull(r, head[16:]); err != nil {
		return Head{}, fmt.Errorf("read head of the PROXY protocol: %w", err)
	}
	if head[12] == commandLocal {
		return Head{}, nil // whatever else stands there is to be ignored
	}
	return parseV2(head)
}

// parseV2 reads a whole head with the command PROXY.
func parseV2(head []byte) (Head, error) {
	body := head[16:]
	want, known := map[byte]int{unspecified: 0, tcp4: addresses4, tcp6: addresses6, unixStream: addressesUn}[head[13]]
	switch {
	case !known:
		return Head{}, fmt.Errorf("%w: family and transport %#02x", ErrMalformed, head[13])
	case len(body) < want:
		return Head{}, fmt.Errorf("%w: %d bytes are too few for the addresses", ErrMalformed, len(body))
	case head[13] == unspecified:
		return Head{}, nil
	}
	var h Head
	switch head[13] {
	case tcp4:
		h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[4:])), binary.BigEndian.Uint16(body[10:]))
	case tcp6:
		h.Source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[16:])).Unmap(), binary.BigEndian.Uint16(body[34:]))
	}
	err := h.extensions(head, 16+want)
	return h, err
}

// extensions reads the TLVs from an offset of a head on: the checksum, where there is
// one, must be right.
func (h *Head) extensions(head []byte, at int) error {
	for at < len(head) {
		if len(head)-at < 3 {
			return fmt.Errorf("%w: an extension that is cut short", ErrMalformed)
		}
		kind, n := head[at], int(binary.BigEndian.Uint16(head[at+1:]))
		if at += 3; n > len(head)-at {
			return fmt.Errorf("%w: an extension that is cut short", ErrMalformed)
		}
		value := head[at : at+n]
		switch kind {
		case typeCRC32C:
			if n != 4 || !checksum(head, at) {
				return fmt.Errorf("%w: the checksum is wrong", ErrMalformed)
			}
		case typeSSL:
			if n < 5 {
				return fmt.Errorf("%w: an extension that is cut short", ErrMalformed)
			}
			h.TLS = value[0]&clientSSL != 0
		}
		at += n
	}
	return nil
}

// checksum reports whether the CRC32c at an offset is that of the head with zeros in
// its place.
func checksum(head []byte, at int) bool {
	zeroed := bytes.Clone(head)
	clear(zeroed[at : at+4])
	return crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli)) == binary.BigEndian.Uint32(head[at:])
}
