package nameserver

import (
	"encoding/binary"
	"net/netip"
	"runtime/debug"

	"github.com/miekg/dns"
)

// Sizes of messages in bytes.
const (
	headerSize = 12
	plainUDP   = 512   // a reply over UDP to a client without EDNS
	ednsUDP    = 1232  // the largest over UDP: not fragmented on any usual path
	maxReply   = 65535 // over TCP
)

// Bits of a header's second 16 (RFC 1035 §4.1.1).
const (
	bitQR      = 1 << 15
	bitRD      = 1 << 8
	maskOpcode = 0xf << 11
)

// Records that a query may hold beside its question: a serial in the authority
// section of an IXFR, and OPT and a signature in the additional one.
const (
	maxAuthority  = 1
	maxAdditional = 2
)

// transport is what a message came by.
type transport string

const (
	overUDP transport = "udp"
	overTCP transport = "tcp"
)

// respond answers one message in its wire form. It returns nil where silence is the
// right answer: to what is too short to be a query, and to responses, so that two
// servers never talk to each other for ever.
func (s *Server) respond(query []byte, client netip.Addr, via transport) (packed []byte) {
	if len(query) < headerSize {
		s.metrics.dropped.WithLabelValues(dropShort).Inc()
		return nil
	}
	bits := binary.BigEndian.Uint16(query[2:])
	if bits&bitQR != 0 {
		s.metrics.dropped.WithLabelValues(dropResponse).Inc()
		return nil
	}
	defer func() {
		// What is parsed comes from strangers: a mistake in parsing it costs one
		// reply, not the server.
		if v := recover(); v != nil {
			s.metrics.dropped.WithLabelValues(dropPanic).Inc()
			s.log.Error("answering panicked", "panic", v, "query", query, "stack", string(debug.Stack()))
			packed = nil
		}
	}()
	if bits&maskOpcode != 0 {
		return s.bare(query, dns.RcodeNotImplemented, via)
	}
	var q dns.Msg
	if !parse(query, &q) {
		return s.bare(query, dns.RcodeFormatError, via)
	}
	reply := new(dns.Msg).SetReply(&q)
	reply.Compress = true
	size := s.negotiate(&q, reply, via)
	if reply.Rcode == dns.RcodeSuccess {
		s.answer(reply, client)
	}
	reply.Truncate(size)
	reply.Compress = true // Truncate leaves it out where the reply fits without
	packed, err := reply.Pack()
	if err != nil {
		s.log.Error("reply cannot be packed", "name", q.Question[0].Name, "err", err)
		return s.bare(query, dns.RcodeServerFailure, via)
	}
	s.metrics.count(via, q.Question[0].Qtype, reply.Rcode)
	return packed
}

// parse unpacks a query; false if it is malformed.
func parse(query []byte, q *dns.Msg) bool {
	count := func(section int) int { return int(binary.BigEndian.Uint16(query[4+2*section:])) }
	if count(0) != 1 || count(1) != 0 || count(2) > maxAuthority || count(3) > maxAdditional {
		return false
	}
	if err := q.Unpack(query); err != nil {
		return false
	}
	// Unpack takes a message that ends early for a shorter one.
	return len(q.Question) == 1 && len(q.Ns) == count(2) && len(q.Extra) == count(3)
}

// negotiate gives the reply its OPT record, if the query has one, and returns the
// size that the reply may have. It sets the reply's code if the query's EDNS is not
// acceptable (RFC 6891 §6.1).
func (s *Server) negotiate(q, reply *dns.Msg, via transport) int {
	var opt *dns.OPT
	size := plainUDP
	for _, rr := range q.Extra {
		o, ok := rr.(*dns.OPT)
		if !ok {
			continue
		}
		if opt != nil || o.Hdr.Name != "." {
			reply.Rcode = dns.RcodeFormatError
		}
		opt = o
	}
	if opt != nil {
		size = min(max(plainUDP, int(opt.UDPSize())), ednsUDP)
		echo := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		echo.SetUDPSize(ednsUDP)
		echo.SetDo(opt.Do())
		reply.Extra = append(reply.Extra, echo)
		if opt.Version() != 0 && reply.Rcode == dns.RcodeSuccess {
			reply.Rcode = dns.RcodeBadVers
		}
	}
	if via == overTCP {
		return maxReply
	}
	return size
}

// bare is a reply of only a header.
func (s *Server) bare(query []byte, rcode int, via transport) []byte {
	s.metrics.count(via, dns.TypeNone, rcode)
	reply := make([]byte, headerSize)
	copy(reply, query[:2])
	bits := binary.BigEndian.Uint16(query[2:])
	binary.BigEndian.PutUint16(reply[2:], bitQR|bits&(maskOpcode|bitRD)|uint16(rcode))
	return reply
}
