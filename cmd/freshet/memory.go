package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"freshet/internal/node"
)

// cgroupShare is how much of its cgroup's limit the Go heap may take. The rest is for
// what it does not count: the stacks of threads, and the page cache that the cgroup is
// charged for.
const cgroupShare = 0.9

// limitMemory makes the collector work harder before the process outgrows what it may
// have: what GOMEMLIMIT in the environment says, which the runtime has read by itself,
// else a share of the cgroup's limit. It warns of caches that leave too little of that,
// or of the machine, for everything else.
func limitMemory(log *slog.Logger, files []*node.File, cgroup memlimit.Provider) {
	limit, err := memlimit.Set(memlimit.WithProvider(cgroup), memlimit.WithRatio(cgroupShare))
	_, fromEnv := os.LookupEnv("GOMEMLIMIT")
	switch {
	case err != nil && !errors.Is(err, memlimit.ErrNoCgroup) && !errors.Is(err, memlimit.ErrCgroupsNotSupported):
		log.Warn("memory limit is not known", "err", err)
	case fromEnv:
		log.Info("memory limit", "bytes", limit, "from", "GOMEMLIMIT")
	case limit != math.MaxInt64:
		log.Info("memory limit", "bytes", limit, "from", "cgroup")
	}
	if limit == math.MaxInt64 {
		machine, err := memlimit.FromSystem()
		if err != nil || machine > math.MaxInt64 {
			return
		}
		limit = int64(machine)
	}
	caches := int64(0)
	for _, f := range files {
		caches += int64(f.Cache.Memory)
	}
	if caches > limit/2 {
		log.Warn("cache.memory is more than half of the memory there is: the process may run out of it",
			"cache", caches, "memory", limit)
	}
}

// keepHeapOff takes what the indexes of disk caches have mapped off the limit of the heap
// that is set when it is called, until ctx ends: it lies outside of what Go counts.
func keepHeapOff(ctx context.Context, mapped func() int64) {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return
	}
	defer debug.SetMemoryLimit(limit)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		debug.SetMemoryLimit(max(0, limit-mapped()))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
