package main

import (
	"fmt"
	"math"
	"strings"
)

// goalFor is the greatest ratio of CPU time for a request, ours over the peer's, that the
// project wants in a row.
func goalFor(r row, peer string) (float64, bool) {
	switch {
	case r.kind != hits:
		return 0, false
	case r.proto == h1 && r.size == kib1:
		goal, ok := map[string]float64{"nginx": 0.65, "varnish": 0.55, "trafficserver": 0.55}[peer]
		return goal, ok
	case r.proto == h2 && r.size == kib1 && r.streams == 10:
		return 0.35, peer == "nginx"
	case r.proto == h3:
		return 0.8, peer == "caddy"
	}
	return 0, false
}

// logGoal is what the access log may make of a request's cost.
const logGoal = 1.25

// bestGoal is what larger bodies may cost of the best peer in the run.
const bestGoal = 1.05

// verdict says which goals a row meets; the first of list is us. A peer that is not in
// the run is not judged.
func verdict(r row, list []Summary) string {
	var met, missed []string
	judge := func(name string, value figure, goal float64) {
		text := fmt.Sprintf("%s %.2f of %.2f", name, value, goal)
		if float64(value) <= goal {
			met = append(met, text)
		} else {
			missed = append(missed, text)
		}
	}
	ours := list[0].CPU.Median
	best, bestName := figure(0), ""
	if math.IsNaN(float64(ours)) {
		return ""
	}
	for _, s := range list[1:] {
		if math.IsNaN(float64(s.CPU.Median)) {
			continue
		}
		if best == 0 || s.CPU.Median < best {
			best, bestName = s.CPU.Median, s.Server
		}
		if r.kind == logs {
			judge("with the log", s.CPU.Median/ours, logGoal)
		}
		if goal, ok := goalFor(r, s.Server); ok {
			judge(s.Server, ours/s.CPU.Median, goal)
		}
	}
	if r.kind == hits && r.size != kib1 && r.proto != h3 && best > 0 {
		judge("best ("+bestName+")", ours/best, bestGoal)
	}
	switch {
	case len(missed) > 0:
		return "MISSED: " + strings.Join(missed, ", ")
	case len(met) > 0:
		return "met"
	}
	return ""
}
