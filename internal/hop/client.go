package hop

import (
	"net/netip"
	"strings"

	"freshet/internal/header"
)

// For the affinity of what is not cacheable (see package site), the tier that clients speak
// to tells those above, and they it:
//
//	request:   Freshet-Client:   <address of the client>
//	           Freshet-Affinity: <what the client's cookie calls the server that it is bound to>
//	response:  Freshet-Affinity: <what the cookie calls the server that has answered>
const (
	ClientField   = "Freshet-Client"
	AffinityField = "Freshet-Affinity"
)

// maxAffinity is how long the name of a server may be, in bytes.
const maxAffinity = 64

// SetClient says in a request which client it is from; nothing for the zero address.
func SetClient(h *header.Block, client netip.Addr) error {
	if !client.IsValid() {
		return nil
	}
	return h.Set(ClientField, client.Unmap().WithZone("").String())
}

// Client is the client that a trusted request is from; the zero address if it does not say.
func Client(h *header.Block) netip.Addr {
	addr, err := netip.ParseAddr(h.Get(ClientField))
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// SetAffinity names a server in a request or an answer; nothing for "".
func SetAffinity(h *header.Block, server string) error {
	if server == "" {
		return nil
	}
	return h.Set(AffinityField, server)
}

// Affinity is the server that a request or an answer names; "" for none.
func Affinity(h *header.Block) string {
	server := h.Get(AffinityField)
	if len(server) > maxAffinity {
		return ""
	}
	return strings.Clone(server)
}
