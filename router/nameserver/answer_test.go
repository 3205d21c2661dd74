package nameserver

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"freshet/internal/site"
)

const (
	freshetSOA = "freshet.example. 60 IN SOA ns1.freshet.example. dns\\.admin.example.org. 7 14400 3600 1209600 60"
	subSOA     = "sub.freshet.example. 60 IN SOA ns1.freshet.example. hostmaster.sub.freshet.example. 7 14400 3600 1209600 60"
	outerSOA   = "outer.test. 60 IN SOA ns1.outer.test. hostmaster.outer.test. 7 14400 3600 1209600 60"
	ownSOA     = "cdn.example.net. 60 IN SOA ns2.cdn.example.net. hostmaster.cdn.example.net. 7 14400 3600 1209600 60"
)

func TestAnswers(t *testing.T) {
	tests := []struct {
		what  string
		name  string
		qtype uint16
		rcode int
		want  []string // the answer, or the authority section if that is all there is
		extra []string
	}{
		{"a host", "www.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{"www.freshet.example. 5 IN A 192.0.2.1", "www.freshet.example. 5 IN A 192.0.2.2"}, nil},
		{"a host over IPv6", "www.freshet.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{"www.freshet.example. 5 IN AAAA 2001:db8::1"}, nil},
		{"a host at the apex", "freshet.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{"freshet.example. 5 IN AAAA 2001:db8::1"}, nil},
		{"the case of the question", "wWw.FReshet.eXample.", dns.TypeAAAA, dns.RcodeSuccess, []string{"wWw.FReshet.eXample. 5 IN AAAA 2001:db8::1"}, nil},
		{"the case of the zone", "wWw.Freshet.eXample.", dns.TypeMX, dns.RcodeSuccess, []string{"Freshet.eXample." + freshetSOA[len("freshet.example."):]}, nil},
		{"another type of a host", "www.freshet.example.", dns.TypeTXT, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"HTTPS of a host", "www.freshet.example.", dns.TypeHTTPS, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"RRSIG of a host", "www.freshet.example.", dns.TypeRRSIG, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"NS of a host", "www.freshet.example.", dns.TypeNS, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"SOA of a host", "www.freshet.example.", dns.TypeSOA, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"an unknown type of a host", "www.freshet.example.", 65300, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"ANY of a host", "www.freshet.example.", dns.TypeANY, dns.RcodeSuccess, []string{`www.freshet.example. 3600 IN HINFO "RFC8482" ""`}, nil},
		{"no IPv6", "a.wild.freshet.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"no edge of either family", "lost.freshet.example.", dns.TypeA, dns.RcodeServerFailure, nil, nil},
		{"no edge and another type", "lost.freshet.example.", dns.TypeTXT, dns.RcodeSuccess, []string{freshetSOA}, nil},

		{"SOA", "freshet.example.", dns.TypeSOA, dns.RcodeSuccess, []string{"freshet.example. 3600" + freshetSOA[len("freshet.example. 60"):]}, nil},
		{"NS", "freshet.example.", dns.TypeNS, dns.RcodeSuccess,
			[]string{"freshet.example. 3600 IN NS ns.elsewhere.test.", "freshet.example. 3600 IN NS ns1.freshet.example."},
			[]string{"ns1.freshet.example. 3600 IN A 198.51.100.1", "ns1.freshet.example. 3600 IN AAAA 2001:db8::53"}},
		{"ANY at the apex", "freshet.example.", dns.TypeANY, dns.RcodeSuccess, []string{`freshet.example. 3600 IN HINFO "RFC8482" ""`}, nil},
		{"a name server", "ns1.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{"ns1.freshet.example. 3600 IN A 198.51.100.1"}, nil},
		{"a name server over IPv6", "ns1.freshet.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{"ns1.freshet.example. 3600 IN AAAA 2001:db8::53"}, nil},
		{"another type of a name server", "ns1.freshet.example.", dns.TypeTXT, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"a zone in a zone", "sub.freshet.example.", dns.TypeSOA, dns.RcodeSuccess, []string{"sub.freshet.example. 3600" + subSOA[len("sub.freshet.example. 60"):]}, nil},
		{"nothing in the inner zone", "x.sub.freshet.example.", dns.TypeA, dns.RcodeNameError, []string{subSOA}, nil},
		{"NS of the inner zone", "sub.freshet.example.", dns.TypeNS, dns.RcodeSuccess,
			[]string{"sub.freshet.example. 3600 IN NS ns1.freshet.example."},
			[]string{"ns1.freshet.example. 3600 IN A 198.51.100.1", "ns1.freshet.example. 3600 IN AAAA 2001:db8::53"}},

		{"no such name", "nothing.freshet.example.", dns.TypeA, dns.RcodeNameError, []string{freshetSOA}, nil},
		{"no such name, ANY", "nothing.freshet.example.", dns.TypeANY, dns.RcodeNameError, []string{freshetSOA}, nil},
		{"below a host", "x.www.freshet.example.", dns.TypeA, dns.RcodeNameError, []string{freshetSOA}, nil},
		{"below a name server", "x.ns1.freshet.example.", dns.TypeA, dns.RcodeNameError, []string{freshetSOA}, nil},
		{"an escaped dot is no boundary", `www\.freshet.example.`, dns.TypeA, dns.RcodeRefused, nil, nil},
		{"an escaped dot below a zone", `x\.www.freshet.example.`, dns.TypeA, dns.RcodeNameError, []string{freshetSOA}, nil},
		{"an empty non-terminal", "b.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"an empty non-terminal, ANY", "b.freshet.example.", dns.TypeANY, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"below an empty non-terminal", "a.b.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{"a.b.freshet.example. 5 IN A 192.0.2.4"}, nil},

		{"below a suffix", "a.wild.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{"a.wild.freshet.example. 5 IN A 192.0.2.3"}, nil},
		{"far below a suffix", "a.b.c.wild.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{"a.b.c.wild.freshet.example. 5 IN A 192.0.2.3"}, nil},
		{"the wildcard itself", "*.wild.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{"*.wild.freshet.example. 5 IN A 192.0.2.3"}, nil},
		{"an odd name below a suffix", `a\000\.b.wild.freshet.example.`, dns.TypeA, dns.RcodeSuccess, []string{`a\000\.b.wild.freshet.example. 5 IN A 192.0.2.3`}, nil},
		{"the suffix", "wild.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{freshetSOA}, nil},
		{"another host below a suffix", "x.c.wild.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{"x.c.wild.freshet.example. 5 IN A 192.0.2.4"}, nil},
		{"between a host and a suffix", "c.wild.freshet.example.", dns.TypeA, dns.RcodeSuccess, []string{"c.wild.freshet.example. 5 IN A 192.0.2.3"}, nil},

		{"a host outside the zones", "cdn.example.net.", dns.TypeA, dns.RcodeSuccess, []string{"cdn.example.net. 5 IN A 192.0.2.5"}, nil},
		{"SOA of its zone", "cdn.example.net.", dns.TypeSOA, dns.RcodeSuccess, []string{"cdn.example.net. 3600" + ownSOA[len("cdn.example.net. 60"):]}, nil},
		{"NS of its zone", "cdn.example.net.", dns.TypeNS, dns.RcodeSuccess,
			[]string{"cdn.example.net. 3600 IN NS ns2.cdn.example.net."},
			[]string{"ns2.cdn.example.net. 3600 IN A 203.0.113.53"}},
		{"its name server", "ns2.cdn.example.net.", dns.TypeA, dns.RcodeSuccess, []string{"ns2.cdn.example.net. 3600 IN A 203.0.113.53"}, nil},
		{"its name server over IPv6", "ns2.cdn.example.net.", dns.TypeAAAA, dns.RcodeSuccess, []string{ownSOA}, nil},
		{"a host called like a name server", "ns1.cdn.example.net.", dns.TypeA, dns.RcodeSuccess, []string{"ns1.cdn.example.net. 5 IN A 192.0.2.5"}, nil},
		{"a host below it", "img.cdn.example.net.", dns.TypeA, dns.RcodeSuccess, []string{"img.cdn.example.net. 5 IN A 192.0.2.5"}, nil},
		{"a host below it is no zone", "img.cdn.example.net.", dns.TypeNS, dns.RcodeSuccess, []string{ownSOA}, nil},
		{"nothing below it", "x.cdn.example.net.", dns.TypeA, dns.RcodeNameError, []string{ownSOA}, nil},
		{"above it", "example.net.", dns.TypeA, dns.RcodeRefused, nil, nil},
		{"a suffix outside the zones", "a.outer.test.", dns.TypeA, dns.RcodeSuccess, []string{"a.outer.test. 5 IN A 192.0.2.3"}, nil},
		{"a suffix outside is a zone", "outer.test.", dns.TypeA, dns.RcodeSuccess, []string{outerSOA}, nil},

		{"nobody's name", "www.example.org.", dns.TypeA, dns.RcodeRefused, nil, nil},
		{"the root", ".", dns.TypeNS, dns.RcodeRefused, nil, nil},
		{"a top-level name", "example.", dns.TypeA, dns.RcodeRefused, nil, nil},
		{"AXFR", "freshet.example.", dns.TypeAXFR, dns.RcodeRefused, nil, nil},
		{"IXFR", "freshet.example.", dns.TypeIXFR, dns.RcodeRefused, nil, nil},
		{"MAILB", "freshet.example.", dns.TypeMAILB, dns.RcodeNotImplemented, nil, nil},
		{"TKEY", "freshet.example.", dns.TypeTKEY, dns.RcodeNotImplemented, nil, nil},
		{"OPT as a type", "freshet.example.", dns.TypeOPT, dns.RcodeFormatError, nil, nil},
	}
	s := testServer(t)
	s.names.Load().serial = 7
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			q := question(tt.name, tt.qtype)
			reply := ask(t, s, q, overTCP)
			if reply.Rcode != tt.rcode {
				t.Fatalf("%s, want %s", dns.RcodeToString[reply.Rcode], dns.RcodeToString[tt.rcode])
			}
			if reply.Id != q.Id || !reply.Response || reply.Truncated || reply.RecursionAvailable || !slices.Equal(reply.Question, q.Question) {
				t.Errorf("header or question are wrong: %v", reply)
			}
			authoritative := tt.rcode == dns.RcodeSuccess || tt.rcode == dns.RcodeNameError
			if reply.Authoritative != authoritative {
				t.Errorf("aa is %v", reply.Authoritative)
			}
			got := lines(reply.Answer)
			if got == nil {
				got = lines(reply.Ns)
			} else if len(reply.Ns) > 0 {
				t.Errorf("authority beside an answer: %v", reply.Ns)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("answers\n%q, want\n%q", got, tt.want)
			}
			if got := lines(reply.Extra); !slices.Equal(got, tt.extra) {
				t.Errorf("additional\n%q, want\n%q", got, tt.extra)
			}
		})
	}
}

func TestOtherClasses(t *testing.T) {
	s := testServer(t)
	for _, class := range []uint16{dns.ClassCHAOS, dns.ClassHESIOD, dns.ClassANY, dns.ClassNONE, 0} {
		q := question("version.bind.", dns.TypeTXT)
		q.Question[0].Qclass = class
		if reply := ask(t, s, q, overUDP); reply.Rcode != dns.RcodeRefused {
			t.Errorf("class %d: %s", class, dns.RcodeToString[reply.Rcode])
		}
	}
}

func TestBeforeTheSitesAreKnown(t *testing.T) {
	s := newServer(t, Config{Zones: testZones})
	if reply := ask(t, s, question("freshet.example.", dns.TypeA), overUDP); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("%s, want SERVFAIL", dns.RcodeToString[reply.Rcode])
	}
}

func TestSerial(t *testing.T) {
	at := func(unix int64) time.Time { return time.Unix(unix, 0) }
	tests := []struct {
		name    string
		before  *names
		version uint64
		now     time.Time
		want    uint32
	}{
		{"the first", nil, 3, at(1000), 1000},
		{"a change", &names{version: 3, serial: 1000}, 9, at(1005), 1005},
		{"no change", &names{version: 3, serial: 1000}, 3, at(1005), 1000},
		{"two changes within a second", &names{version: 3, serial: 1000}, 4, at(1000), 1001},
		{"a clock put back", &names{version: 3, serial: 1000}, 4, at(10), 1001},
		{"a lower version", &names{version: 9, serial: 1000}, 4, at(1005), 1005},
		{"over the end of the numbers", &names{version: 3, serial: 1<<32 - 1}, 4, at(1 << 32), 0},
		{"at the end of the numbers", &names{version: 3, serial: 1<<32 - 1}, 4, at(1<<32 - 9), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := nextSerial(tt.before, tt.version, tt.now); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

func TestTwoSitesOfOneHost(t *testing.T) {
	s := newServer(t, Config{Steer: fleet{"a": {"192.0.2.1"}, "b": {"192.0.2.2"}}.steer, Advertise: testServer(t).cfg.Advertise})
	s.SetSites(site.NewSnapshot(1, []*site.Document{{Site: "b", Hosts: []string{"h.test"}}, {Site: "a", Hosts: []string{"h.test"}}}))
	if got := lines(ask(t, s, question("h.test.", dns.TypeA), overUDP).Answer); !slices.Equal(got, []string{"h.test. 5 IN A 192.0.2.1"}) {
		t.Errorf("answers %q, want those of the first by name", got)
	}
}

func TestSitesThatWent(t *testing.T) {
	s := testServer(t)
	s.SetSites(site.NewSnapshot(8, nil))
	for name, want := range map[string]int{
		"www.freshet.example.": dns.RcodeNameError,
		"ns1.freshet.example.": dns.RcodeSuccess,
		"cdn.example.net.":     dns.RcodeRefused,
		"ns2.cdn.example.net.": dns.RcodeRefused,
	} {
		if reply := ask(t, s, question(name, dns.TypeA), overUDP); reply.Rcode != want {
			t.Errorf("%s: %s, want %s", name, dns.RcodeToString[reply.Rcode], dns.RcodeToString[want])
		}
	}
}
