package upstream

import (
	"net/netip"

	"github.com/zeebo/xxh3"
)

// homePrefix is how much of an IPv6 address names a client: the rest it chooses anew every
// day (RFC 8981).
const homePrefix = 64

// seedOf is what a client's address is known by.
func seedOf(client netip.Addr) uint64 {
	client = client.Unmap().WithZone("")
	if client.Is6() {
		if prefix, err := client.Prefix(homePrefix); err == nil {
			client = prefix.Addr()
		}
	}
	bytes := client.As16()
	return xxh3.Hash(bytes[:])
}

// Affinity is what the site's cookie calls the server that has answered; "" where clients
// are not bound by a cookie.
func (r *Reply) Affinity() string {
	if r.Parent.OfCluster() {
		return r.affinity
	}
	if r.Parent.Server != nil {
		return r.Parent.Server.Affinity
	}
	return ""
}
