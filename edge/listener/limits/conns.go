package limits

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// Conns counts the connections that are open, in total and by address, and admits no
// more of them than allowed. Its methods may be called at the same time; the counts are
// exact, and admissions of different addresses hardly ever wait for one another.
type Conns struct {
	most, perAddr int64 // Off: any number
	open          atomic.Int64
	seed          maphash.Seed // so that nobody can choose addresses of one shard
	shards        [shards]shard
}

// shards is a power of two, several times the CPUs of large machines.
const shards = 128

type shard struct {
	mu struct {
		sync.Mutex
		open map[netip.Addr]int64 // by the first address of what counts as one; none is zero
	}
	_ [40]byte // shards lie in cache lines of their own
}

// NewConns makes the count for c, whose defaults are filled in.
func NewConns(c Config) *Conns {
	conns := &Conns{most: int64(c.Conns), perAddr: int64(c.ConnsPerAddr), seed: maphash.MakeSeed()}
	for i := range conns.shards {
		conns.shards[i].mu.open = make(map[netip.Addr]int64)
	}
	return conns
}

// Open is how many connections are admitted and not released.
func (c *Conns) Open() int64 { return c.open.Load() }

// Admission is the place of one open connection.
type Admission struct {
	conns    *Conns
	addr     netip.Addr // what it counts for; zero for none
	released atomic.Bool
}

// Admit counts a connection of addr, or says which limit it is beyond. The zero Addr
// counts in total only: for peers whose own address is not limited. Release it.
func (c *Conns) Admit(addr netip.Addr) (*Admission, Reason) {
	for {
		open := c.open.Load()
		if c.most >= 0 && open >= c.most {
			return nil, ConnsTotal
		}
		if c.open.CompareAndSwap(open, open+1) {
			break
		}
	}
	a := &Admission{conns: c}
	if why := a.Attribute(addr); why != None {
		c.open.Add(-1)
		return nil, why
	}
	return a, None
}

// Attribute counts a connection that was admitted without an address for addr, or says
// that addr has no more left; the connection then is still admitted, and to be closed
// and released. It must not run at the same time as Release.
func (a *Admission) Attribute(addr netip.Addr) Reason {
	if !addr.IsValid() || a.conns.perAddr < 0 || a.addr.IsValid() {
		return None
	}
	addr = one(addr)
	s := a.conns.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.open[addr] >= a.conns.perAddr {
		return ConnsPerAddr
	}
	s.mu.open[addr]++
	a.addr = addr
	return None
}

// Exempt has the connection count in total only from now on. It must not run at the same time
// as Release.
func (a *Admission) Exempt() {
	a.conns.forget(a.addr)
	a.addr = netip.Addr{}
}

// Release gives the place back. Only the first call does something.
func (a *Admission) Release() {
	if a.released.Swap(true) {
		return
	}
	a.conns.forget(a.addr)
	a.conns.open.Add(-1)
}

// forget counts a connection of an address, as one has it, out; nothing for the zero address.
func (c *Conns) forget(addr netip.Addr) {
	if !addr.IsValid() {
		return
	}
	s := c.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.open[addr]--; s.mu.open[addr] == 0 {
		delete(s.mu.open, addr)
	}
}

func (c *Conns) shard(addr netip.Addr) *shard {
	return &c.shards[maphash.Comparable(c.seed, addr)%shards]
}

// one is the first address of what counts as one client: an IPv4 address, or a /64,
// which is the least that anybody with IPv6 is given.
func one(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	p, _ := addr.Prefix(64) // cannot fail: it is IPv6
	return p.Addr()
}

// defaultConns leaves a quarter of the file descriptors to parents, disks and the rest.
func defaultConns() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<30 {
		return 1 << 20
	}
	return max(64, int(r.Cur/4*3))
}
