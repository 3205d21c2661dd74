package nameserver

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"freshet/internal/site"
)

// names is every name that the server answers for. It is immutable. All names are
// lower-case and fully qualified.
type names struct {
	version uint64                    // of the sites
	serial  uint32                    // of every zone
	zones   map[string]*zone          // by apex
	fixed   map[string][]netip.Addr   // name servers
	hosts   map[string]*site.Document // sites' hosts
	below   map[string]*site.Document // suffixes of sites' hosts *.suffix
	above   map[string]bool           // names within zones that exist because names below them do
}

// newNames makes the names of the sites. self are the router's own addresses.
func newNames(zones []*zone, fixed map[string][]netip.Addr, self []netip.Addr, sites *site.Snapshot, serial uint32) *names {
	n := &names{
		version: sites.Version(),
		serial:  serial,
		zones:   make(map[string]*zone),
		fixed:   maps.Clone(fixed),
		hosts:   make(map[string]*site.Document),
		below:   make(map[string]*site.Document),
		above:   make(map[string]bool),
	}
	for _, doc := range sites.Sites() {
		for _, host := range doc.Hosts {
			suffix, wildcard := strings.CutPrefix(host, "*.")
			name, err := domain(suffix)
			table := n.hosts
			if wildcard {
				table = n.below
			}
			// "*" is no name. Of two sites that claim one host edges take the first.
			if err == nil && table[name] == nil {
				table[name] = doc
			}
		}
	}
	for _, z := range zones {
		n.zones[z.apex] = z
	}
	n.addOwnZones(self)
	for name := range n.hosts {
		n.addAbove(parent(name))
	}
	for name := range n.fixed {
		n.addAbove(parent(name))
	}
	for suffix := range n.below {
		n.addAbove(suffix)
	}
	return n
}

// nextSerial is the serial of zones whose sites have the version, after before (nil:
// none). It is the Unix time of the change, so that it grows over restarts too; a
// clock that was put back does not put it back.
func nextSerial(before *names, version uint64, now time.Time) uint32 {
	serial := uint32(now.Unix())
	if before == nil {
		return serial
	}
	if version == before.version {
		return before.serial
	}
	// RFC 1982: the sign of the difference tells which of two serials is newer.
	if int32(serial-before.serial) <= 0 {
		return before.serial + 1
	}
	return serial
}

// addOwnZones makes zones of the hosts that lie in none.
func (n *names) addOwnZones(self []netip.Addr) {
	// Outer names come first, so that a name below another joins its zone.
	apexes := slices.Concat(slices.Collect(maps.Keys(n.hosts)), slices.Collect(maps.Keys(n.below)))
	slices.SortFunc(apexes, func(a, b string) int { return cmp.Compare(dns.CountLabel(a), dns.CountLabel(b)) })
	for _, apex := range apexes {
		if n.zoneOf(apex) != nil {
			continue
		}
		ns := ""
		for i := 1; ; i++ {
			ns = fmt.Sprintf("ns%d.%s", i, apex)
			if n.hosts[ns] == nil && n.fixed[ns] == nil {
				break
			}
		}
		n.zones[apex] = &zone{apex: apex, nameservers: []string{ns}, hostmaster: "hostmaster." + apex}
		n.fixed[ns] = self
	}
}

// addAbove adds name and what is above it, up to the apex of its zone.
func (n *names) addAbove(name string) {
	for name != "" && n.zones[name] == nil && !n.above[name] {
		n.above[name] = true
		name = parent(name)
	}
}

// zoneOf is the innermost zone that name lies in, or nil.
func (n *names) zoneOf(name string) *zone {
	for ; name != ""; name = parent(name) {
		if z := n.zones[name]; z != nil {
			return z
		}
	}
	return nil
}

// parent is the name without its first label, "" above a top-level name.
func parent(name string) string {
	next, end := dns.NextLabel(name, 0)
	if end {
		return ""
	}
	return name[next:]
}

// found is what find knows of a name.
type found struct {
	zone   *zone          // nil: the name is nobody's
	at     int            // where the zone's apex begins in the name
	exists bool           // there is such a name, perhaps without data
	fixed  []netip.Addr   // a name server's addresses
	site   *site.Document // the site whose host it is, if any
}

// find looks a name up.
func (n *names) find(name string) found {
	var f found
	rest := name
	for ; rest != ""; rest = parent(rest) {
		if z := n.zones[rest]; z != nil {
			f.zone, f.at = z, len(name)-len(rest)
			break
		}
	}
	if f.zone == nil {
		return found{}
	}
	f.exists = f.at == 0 || n.above[name]
	if f.fixed = n.fixed[name]; f.fixed != nil {
		f.exists = true
		return f
	}
	f.site = n.hosts[name]
	for suffix := parent(name); f.site == nil && suffix != ""; suffix = parent(suffix) {
		f.site = n.below[suffix]
	}
	f.exists = f.exists || f.site != nil
	return f
}
