package nameserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/internal/node"
	"freshet/internal/run"
)

// dial opens a TCP connection to the server.
func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestSockets(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", ":0", "0.0.0.0:0", "[::]:0"} {
		s := start(t, listen)
		at := s.Addrs()[0]
		if at.Addr().IsUnspecified() {
			// As asked at another address of the machine, the reply must come from there.
			loopback := netip.MustParseAddr("127.0.0.2")
			if strings.HasPrefix(listen, "[") {
				loopback = netip.IPv6Loopback()
			}
			at = netip.AddrPortFrom(loopback, at.Port())
		}
		for _, network := range []string{"udp", "tcp"} {
			t.Run(listen+" "+network, func(t *testing.T) {
				c := &dns.Client{Net: network, Timeout: 10 * time.Second}
				reply, _, err := c.Exchange(question("www.freshet.example.", dns.TypeAAAA), at.String())
				if err != nil {
					t.Fatal(err)
				}
				if got := lines(reply.Answer); !slices.Equal(got, []string{"www.freshet.example. 5 IN AAAA 2001:db8::1"}) {
					t.Errorf("answers %q", got)
				}
			})
		}
	}
}

func TestOwnAddressesAreThoseListenedOn(t *testing.T) {
	s := start(t, "127.0.0.1:0", "127.0.0.1:0", "[::1]:0")
	reply := ask(t, s, question("cdn.example.net.", dns.TypeNS), overTCP)
	want := []string{"ns2.cdn.example.net. 3600 IN A 127.0.0.1", "ns2.cdn.example.net. 3600 IN AAAA ::1"}
	if got := lines(reply.Extra); !slices.Equal(got, want) {
		t.Errorf("glue is %q, want %q", got, want)
	}
}

func TestTruncatedThenWholeOverTCP(t *testing.T) {
	s := start(t, "127.0.0.1:0")
	q := question("many.example.", dns.TypeNS)
	reply, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(q, s.Addrs()[0].String())
	if err != nil || !reply.Truncated {
		t.Fatalf("over UDP: %v, %v; want it truncated", reply, err)
	}
	reply, _, err = (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(q, s.Addrs()[0].String())
	if err != nil || reply.Truncated || len(reply.Answer) != 40 {
		t.Fatalf("over TCP: %v, %v; want it whole", reply, err)
	}
}

func TestPipelining(t *testing.T) {
	s := start(t, "127.0.0.1:0")
	conn := dial(t, s)
	var out []byte
	const n = 200
	for id := range uint16(n) {
		q := question(fmt.Sprintf("n%d.wild.freshet.example.", id), dns.TypeA)
		q.Id = id
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(out); err != nil {
		t.Fatal(err)
	}
	in := &dns.Conn{Conn: conn}
	for id := range uint16(n) {
		reply, err := in.ReadMsg()
		if err != nil {
			t.Fatalf("reply %d: %v", id, err)
		}
		if reply.Id != id || len(reply.Answer) != 1 {
			t.Fatalf("reply %d is %v", id, reply)
		}
	}
}

func TestBrokenFramingClosesTheConnection(t *testing.T) {
	s := start(t, "127.0.0.1:0")
	for name, sent := range map[string][]byte{
		"too short": {0, 3, 1, 2, 3},
		"empty":     {0, 0},
		"too long":  {0xff, 0xff},
		"response":  append([]byte{0, 12, 0, 0, 0x80}, make([]byte, 9)...),
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, s)
			if _, err := conn.Write(sent); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("reads %x, %v; want the end", got, err)
			}
		})
	}
}

func TestTooManyConnections(t *testing.T) {
	s := newServer(t, Config{Listen: []string{"127.0.0.1:0"}})
	s.slots = make(chan struct{}, 2)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.SetSites(testSites)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	defer func() { cancel(); <-done }()

	exchange := func(conn net.Conn) error {
		c := &dns.Conn{Conn: conn}
		if err := c.WriteMsg(question("cdn.example.net.", dns.TypeA)); err != nil {
			return err
		}
		_, err := c.ReadMsg()
		return err
	}
	first, second := dial(t, s), dial(t, s)
	for _, conn := range []net.Conn{first, second} {
		if err := exchange(conn); err != nil {
			t.Fatal(err)
		}
	}
	if err := exchange(dial(t, s)); err == nil {
		t.Error("a third connection is served")
	}
	if n := testutil.ToFloat64(s.metrics.refused); n != 1 {
		t.Errorf("%v refused, want 1", n)
	}
	first.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if err := exchange(dial(t, s)); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("no connection after one was closed: %v", err)
		}
	}
}

// TestStopping holds that Run ends with idle and half-sent connections open, and
// that the port is free then.
func TestStopping(t *testing.T) {
	s := newServer(t, Config{Listen: []string{"127.0.0.1:0"}})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.SetSites(testSites)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	idle, half := dial(t, s), dial(t, s)
	c := &dns.Conn{Conn: idle}
	if err := c.WriteMsg(question("cdn.example.net.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	if _, err := half.Write([]byte{0, 40, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(4 * time.Second): // less than any of the timeouts
		t.Fatal("run does not end")
	}
	again := newServer(t, Config{Listen: []string{s.Addrs()[0].String()}})
	if err := again.Listen(); err != nil {
		t.Fatal(err)
	}
	again.sockets[0].close()
}

func TestListenErrors(t *testing.T) {
	t.Run("port in use over UDP", func(t *testing.T) {
		taken, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		s := newServer(t, Config{Listen: []string{"127.0.0.1:0", taken.LocalAddr().String()}})
		err = s.Listen()
		if !errors.Is(err, run.ErrAddressInUse) || !strings.Contains(err.Error(), taken.LocalAddr().String()) {
			t.Errorf("error is %v", err)
		}
		if len(s.Addrs()) != 0 {
			t.Errorf("still listens on %v", s.Addrs())
		}
	})
	t.Run("no such address", func(t *testing.T) {
		s := newServer(t, Config{Listen: []string{"192.0.2.1:0"}})
		if err := s.Listen(); !errors.Is(err, run.ErrNoSuchAddress) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestZoneMistakes(t *testing.T) {
	ns := []node.Nameserver{{Name: "ns.test"}}
	tests := []struct {
		name string
		zone node.Zone
		want string
	}{
		{"no name", node.Zone{Nameservers: ns}, "not a domain name"},
		{"the root", node.Zone{Name: ".", Nameservers: ns}, "not a domain name"},
		{"a wildcard", node.Zone{Name: "*.example", Nameservers: ns}, "not a domain name"},
		{"a label that is too long", node.Zone{Name: strings.Repeat("a", 64) + ".example", Nameservers: ns}, "not a domain name"},
		{"no name servers", node.Zone{Name: "a.example"}, "no name servers"},
		{"a name server without addresses", node.Zone{Name: "a.example", Nameservers: []node.Nameserver{{Name: "ns.a.example"}}}, "needs addrs"},
		{"an address that is none", node.Zone{Name: "a.example", Nameservers: []node.Nameserver{{Name: "ns.a.example", Addrs: []string{"300.1.1.1"}}}}, "not an IP address"},
		{"a hostmaster without host", node.Zone{Name: "a.example", Nameservers: ns, Hostmaster: "me"}, "not a mail address"},
		{"a hostmaster that is too long", node.Zone{Name: "a.example", Nameservers: ns, Hostmaster: strings.Repeat("a", 64) + "@a.example"}, "does not fit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := compileZones([]node.Zone{tt.zone})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
		})
	}
	twice := node.Zone{Name: "a.example", Nameservers: ns}
	if _, _, err := compileZones([]node.Zone{twice, twice}); err == nil {
		t.Error("two zones of one name are accepted")
	}
}
