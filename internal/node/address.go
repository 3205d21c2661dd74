package node

import (
	"fmt"
	"net/netip"
)

// Advertised is where the others reach the service: Advertise, or the addresses of
// Listen. The error says which of these is no single address.
func (f *File) Advertised() ([]netip.AddrPort, error) {
	if len(f.Advertise) > 0 {
		return parseAddrs("advertise", f.Advertise)
	}
	return parseAddrs("listen", f.Listen)
}

func parseAddrs(field string, list []string) ([]netip.AddrPort, error) {
	addrs := make([]netip.AddrPort, len(list))
	for i, text := range list {
		addr, err := netip.ParseAddrPort(text)
		if err != nil || addr.Addr().IsUnspecified() {
			return nil, fmt.Errorf("%s[%d]: %q names no single address (ip:port)", field, i, text)
		}
		addrs[i] = addr
	}
	return addrs, nil
}
