package nameserver

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// wire is a packed query for A of www.freshet.example, changed by edit.
func wire(t testing.TB, edit func(b []byte) []byte) []byte {
	t.Helper()
	b, err := question("www.freshet.example.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return edit(b)
}

// setCount changes one of the four counts of a header.
func setCount(section int, n uint16) func([]byte) []byte {
	return func(b []byte) []byte {
		binary.BigEndian.PutUint16(b[4+2*section:], n)
		return b
	}
}

func TestMalformed(t *testing.T) {
	opcode := func(op int) func([]byte) []byte {
		return func(b []byte) []byte { b[2] |= byte(op << 3); return b }
	}
	tests := []struct {
		name  string
		query []byte
		rcode int // of the reply; silence is -1
	}{
		{"nothing", nil, -1},
		{"less than a header", make([]byte, 11), -1},
		{"a response", wire(t, func(b []byte) []byte { b[2] |= 0x80; return b }), -1},
		{"a response with another opcode", wire(t, func(b []byte) []byte { b[2] |= 0xa0; return b }), -1},
		{"a header", make([]byte, 12), dns.RcodeFormatError},
		{"no question", wire(t, setCount(0, 0)), dns.RcodeFormatError},
		{"two questions announced", wire(t, setCount(0, 2)), dns.RcodeFormatError},
		{"two questions", wire(t, func(b []byte) []byte { return setCount(0, 2)(append(b, b[12:]...)) }), dns.RcodeFormatError},
		{"an answer announced", wire(t, setCount(1, 1)), dns.RcodeFormatError},
		{"an authority announced", wire(t, setCount(2, 1)), dns.RcodeFormatError},
		{"an additional announced", wire(t, setCount(3, 1)), dns.RcodeFormatError},
		{"many additionals announced", wire(t, setCount(3, 65535)), dns.RcodeFormatError},
		{"a question cut short", wire(t, func(b []byte) []byte { return b[:len(b)-3] }), dns.RcodeFormatError},
		{"only the announcement of a question", wire(t, func(b []byte) []byte { return b[:12] }), dns.RcodeFormatError},
		{"a name that points to itself", wire(t, func(b []byte) []byte { return append(b[:12], 0xc0, 12, 0, 1, 0, 1) }), dns.RcodeFormatError},
		{"a label that is too long", wire(t, func(b []byte) []byte { b[12] = 0x7f; return b }), dns.RcodeFormatError},
		{"garbage for an additional", wire(t, func(b []byte) []byte { return setCount(3, 1)(append(b, 0xff, 0xff, 0xff)) }), dns.RcodeFormatError},
		{"IQUERY", wire(t, opcode(1)), dns.RcodeNotImplemented},
		{"STATUS", wire(t, opcode(2)), dns.RcodeNotImplemented},
		{"NOTIFY", wire(t, opcode(4)), dns.RcodeNotImplemented},
		{"UPDATE", wire(t, opcode(5)), dns.RcodeNotImplemented},
		{"opcode 15", wire(t, opcode(15)), dns.RcodeNotImplemented},
		{"set bits that mean nothing here", wire(t, func(b []byte) []byte { b[2] |= 0x06; b[3] |= 0xff; return b }), dns.RcodeSuccess},
	}
	s := testServer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.respond(tt.query, client, overUDP)
			if tt.rcode < 0 {
				if got != nil {
					t.Errorf("answers %x, want silence", got)
				}
				return
			}
			reply := new(dns.Msg)
			if err := reply.Unpack(got); err != nil {
				t.Fatal(err)
			}
			if reply.Rcode != tt.rcode || !reply.Response || !bytes.Equal(got[:2], tt.query[:2]) {
				t.Errorf("answers %v, want %s", reply, dns.RcodeToString[tt.rcode])
			}
			if reply.Opcode != int(tt.query[2]>>3&0xf) || reply.AuthenticatedData || reply.Zero || reply.RecursionAvailable {
				t.Errorf("bits are wrong: %v", reply.MsgHdr)
			}
		})
	}
}

func TestEDNS(t *testing.T) {
	plain := func(size uint16, do bool) *dns.OPT {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		opt.SetUDPSize(size)
		opt.SetDo(do)
		return opt
	}
	changed := func(edit func(*dns.OPT)) *dns.OPT {
		opt := plain(4096, false)
		edit(opt)
		return opt
	}
	tests := []struct {
		name  string
		extra []dns.RR
		rcode int
		opt   bool
		do    bool
	}{
		{"none", nil, dns.RcodeSuccess, false, false},
		{"version 0", []dns.RR{plain(1232, false)}, dns.RcodeSuccess, true, false},
		{"DO", []dns.RR{plain(1232, true)}, dns.RcodeSuccess, true, true},
		{"version 1", []dns.RR{changed(func(o *dns.OPT) { o.SetVersion(1) })}, dns.RcodeBadVers, true, false},
		{"version 255 with an option", []dns.RR{changed(func(o *dns.OPT) {
			o.SetVersion(255)
			o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 100, Data: []byte("x")})
		})}, dns.RcodeBadVers, true, false},
		{"unknown option", []dns.RR{changed(func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}) })}, dns.RcodeSuccess, true, false},
		{"client subnet", []dns.RR{changed(func(o *dns.OPT) {
			o.Option = append(o.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{192, 0, 2, 0}})
		})}, dns.RcodeSuccess, true, false},
		{"unknown flags", []dns.RR{changed(func(o *dns.OPT) { o.SetZ(0x3fff) })}, dns.RcodeSuccess, true, false},
		{"two", []dns.RR{plain(1232, false), plain(1232, false)}, dns.RcodeFormatError, true, false},
		{"not of the root", []dns.RR{changed(func(o *dns.OPT) { o.Hdr.Name = "freshet.example." })}, dns.RcodeFormatError, true, false},
		{"another record", []dns.RR{&dns.A{Hdr: header("a.test.", dns.TypeA, 1), A: []byte{1, 2, 3, 4}}}, dns.RcodeSuccess, false, false},
	}
	s := testServer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := question("www.freshet.example.", dns.TypeA)
			q.Extra = tt.extra
			reply := ask(t, s, q, overUDP)
			if reply.Rcode != tt.rcode {
				t.Fatalf("%s, want %s", dns.RcodeToString[reply.Rcode], dns.RcodeToString[tt.rcode])
			}
			if answered := len(reply.Answer) > 0; answered != (tt.rcode == dns.RcodeSuccess) {
				t.Errorf("answers %v", reply.Answer)
			}
			opt := reply.IsEdns0()
			if (opt != nil) != tt.opt {
				t.Fatalf("OPT is %v", opt)
			}
			if opt != nil && (opt.Version() != 0 || opt.UDPSize() != 1232 || opt.Do() != tt.do || opt.Z() != 0 || len(opt.Option) != 0) {
				t.Errorf("OPT is %v", opt)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	tests := []struct {
		name string
		size uint16 // of the client's EDNS; 0 for none
		via  transport
		max  int
		cut  bool
	}{
		{"plain UDP", 0, overUDP, 512, true},
		{"EDNS that is too small", 100, overUDP, 512, true},
		{"EDNS 512", 512, overUDP, 512, true},
		{"EDNS 900", 900, overUDP, 900, true},
		{"EDNS 1232", 1232, overUDP, 1232, true},
		{"EDNS that is too large", 65535, overUDP, 1232, true},
		{"plain TCP", 0, overTCP, 65535, false},
		{"TCP with EDNS", 512, overTCP, 65535, false},
	}
	s := testServer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := question("many.example.", dns.TypeNS)
			if tt.size > 0 {
				q.SetEdns0(tt.size, false)
				q.IsEdns0().SetUDPSize(tt.size)
			}
			packed, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			got := s.respond(packed, client, tt.via)
			reply := new(dns.Msg)
			if err := reply.Unpack(got); err != nil {
				t.Fatal(err)
			}
			if len(got) > tt.max || reply.Truncated != tt.cut {
				t.Errorf("%d bytes, truncated is %v; want at most %d and %v", len(got), reply.Truncated, tt.max, tt.cut)
			}
			if (reply.IsEdns0() != nil) != (tt.size > 0) {
				t.Errorf("OPT is %v", reply.IsEdns0())
			}
			if !tt.cut && (len(reply.Answer) != 40 || len(lines(reply.Extra)) != 40) {
				t.Errorf("%d answers and %d addresses, want 40 and 40", len(reply.Answer), len(lines(reply.Extra)))
			}
		})
	}
}

func TestPlainAnswersFitPlainUDP(t *testing.T) {
	host := strings.Repeat(strings.Repeat("a", 61)+".", 3) + "wild.freshet.example."
	addrs := []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5", "2001:db8::6", "2001:db8::7", "2001:db8::8"}
	s := newServer(t, Config{Zones: testZones, Steer: fleet{"wild": addrs}.steer, Advertise: testServer(t).cfg.Advertise})
	s.SetSites(testSites)
	if reply := ask(t, s, question(host, dns.TypeAAAA), overUDP); reply.Truncated || len(reply.Answer) != 8 {
		t.Errorf("truncated is %v with %d answers", reply.Truncated, len(reply.Answer))
	}
}

func TestAPanicCostsOneReply(t *testing.T) {
	s := newServer(t, Config{
		Zones:     testZones,
		Steer:     nil,
		Advertise: testServer(t).cfg.Advertise,
	})
	s.SetSites(testSites)
	s.cfg.Steer = nil // calling it panics
	if got := s.respond(wire(t, func(b []byte) []byte { return b }), client, overUDP); got != nil {
		t.Errorf("answers %x, want silence", got)
	}
	if n := testutil.ToFloat64(s.metrics.dropped.WithLabelValues(dropPanic)); n != 1 {
		t.Errorf("%v panics are counted, want 1", n)
	}
}

func TestQueriesAreCounted(t *testing.T) {
	s := testServer(t)
	ask(t, s, question("www.freshet.example.", dns.TypeA), overUDP)
	ask(t, s, question("x.freshet.example.", 65300), overTCP)
	v1 := question("www.freshet.example.", dns.TypeAAAA).SetEdns0(1232, false)
	v1.IsEdns0().SetVersion(1)
	ask(t, s, v1, overUDP)
	s.respond(make([]byte, 12), client, overUDP)
	s.respond(make([]byte, 3), client, overUDP)
	for _, want := range [][3]string{{"udp", "A", "NOERROR"}, {"tcp", "other", "NXDOMAIN"}, {"udp", "AAAA", "BADVERS"}, {"udp", "none", "FORMERR"}} {
		if n := testutil.ToFloat64(s.metrics.queries.WithLabelValues(want[0], want[1], want[2])); n != 1 {
			t.Errorf("%v counted %v times, want once", want, n)
		}
	}
	if n := testutil.ToFloat64(s.metrics.dropped.WithLabelValues(dropShort)); n != 1 {
		t.Errorf("%v dropped, want 1", n)
	}
}

// FuzzRespond holds that whatever arrives, the reply is silence or a well-formed
// message that belongs to the query and is not too long.
func FuzzRespond(f *testing.F) {
	add := func(q *dns.Msg) {
		packed, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, false)
		f.Add(packed, true)
	}
	for _, name := range []string{"www.freshet.example.", "wWw.freshet.example.", "a.wild.freshet.example.", "b.freshet.example.", "ns2.cdn.example.net.", "version.bind.", "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeNS, dns.TypeSOA, dns.TypeANY, dns.TypeAXFR} {
			add(question(name, qtype))
		}
	}
	add(question("many.example.", dns.TypeNS).SetEdns0(700, true))
	signed := question("www.freshet.example.", dns.TypeA).SetEdns0(1232, true)
	signed.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
	signed.SetTsig("key.", dns.HmacSHA256, 300, 0)
	add(signed)
	f.Add(make([]byte, 12), false)
	f.Add([]byte("\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), false)
	s := testServer(f)
	f.Fuzz(func(t *testing.T, query []byte, tcp bool) {
		via, limit := overUDP, ednsUDP
		if tcp {
			via, limit = overTCP, maxReply
		}
		got := s.respond(bytes.Clone(query), client, via)
		if n := testutil.ToFloat64(s.metrics.dropped.WithLabelValues(dropPanic)); n != 0 {
			t.Fatal("panicked")
		}
		if got == nil {
			if len(query) >= headerSize && query[2]&0x80 == 0 {
				t.Fatal("a query got no reply")
			}
			return
		}
		if len(got) > limit {
			t.Fatalf("%d bytes", len(got))
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(got); err != nil {
			t.Fatalf("malformed reply: %v", err)
		}
		if !reply.Response || !bytes.Equal(got[:2], query[:2]) || reply.Opcode != int(query[2]>>3&0xf) {
			t.Fatalf("the reply is not of the query: %v", reply)
		}
		asked := new(dns.Msg)
		if err := asked.Unpack(query); err == nil && len(reply.Question) == 1 && reply.Question[0] != asked.Question[0] {
			t.Fatalf("question is %v, asked was %v", reply.Question, asked.Question)
		}
	})
}

func BenchmarkRespond(b *testing.B) {
	s := testServer(b)
	query := wire(b, func(q []byte) []byte { return q })
	for b.Loop() {
		s.respond(query, client, overUDP)
	}
}
