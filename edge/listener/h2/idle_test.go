package h2

import (
	"net"
	"os"
	"runtime"
	"testing"
)

// TestMemoryOfIdleConnections prints what a connection costs that has been answered and
// is quiet. It needs FRESHET_TEST_LONG.
func TestMemoryOfIdleConnections(t *testing.T) {
	if os.Getenv("FRESHET_TEST_LONG") == "" {
		t.Skip("FRESHET_TEST_LONG is not set")
	}
	const n = 2000
	s := &Server{Handler: everything{&quick{large(1), stored()}}}
	addr := listen(t, s, nil)
	var before, after runtime.MemStats
	read := func(m *runtime.MemStats) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(m)
	}
	read(&before)
	conns := make([]net.Conn, 0, n)
	for range n {
		r := dial(t, addr)
		r.open(1, true, get("/hit", "user-agent: x", "accept: y")...)
		r.data(1024)
		conns = append(conns, r.nc)
	}
	read(&after)
	// The client's end is in this process too: its Framer and tables are gone by now.
	t.Logf("%d bytes of heap and %d of stacks a connection", (after.HeapInuse-before.HeapInuse)/n, (after.StackInuse-before.StackInuse)/n)
	for _, nc := range conns {
		nc.Close()
	}
}
