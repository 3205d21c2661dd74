package hop

import (
	"net/netip"
	"strings"
	"testing"

	"freshet/internal/header"
)

// TestClientAndAffinity: they come back as they were told, nothing is told of nobody, and
// Strip takes them away.
func TestClientAndAffinity(t *testing.T) {
	for _, tc := range []struct{ told, want string }{
		{"192.0.2.1", "192.0.2.1"}, {"::ffff:192.0.2.1", "192.0.2.1"}, {"2001:db8::1", "2001:db8::1"}, {"fe80::1%eth0", "fe80::1"},
	} {
		h := new(header.Block)
		if err := SetClient(h, netip.MustParseAddr(tc.told)); err != nil || Client(h) != netip.MustParseAddr(tc.want) {
			t.Errorf("%s: %s, %v", tc.told, Client(h), err)
		}
	}
	h := new(header.Block)
	if SetClient(h, netip.Addr{}) != nil || SetAffinity(h, "") != nil || h.Len() != 0 || Client(h).IsValid() || Affinity(h) != "" {
		t.Errorf("of nobody: %q", h.Wire())
	}
	if err := SetAffinity(h, "abc"); err != nil || Affinity(h) != "abc" {
		t.Errorf("%q, %v", Affinity(h), err)
	}
	if Strip(h); h.Len() != 0 {
		t.Errorf("left after Strip: %q", h.Wire())
	}
	_ = h.Add(AffinityField, strings.Repeat("a", maxAffinity+1))
	_ = h.Add(ClientField, "localhost")
	if Affinity(h) != "" || Client(h).IsValid() {
		t.Error("what is none is believed")
	}
}
