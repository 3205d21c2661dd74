package nameserver

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"freshet/internal/node"
)

// Times of what stands at a zone's apex. Nothing transfers the zones, so refresh,
// retry and expire are only there to be sane.
const (
	apexTTL     = 3600       // seconds, of SOA, NS and the name servers' addresses
	soaRefresh  = 4 * 3600   // seconds
	soaRetry    = 3600       // seconds
	soaExpire   = 14 * 86400 // seconds
	negativeTTL = 60         // seconds that a missing name or type is remembered: a new site waits that long
)

// zone is what stands at the apex of one zone.
type zone struct {
	apex        string   // lower-case, fully qualified
	nameservers []string // lower-case, fully qualified; the first is the primary
	hostmaster  string   // mailbox as a domain name
}

// soa is the zone's SOA under the owner name, which is the apex in the case in
// which it was asked for.
func (z *zone) soa(owner string, serial, ttl uint32) *dns.SOA {
	return &dns.SOA{
		Hdr:     header(owner, dns.TypeSOA, ttl),
		Ns:      z.nameservers[0],
		Mbox:    z.hostmaster,
		Serial:  serial,
		Refresh: soaRefresh,
		Retry:   soaRetry,
		Expire:  soaExpire,
		Minttl:  negativeTTL,
	}
}

// header is the start of a record of class IN.
func header(owner string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// compileZones checks the configured zones. fixed are the addresses of their name
// servers, by name.
func compileZones(configured []node.Zone) (zones []*zone, fixed map[string][]netip.Addr, err error) {
	fixed = make(map[string][]netip.Addr)
	seen := make(map[string]bool)
	for _, c := range configured {
		z, err := compileZone(c, fixed)
		if err != nil {
			return nil, nil, fmt.Errorf("zone %q: %w", c.Name, err)
		}
		if seen[z.apex] {
			return nil, nil, fmt.Errorf("zone %q: there are two of that name", c.Name)
		}
		seen[z.apex] = true
		zones = append(zones, z)
	}
	return zones, fixed, nil
}

func compileZone(c node.Zone, fixed map[string][]netip.Addr) (*zone, error) {
	apex, err := domain(c.Name)
	if err != nil {
		return nil, err
	}
	if len(c.Nameservers) == 0 {
		return nil, errors.New("no name servers")
	}
	z := &zone{apex: apex}
	for _, ns := range c.Nameservers {
		name, err := domain(ns.Name)
		if err != nil {
			return nil, fmt.Errorf("name server: %w", err)
		}
		if len(ns.Addrs) == 0 && dns.IsSubDomain(apex, name) {
			return nil, fmt.Errorf("name server %s lies in the zone and needs addrs", ns.Name)
		}
		z.nameservers = append(z.nameservers, name)
		for _, text := range ns.Addrs {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("name server %s: %q is not an IP address", ns.Name, text)
			}
			fixed[name] = addAddr(fixed[name], addr)
		}
	}
	if z.hostmaster, err = mailbox(c.Hostmaster, apex); err != nil {
		return nil, err
	}
	return z, nil
}

// addAddr adds an address that is not there yet.
func addAddr(addrs []netip.Addr, addr netip.Addr) []netip.Addr {
	addr = addr.Unmap()
	for _, a := range addrs {
		if a == addr {
			return addrs
		}
	}
	return append(addrs, addr)
}

// domain is the name as it stands in zones: lower-case, fully qualified.
func domain(name string) (string, error) {
	if _, ok := dns.IsDomainName(name); !ok || name == "." || strings.ContainsAny(name, `\ @*`) {
		return "", fmt.Errorf("%q is not a domain name", name)
	}
	return dns.CanonicalName(name), nil
}

// mailbox writes a mail address as a domain name (RFC 1035 §3.3.13), with
// hostmaster@apex for "".
func mailbox(mail, apex string) (string, error) {
	if mail == "" {
		return "hostmaster." + apex, nil
	}
	local, host, ok := strings.Cut(mail, "@")
	name, err := domain(host)
	if !ok || err != nil || local == "" {
		return "", fmt.Errorf("hostmaster %q is not a mail address", mail)
	}
	box := strings.NewReplacer(`\`, `\\`, `.`, `\.`).Replace(local) + "." + name
	if _, ok := dns.IsDomainName(box); !ok {
		return "", fmt.Errorf("hostmaster %q does not fit a domain name", mail)
	}
	return box, nil
}
