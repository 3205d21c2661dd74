package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
)

// TestTheHeapIsLimitedByTheCgroup: a share of what the cgroup allows, and a warning when
// the caches leave too little of that.
func TestTheHeapIsLimitedByTheCgroup(t *testing.T) {
	if _, ok := os.LookupEnv("GOMEMLIMIT"); ok {
		t.Skip("GOMEMLIMIT is set for this process")
	}
	was := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(was)
	const cgroup = 4 << 30
	for _, tc := range []struct {
		name    string
		cache   document.Size // of each of two nodes
		limit   memlimit.Provider
		want    int64
		warning bool
	}{
		{"small caches", 512 << 20, memlimit.Limit(cgroup), cgroup * 9 / 10, false},
		{"large caches", 1 << 30, memlimit.Limit(cgroup), cgroup * 9 / 10, true},
		{"no limit", 1 << 20, func() (uint64, error) { return 0, memlimit.ErrNoLimit }, math.MaxInt64, false},
		{"no limit, and more than the machine has", 1 << 50, func() (uint64, error) { return 0, memlimit.ErrNoLimit }, math.MaxInt64, true},
	} {
		debug.SetMemoryLimit(math.MaxInt64)
		files := []*node.File{node.New(cluster.Edge, "a"), node.New(cluster.Mid, "b")}
		for _, f := range files {
			f.Cache.Memory = tc.cache
		}
		var out bytes.Buffer
		limitMemory(slog.New(slog.NewTextHandler(&out, nil)), files, tc.limit)
		if got := debug.SetMemoryLimit(-1); got < tc.want-1 || got > tc.want {
			t.Errorf("%s: the limit is %d, want %d", tc.name, got, tc.want)
		}
		if got := strings.Contains(out.String(), "more than half"); got != tc.warning {
			t.Errorf("%s: warned is %v\n%s", tc.name, got, &out)
		}
	}
}

// TestTheHeapMakesRoomForIndexes: what they take is taken off the limit, and comes back.
func TestTheHeapMakesRoomForIndexes(t *testing.T) {
	was := debug.SetMemoryLimit(8 << 30)
	defer debug.SetMemoryLimit(was)
	synctest.Test(t, func(t *testing.T) {
		var mapped atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		go keepHeapOff(ctx, mapped.Load)
		for _, n := range []int64{0, 300 << 20, 100 << 20, 9 << 30} {
			mapped.Store(n)
			time.Sleep(time.Second)
			synctest.Wait()
			if got, want := debug.SetMemoryLimit(-1), max(0, 8<<30-n); got != want {
				t.Errorf("%d B are mapped: the limit is %d, want %d", n, got, want)
			}
			debug.SetMemoryLimit(8 << 30) // not to hold up the tests beside this one
		}
		cancel()
		synctest.Wait()
		if got := debug.SetMemoryLimit(-1); got != 8<<30 {
			t.Errorf("the limit is %d after all", got)
		}
	})
}

// TestTheHeapIsLimitedByTheEnvironment: the process itself says which limit it has.
func TestTheHeapIsLimitedByTheEnvironment(t *testing.T) {
	t.Parallel()
	admin := freeAddr(t)
	p := start(t, []string{"GOMEMLIMIT=300MiB"}, "edge", "--listen", freeAddr(t), "--upstream", "http://127.0.0.1:9", "--admin", admin, "--memory", "200MiB")
	within(t, 20*time.Second, func() error {
		res, err := http.Get("http://" + admin + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if want := fmt.Sprintf("\ngo_gc_gomemlimit_bytes %v\n", float64(300<<20)); err != nil || !strings.Contains(string(text), want) {
			return fmt.Errorf("%v, or no %s", err, want)
		}
		return nil
	})
	for _, want := range []string{"from=GOMEMLIMIT", "more than half"} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}
