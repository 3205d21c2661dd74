package telemetry

import (
	"errors"
	"fmt"
	"sync"
)

// ErrNotReady is what a probe returns, or wraps, when all that is wrong is that
// the node has not come up yet or is draining.
var ErrNotReady = errors.New("not ready")

// Probe tells whether one part of a node can serve: nil, or why not. It must not
// block.
type Probe func() error

// Health is the readiness of a node: all of its probes. It may be used from any
// goroutine.
type Health struct {
	mu struct {
		sync.Mutex
		names  []string
		probes map[string]Probe
		warns  map[string]bool // those of Warn
	}
}

// NewHealth has no probes; without any, a node is ready.
func NewHealth() *Health {
	h := &Health{}
	h.mu.probes, h.mu.warns = make(map[string]Probe), make(map[string]bool)
	return h
}

// Check adds a probe, or replaces the one of that name.
func (h *Health) Check(name string, p Probe) { h.add(name, p, false) }

// Warn is Check for a part that the node can serve without: what its probe says shows,
// and leaves the node ready.
func (h *Health) Warn(name string, p Probe) { h.add(name, p, true) }

func (h *Health) add(name string, p Probe, warn bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.mu.probes[name]; !ok {
		h.mu.names = append(h.mu.names, name)
	}
	h.mu.probes[name], h.mu.warns[name] = p, warn
}

// Result is what one probe said.
type Result struct {
	Name    string
	Err     error
	Warning bool // the node is ready all the same
}

// Results asks every probe, in the order in which they were added.
func (h *Health) Results() []Result {
	h.mu.Lock()
	results := make([]Result, len(h.mu.names))
	probes := make([]Probe, len(h.mu.names))
	for i, name := range h.mu.names {
		results[i].Name, results[i].Warning, probes[i] = name, h.mu.warns[name], h.mu.probes[name]
	}
	h.mu.Unlock()
	for i, p := range probes {
		results[i].Err = p()
	}
	return results
}

// Err is nil when every probe is, warnings aside, else the first that is not, with its
// name.
func (h *Health) Err() error {
	for _, r := range h.Results() {
		if r.Err != nil && !r.Warning {
			return fmt.Errorf("%s: %w", r.Name, r.Err)
		}
	}
	return nil
}
