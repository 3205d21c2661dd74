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
	}
}

// NewHealth has no probes; without any, a node is ready.
func NewHealth() *Health {
	h := &Health{}
	h.mu.probes = make(map[string]Probe)
	return h
}

// Check adds a probe, or replaces the one of that name.
func (h *Health) Check(name string, p Probe) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.mu.probes[name]; !ok {
		h.mu.names = append(h.mu.names, name)
	}
	h.mu.probes[name] = p
}

// Result is what one probe said.
type Result struct {
	Name string
	Err  error
}

// Results asks every probe, in the order in which they were added.
func (h *Health) Results() []Result {
	h.mu.Lock()
	results := make([]Result, len(h.mu.names))
	probes := make([]Probe, len(h.mu.names))
	for i, name := range h.mu.names {
		results[i].Name, probes[i] = name, h.mu.probes[name]
	}
	h.mu.Unlock()
	for i, p := range probes {
		results[i].Err = p()
	}
	return results
}

// Err is nil when every probe is, else the first that is not, with its name.
func (h *Health) Err() error {
	for _, r := range h.Results() {
		if r.Err != nil {
			return fmt.Errorf("%s: %w", r.Name, r.Err)
		}
	}
	return nil
}
