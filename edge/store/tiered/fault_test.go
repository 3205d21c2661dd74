package tiered

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/internal/files/filestest"
)

// lockedBuffer is a log that goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestServingGoesOnWithoutADiskThatErrs: of two disks one gives EIO or ENOSPC. RAM serves
// what it has, the other disk its share; a log line and a metric tell.
func TestServingGoesOnWithoutADiskThatErrs(t *testing.T) {
	for _, fault := range []filestest.Fault{
		{Op: filestest.Read, N: 1, Err: syscall.EIO, Stay: true},
		{Op: filestest.Write, N: 1, Err: syscall.ENOSPC, Stay: true},
		{Op: filestest.Any, N: 1, Err: syscall.EIO, Stay: true},
	} {
		t.Run(fmt.Sprint(fault.Op, " ", fault.Err), func(t *testing.T) {
			var log lockedBuffer
			bad := filestest.New()
			s, err := Open(Config{Memory: 4 << 20, Log: slog.New(slog.NewTextHandler(&log, nil)), Disks: []disk.Config{
				{Dir: "/cache/bad", Size: 64 << 20, FS: bad}, {Dir: "/cache/good", Size: 64 << 20, FS: filestest.New()},
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			registry := prometheus.NewRegistry()
			if err := s.Register(registry); err != nil {
				t.Fatal(err)
			}
			const n = 100
			for i := range n {
				put(t, s, fmt.Sprint(i), 1, []byte(fmt.Sprint("body ", i)))
			}
			bad.Inject(fault)
			for i := range n {
				put(t, s, fmt.Sprint("new ", i), 1, []byte("x")) // a write for each disk
			}
			cold := response.NewKey("0")
			for i := 0; s.home(cold).dir != "/cache/bad"; i++ {
				cold = response.NewKey(fmt.Sprint(i))
			}
			s.memory.Delete(cold)
			if r := s.Get(cold); r != nil && fault.Op != filestest.Write {
				t.Errorf("read from a disk that errs: %v", r)
			}
			for i := range n {
				if r := get(s, fmt.Sprint(i)); r != nil && string(r.Body.Bytes()) != fmt.Sprint("body ", i) || r == nil && response.NewKey(fmt.Sprint(i)) != cold {
					t.Fatalf("response %d in RAM: %v", i, r)
				}
			}
			kept := 0
			for i := range n {
				key := put(t, s, fmt.Sprint("later ", i), 1, []byte("x")).Key
				if s.memory.Delete(key); s.Get(key) != nil {
					kept++
				}
			}
			if kept < n/4 || kept > n*3/4 {
				t.Errorf("%d of %d are on the disk that is left, want its half", kept, n)
			}
			if s.Up(0) || !s.Up(1) {
				t.Error("the bad disk is up, or the good one is not")
			}
			if up := gauges(t, registry, "freshet_edge_disk_up"); up["/cache/bad"] != 0 || up["/cache/good"] != 1 {
				t.Errorf("freshet_edge_disk_up is %v", up)
			}
			if lines := strings.Count(log.String(), "level=ERROR"); lines != 1 || !strings.Contains(log.String(), "/cache/bad") {
				t.Errorf("%d error lines, want one that names the directory:\n%s", lines, log.String())
			}
		})
	}
}

// gauges are the values of a metric by directory.
func gauges(t *testing.T, from prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				values[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return values
}
