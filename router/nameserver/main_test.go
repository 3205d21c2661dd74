package nameserver

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"freshet/internal/node"
	"freshet/internal/site"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet steers every client of every site to the same addresses; sites that are not
// in it have none.
type fleet map[string][]string

func (f fleet) steer(_ netip.Addr, doc *site.Document, ipv6 bool) []netip.Addr {
	var addrs []netip.Addr
	for _, text := range f[doc.Site] {
		if addr := netip.MustParseAddr(text); addr.Is6() == ipv6 {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// testFleet and the like are what most tests serve.
var (
	testFleet = fleet{
		"www":  {"192.0.2.1", "192.0.2.2", "2001:db8::1"},
		"wild": {"192.0.2.3"},
		"deep": {"192.0.2.4"},
		"own":  {"192.0.2.5", "2001:db8::5"},
		"any":  {"192.0.2.6"},
	}
	testSites = site.NewSnapshot(7, []*site.Document{
		{Site: "www", Hosts: []string{"www.freshet.example", "freshet.example"}},
		{Site: "wild", Hosts: []string{"*.wild.freshet.example", "*.outer.test"}},
		{Site: "deep", Hosts: []string{"a.b.freshet.example", "x.c.wild.freshet.example"}},
		{Site: "own", Hosts: []string{"cdn.example.net", "img.cdn.example.net", "ns1.cdn.example.net"}},
		{Site: "lost", Hosts: []string{"lost.freshet.example"}},
		{Site: "any", Hosts: []string{"*"}},
	})
	testZones = []node.Zone{
		{
			Name:       "freshet.example",
			Hostmaster: "dns.admin@example.org",
			Nameservers: []node.Nameserver{
				{Name: "ns1.freshet.example.", Addrs: []string{"198.51.100.1", "2001:db8::53"}},
				{Name: "ns.elsewhere.test"},
			},
		},
		{Name: "sub.freshet.example", Nameservers: []node.Nameserver{{Name: "ns1.freshet.example"}}},
		{Name: "many.example", Nameservers: manyNameservers(40)},
	}
)

func manyNameservers(n int) []node.Nameserver {
	var list []node.Nameserver
	for i := range n {
		list = append(list, node.Nameserver{Name: fmt.Sprintf("a-name-server-%d.many.example", i), Addrs: []string{fmt.Sprintf("198.51.100.%d", i+1)}})
	}
	return list
}

// newServer makes a server without sockets.
func newServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	cfg.TTL = 5 * time.Second
	if cfg.Steer == nil {
		cfg.Steer = testFleet.steer
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.Metrics = prometheus.NewRegistry()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testServer is one without sockets that serves what most tests do.
func testServer(t testing.TB) *Server {
	s := newServer(t, Config{Zones: testZones, Advertise: []netip.Addr{netip.MustParseAddr("203.0.113.53")}})
	s.SetSites(testSites)
	return s
}

// start runs a server on free ports of the listen addresses until the test ends.
func start(t *testing.T, listen ...string) *Server {
	t.Helper()
	s := newServer(t, Config{Listen: listen, Zones: testZones})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.SetSites(testSites)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

var client = netip.MustParseAddr("198.51.100.77")

// ask has a packed query answered and unpacks the reply.
func ask(t testing.TB, s *Server, q *dns.Msg, via transport) *dns.Msg {
	t.Helper()
	packed, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(s.respond(packed, client, via)); err != nil {
		t.Fatalf("reply to %v: %v", q, err)
	}
	return reply
}

// question is a query without EDNS.
func question(name string, qtype uint16) *dns.Msg {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.RecursionDesired = false
	return q
}

// lines are the records as text with single spaces, sorted.
func lines(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			out = append(out, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	slices.Sort(out)
	return out
}
