package nameserver

import (
	"net/netip"

	"github.com/miekg/dns"

	"freshet/internal/site"
)

// Steer chooses the addresses for a client that asks for a site, of one family, in
// the order in which they are to be answered. It must not block; empty means that
// there is none of that family. It may be called from several goroutines.
type Steer func(client netip.Addr, doc *site.Document, ipv6 bool) []netip.Addr

// answer fills in the reply to its question.
func (s *Server) answer(reply *dns.Msg, client netip.Addr) {
	q := reply.Question[0]
	if rcode := askable(q); rcode != dns.RcodeSuccess {
		reply.Rcode = rcode
		return
	}
	names := s.names.Load()
	if names == nil {
		reply.Rcode = dns.RcodeServerFailure
		return
	}
	f := names.find(dns.CanonicalName(q.Name))
	if f.zone == nil {
		reply.Rcode = dns.RcodeRefused
		return
	}
	reply.Authoritative = true
	switch {
	case !f.exists:
		reply.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeSOA && f.at == 0:
		reply.Answer = []dns.RR{f.zone.soa(q.Name, names.serial, apexTTL)}
	case q.Qtype == dns.TypeNS && f.at == 0:
		for _, ns := range f.zone.nameservers {
			reply.Answer = append(reply.Answer, &dns.NS{Hdr: header(q.Name, dns.TypeNS, apexTTL), Ns: ns})
			reply.Extra = append(reply.Extra, addresses(ns, names.fixed[ns], apexTTL)...)
		}
	case q.Qtype == dns.TypeANY && (f.at == 0 || f.fixed != nil || f.site != nil):
		reply.Answer = []dns.RR{&dns.HINFO{Hdr: header(q.Name, dns.TypeHINFO, apexTTL), Cpu: "RFC8482"}}
	case f.fixed != nil:
		reply.Answer = ofType(addresses(q.Name, f.fixed, apexTTL), q.Qtype)
	case f.site != nil && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA):
		ipv6 := q.Qtype == dns.TypeAAAA
		addrs := s.cfg.Steer(client, f.site, ipv6)
		if len(addrs) == 0 && len(s.cfg.Steer(client, f.site, !ipv6)) == 0 {
			// Not "no such address", which resolvers would remember.
			reply.Authoritative = false
			reply.Rcode = dns.RcodeServerFailure
			return
		}
		reply.Answer = addresses(q.Name, addrs, s.ttl)
	}
	if len(reply.Answer) == 0 {
		reply.Ns = []dns.RR{f.zone.soa(q.Name[f.at:], names.serial, negativeTTL)}
	}
}

// askable tells whether a question of that class and type is answered at all.
func askable(q dns.Question) int {
	switch {
	case q.Qtype == dns.TypeOPT:
		return dns.RcodeFormatError
	case q.Qclass != dns.ClassINET, q.Qtype == dns.TypeAXFR, q.Qtype == dns.TypeIXFR:
		return dns.RcodeRefused
	case q.Qtype >= 128 && q.Qtype < dns.TypeANY:
		return dns.RcodeNotImplemented // RFC 6895 §3.1: not types of data
	}
	return dns.RcodeSuccess
}

// addresses are A and AAAA records.
func addresses(owner string, addrs []netip.Addr, ttl uint32) []dns.RR {
	rrs := make([]dns.RR, 0, len(addrs))
	for _, addr := range addrs {
		if addr.Is4() {
			rrs = append(rrs, &dns.A{Hdr: header(owner, dns.TypeA, ttl), A: addr.AsSlice()})
		} else {
			rrs = append(rrs, &dns.AAAA{Hdr: header(owner, dns.TypeAAAA, ttl), AAAA: addr.AsSlice()})
		}
	}
	return rrs
}

// ofType keeps the records of one type.
func ofType(rrs []dns.RR, rrtype uint16) []dns.RR {
	var kept []dns.RR
	for _, rr := range rrs {
		if rr.Header().Rrtype == rrtype {
			kept = append(kept, rr)
		}
	}
	return kept
}
