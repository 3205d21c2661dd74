package load

import (
	"context"
	"log/slog"
	"time"

	"freshet/internal/bus"
)

// Counts is what a node has counted since it began.
type Counts struct {
	Requests uint64 // answered
	Hits     uint64 // of those, from the cache
	Bytes    uint64 // of bodies sent
	InFlight int64  // requests that are being answered now
}

// gauge is what the machine says at one moment, in units that only grow.
type gauge struct {
	process time.Duration // CPU time of this process
	cpus    float64       // that it may use at once
	busy    uint64        // ticks of all CPUs of the machine; total 0 where that is not known
	total   uint64
	nics    map[string]nic
}

// nic is a network interface.
type nic struct {
	sent  uint64 // bytes
	speed uint64 // bytes a second; 0 where that is not known
}

// Estimates of a Meter.
const (
	tellsAt = 0.05 // utilisation from which on the capacity can be estimated
	smooth  = 0.3  // weight of the newest estimate
)

// Meter makes reports of what is counted. It is for one goroutine.
type Meter struct {
	node, role string
	count      func() Counts
	look       func() gauge

	at       time.Time
	counts   Counts
	gauge    gauge
	capacity float64
}

// NewMeter begins to measure.
func NewMeter(node, role string, count func() Counts) *Meter {
	return newMeter(node, role, count, look)
}

func newMeter(node, role string, count func() Counts, look func() gauge) *Meter {
	return &Meter{node: node, role: role, count: count, look: look, at: time.Now(), counts: count(), gauge: look()}
}

// Report is how busy the node was since the last one.
func (m *Meter) Report() Report {
	now, counts, gauge := time.Now(), m.count(), m.look()
	seconds := max(now.Sub(m.at).Seconds(), 1e-3)
	r := Report{
		Node: m.node, Role: m.role, At: now.UTC(), InFlight: max(counts.InFlight, 0),
		Requests: grown(m.counts.Requests, counts.Requests) / seconds,
		Bytes:    grown(m.counts.Bytes, counts.Bytes) / seconds,
		Hits:     NotKnown, Machine: NotKnown, NIC: NotKnown,
	}
	if requests := grown(m.counts.Requests, counts.Requests); requests > 0 {
		r.Hits = share(grown(m.counts.Hits, counts.Hits), requests)
	}
	r.Process = share((gauge.process - m.gauge.process).Seconds(), seconds*gauge.cpus)
	if ticks := grown(m.gauge.total, gauge.total); ticks > 0 {
		r.Machine = share(grown(m.gauge.busy, gauge.busy), ticks)
	}
	for name, n := range gauge.nics {
		if before, ok := m.gauge.nics[name]; ok && n.speed > 0 {
			r.NIC = max(r.NIC, share(grown(before.sent, n.sent), seconds*float64(n.speed)))
		}
	}
	r.Utilisation = max(r.Process, r.Machine, r.NIC, 0)
	r.Capacity = m.estimate(r)
	m.at, m.counts, m.gauge = now, counts, gauge
	return r
}

// estimate is what the node could answer at a utilisation of 1, if that grows with the
// requests; it is smoothed, and stays what it was while the node is idle.
func (m *Meter) estimate(r Report) float64 {
	if r.Utilisation < tellsAt || r.Requests < 1 {
		return m.capacity
	}
	now := r.Requests / r.Utilisation
	if m.capacity == 0 {
		m.capacity = now
	}
	m.capacity += smooth * (now - m.capacity)
	return m.capacity
}

// grown is how much a count has grown; one that was set back has not.
func grown(before, now uint64) float64 { return float64(max(now, before) - before) }

// share is part of whole, in 0..1.
func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(max(part/whole, 0), 1)
}

// Publish sends a report every second until ctx ends, and returns nil. complete, if not
// nil, adds to it. What cannot be sent is lost, which others see by its absence.
func (m *Meter) Publish(ctx context.Context, on bus.Telemetry, log *slog.Logger, complete func(*Report)) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		r := m.Report()
		if complete != nil {
			complete(&r)
		}
		data, err := r.encode()
		if err == nil {
			err = on.Publish(Subject(m.node), data)
		}
		if err != nil {
			log.Debug("load not published", "err", err)
		}
	}
}
