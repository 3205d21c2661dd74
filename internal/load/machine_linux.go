package load

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The files of the kernel.
const (
	statFile = "/proc/stat"
	netDir   = "/sys/class/net"
	maxNICs  = 64
)

// look asks the kernel. What it does not say is left out.
func look() gauge {
	g := gauge{cpus: float64(runtime.GOMAXPROCS(0)), nics: interfaces(netDir)}
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		g.process = duration(used.Utime) + duration(used.Stime)
	}
	if text, err := os.ReadFile(statFile); err == nil {
		g.busy, g.total = ticks(text)
	}
	return g
}

func duration(t unix.Timeval) time.Duration { return time.Duration(t.Nano()) }

// ticks reads the first line of /proc/stat: user, nice, system, idle, iowait, irq,
// softirq, steal, then guests, which user has already.
func ticks(stat []byte) (busy, total uint64) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 6 || fields[0] != "cpu" {
		return 0, 0
	}
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, 0
		}
		if total += n; i != 3 && i != 4 {
			busy += n
		}
	}
	return busy, total
}

// interfaces reads /sys/class/net: those that are hardware, or say how fast they are.
func interfaces(dir string) map[string]nic {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	found := make(map[string]nic)
	for _, e := range entries[:min(len(entries), maxNICs)] {
		number := func(file string) uint64 {
			text, err := os.ReadFile(filepath.Join(dir, e.Name(), file))
			if err != nil {
				return 0
			}
			n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63) // -1 where it is not known
			if err != nil {
				return 0
			}
			return n
		}
		if megabits := number("speed"); megabits > 0 && megabits < 1<<32 {
			found[e.Name()] = nic{sent: number("statistics/tx_bytes"), speed: megabits * 1e6 / 8}
		}
	}
	return found
}
