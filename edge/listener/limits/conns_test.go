package limits

import (
	"net/netip"
	"sync"
	"testing"
)

func admit(t *testing.T, c *Conns, addr string, want Reason) *Admission {
	t.Helper()
	var a netip.Addr
	if addr != "" {
		a = netip.MustParseAddr(addr)
	}
	got, why := c.Admit(a)
	if why != want || (got == nil) != (why != None) {
		t.Fatalf("%q: %v, want %v", addr, why, want)
	}
	return got
}

func TestAnAddressHasItsShareAndNoMore(t *testing.T) {
	c := NewConns(Config{Conns: 10, ConnsPerAddr: 2})
	first := admit(t, c, "192.0.2.1", None)
	admit(t, c, "::ffff:192.0.2.1", None) // the same
	admit(t, c, "192.0.2.1", ConnsPerAddr)
	admit(t, c, "192.0.2.2", None)
	admit(t, c, "2001:db8:0:1::1", None)
	admit(t, c, "2001:db8:0:1:ffff::", None) // the same /64
	admit(t, c, "2001:db8:0:1::2", ConnsPerAddr)
	admit(t, c, "2001:db8:0:2::1", None)
	first.Release()
	first.Release() // once is all that counts
	admit(t, c, "192.0.2.1", None)
	admit(t, c, "192.0.2.1", ConnsPerAddr)
	if c.Open() != 6 {
		t.Errorf("%d open, want 6", c.Open())
	}
}

func TestAllTogetherHaveALimit(t *testing.T) {
	c := NewConns(Config{Conns: 2, ConnsPerAddr: Off})
	first := admit(t, c, "192.0.2.1", None)
	admit(t, c, "", None)
	admit(t, c, "192.0.2.2", ConnsTotal)
	admit(t, c, "", ConnsTotal)
	first.Release()
	admit(t, c, "192.0.2.2", None)
}

func TestAnAddressMayBeKnownLater(t *testing.T) {
	c := NewConns(Config{Conns: Off, ConnsPerAddr: 1})
	a, b := admit(t, c, "", None), admit(t, c, "", None)
	addr := netip.MustParseAddr("192.0.2.1")
	if why := a.Attribute(addr); why != None {
		t.Fatal(why)
	}
	if why := b.Attribute(addr); why != ConnsPerAddr {
		t.Fatal(why)
	}
	b.Release()
	a.Release()
	admit(t, c, "192.0.2.1", None)
	if c.Open() != 1 {
		t.Errorf("%d open, want 1", c.Open())
	}
}

// TestCountsAreExact proves that no place is lost or given twice when many come and go
// at once.
func TestCountsAreExact(t *testing.T) {
	const perAddr, total = 3, 20
	c := NewConns(Config{Conns: total, ConnsPerAddr: perAddr})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(worker+i) % 9})
				if a, why := c.Admit(addr); why == None {
					if open := c.Open(); open > total {
						t.Errorf("%d open", open)
					}
					a.Release()
				}
			}
		})
	}
	wg.Wait()
	if c.Open() != 0 {
		t.Errorf("%d open at the end", c.Open())
	}
	for i := range c.shards {
		if n := len(c.shards[i].mu.open); n != 0 {
			t.Errorf("%d addresses are still counted", n)
		}
	}
}

// TestExempt: it still has its place in total, and gives that back once.
func TestExempt(t *testing.T) {
	c := NewConns(Config{Conns: 2, ConnsPerAddr: 1})
	addr := netip.MustParseAddr("192.0.2.1")
	a, why := c.Admit(addr)
	if why != None {
		t.Fatal(why)
	}
	if _, why := c.Admit(addr); why != ConnsPerAddr {
		t.Errorf("a second: %s", why)
	}
	a.Exempt()
	a.Exempt()
	b, why := c.Admit(addr)
	if why != None || c.Open() != 2 {
		t.Errorf("beside one that is exempt: %s, %d open", why, c.Open())
	}
	a.Release()
	if _, why := c.Admit(addr); why != ConnsPerAddr || c.Open() != 1 {
		t.Errorf("after its end: %s, %d open", why, c.Open())
	}
	b.Release()
	if c.Open() != 0 {
		t.Errorf("%d open at the end", c.Open())
	}
}

func TestDefaultsAreValid(t *testing.T) {
	c := Config{}.WithDefaults()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Conns, c.ConnsPerAddr = Off, Off
	if again := c.WithDefaults(); again != c || again.Validate() != nil {
		t.Errorf("%+v became %+v, %v", c, again, again.Validate())
	}
	for name, spoil := range map[string]func(*Config){
		"header bytes":    func(c *Config) { c.HeaderBytes = 1 << 17 },
		"header fields":   func(c *Config) { c.HeaderFields = 1025 },
		"idle":            func(c *Config) { c.IdleTimeout = -1 },
		"body":            func(c *Config) { c.BodyBytes = -1 },
		"connections":     func(c *Config) { c.Conns = -2 },
		"streams":         func(c *Config) { c.Streams = Off },
		"head timeout":    func(c *Config) { c.HeadTimeout = 1 },
		"connection time": func(c *Config) { c.ConnTimeout = -1 },
	} {
		bad := c
		if spoil(&bad); bad.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
	}
}

func TestReasonsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{"": true, "unknown": true}
	for _, r := range Reasons() {
		if seen[r.String()] {
			t.Errorf("reason %d is called %q", r, r)
		}
		seen[r.String()] = true
	}
	if Reason(200).String() != "unknown" {
		t.Error("a reason that there is none of has a name")
	}
}
