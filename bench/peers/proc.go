//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a line of /proc/PID/stat, as far as it matters here (proc(5)).
type process struct {
	pid, parent  int
	user, system int64 // ticks of the clock
}

// parseStat reads /proc/PID/stat. The name in it may hold spaces and parentheses.
func parseStat(text string) (p process, err error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, fmt.Errorf("stat %q: there is no name", text)
	}
	fields := strings.Fields(text[end+1:]) // from the third, state, on
	if len(fields) < 13 {
		return p, fmt.Errorf("stat %q: too short", text)
	}
	var errs [4]error
	p.pid, errs[0] = strconv.Atoi(strings.TrimSpace(text[:open]))
	p.parent, errs[1] = strconv.Atoi(fields[1])
	p.user, errs[2] = strconv.ParseInt(fields[11], 10, 64)
	p.system, errs[3] = strconv.ParseInt(fields[12], 10, 64)
	return p, errors.Join(errs[:]...)
}

// tree are a process and all that descend from it.
func tree(root int) ([]process, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]process)
	var found []process
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		p, err := parseStat(string(bytes.TrimSpace(text)))
		if err != nil {
			return nil, err
		}
		if p.pid == root {
			found = append(found, p)
		}
		children[p.parent] = append(children[p.parent], p)
	}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("process %d: %w", root, os.ErrProcessDone)
	}
	return found, nil
}

// usage is what processes have used of the CPU so far.
type usage struct {
	ran          map[int]time.Duration // by process, exact, with threads that have ended
	user, system int64                 // ticks: how it divides
}

// used reads the CPU time of a process and all that descend from it. The clock of a
// process is the sum of user and system time that /proc shows, in nanoseconds
// instead of ticks.
func used(root int) (usage, error) {
	processes, err := tree(root)
	if err != nil {
		return usage{}, err
	}
	u := usage{ran: make(map[int]time.Duration, len(processes))}
	for _, p := range processes {
		var ts unix.Timespec
		if err := unix.ClockGettime(cpuClock(p.pid), &ts); err != nil {
			continue // it has ended since
		}
		u.ran[p.pid] = time.Duration(ts.Nano())
		u.user += p.user
		u.system += p.system
	}
	return u, nil
}

// cpuClock is what clock_getcpuclockid(3) makes of a process: its number, inverted, over
// three bits that ask for the scheduler's count of the whole process.
func cpuClock(pid int) int32 {
	const sched = 2
	return int32(^pid)<<3 | sched
}

// since is what was used from an earlier reading on. A process that came since counts
// whole; what one that ended in between used last is lost.
func (u usage) since(earlier usage) (ran time.Duration, systemShare float64) {
	for pid, now := range u.ran {
		ran += now - earlier.ran[pid]
	}
	user, system := u.user-earlier.user, u.system-earlier.system
	if user+system > 0 {
		systemShare = float64(system) / float64(user+system)
	}
	return ran, systemShare
}

// send sends a signal to a process and all that descend from it.
func send(root int, sig syscall.Signal) error {
	processes, err := tree(root)
	if err != nil {
		return err
	}
	for _, p := range processes {
		if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal %d: %w", p.pid, err)
		}
	}
	return nil
}

// pinSelf keeps all threads of this process, and what it starts, on some CPUs.
func pinSelf(cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("pin thread %d: %w", tid, err)
		}
	}
	return nil
}

// ownCPUs are the CPUs that this process may run on.
func ownCPUs() (cpus []int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read the CPUs of this process: %w", err)
	}
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
