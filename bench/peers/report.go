package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Summary is a row on one server: medians of its runs with the least and the greatest.
type Summary struct {
	Row      string  `json:"row"`
	Server   string  `json:"server"`
	Runs     int     `json:"runs"`
	CPU      spread  `json:"cpu_us_per_request"`
	Rate     spread  `json:"requests_per_second"`
	P50      spread  `json:"p50_us"`
	P99      spread  `json:"p99_us"`
	Busy     spread  `json:"busy"`
	Requests spread  `json:"requests"`
	Origin   *Burden `json:"origin,omitempty"`
	Problems int     `json:"problems"`
	TLS      string  `json:"tls,omitempty"`
}

// Burden is what reached the origin of a cold cache.
type Burden struct {
	Requests spread `json:"requests"`
	URLs     spread `json:"urls"`
	Peak     spread `json:"peak"`
}

// summarise makes a row's summaries, in the order of servers.
func summarise(r row, servers []string, runs []Run) (list []Summary) {
	for _, server := range servers {
		var mine []Run
		for _, run := range runs {
			if run.Row == r.String() && run.Server == server {
				mine = append(mine, run)
			}
		}
		if len(mine) == 0 {
			continue
		}
		of := func(value func(Run) figure) spread {
			values := make([]figure, len(mine))
			for i, run := range mine {
				values[i] = value(run)
			}
			return spreadOf(values)
		}
		s := Summary{
			Row: r.String(), Server: server, Runs: len(mine), TLS: mine[0].TLS,
			CPU:      of(func(r Run) figure { return r.CPU }),
			Rate:     of(func(r Run) figure { return r.Rate }),
			P50:      of(func(r Run) figure { return r.P50 }),
			P99:      of(func(r Run) figure { return r.P99 }),
			Busy:     of(func(r Run) figure { return r.Busy }),
			Requests: of(func(r Run) figure { return r.Requests }),
		}
		if r.kind == cold {
			s.Origin = &Burden{
				Requests: of(func(r Run) figure { return figure(r.Origin.Requests) }),
				URLs:     of(func(r Run) figure { return figure(r.Origin.URLs) }),
				Peak:     of(func(r Run) figure { return figure(r.Origin.Peak) }),
			}
		}
		for _, run := range mine {
			if run.Problem != "" {
				s.Problems++
			}
		}
		list = append(list, s)
	}
	return list
}

// printRow prints the table of a row, with ratios of the first server to the others.
func printRow(w io.Writer, r row, list []Summary, about map[string]string) {
	if len(list) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	if r.kind == cold {
		printCold(t, r, list, about)
		return
	}
	fmt.Fprintf(t, "\n%s: %s, %s, %s\n", r, r.proto, r.size.words(), r.connections())
	fmt.Fprint(t, "server\tCPU us/request\tratio\trequests/s\tratio\tp50 us\tp99 us\tserver busy\tnote\n")
	for _, s := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f %%\t%s\n", cmp.Or(about[s.Server], s.Server),
			s.CPU.words(2), against(list, s, func(s Summary) spread { return s.CPU }),
			s.Rate.words(0), against(list, s, func(s Summary) spread { return s.Rate }),
			s.P50.words(0), s.P99.words(0), 100*s.Busy.Median, s.note())
	}
}

func printCold(w io.Writer, r row, list []Summary, about map[string]string) {
	what := fmt.Sprintf("%d URLs", r.urls)
	if r.urls == 1 {
		what = "one URL"
	}
	fmt.Fprintf(w, "\n%s: an empty cache, %s of %s, %s, an origin %v away\n", r, what, r.size.words(), r.connections(), coldDelay)
	fmt.Fprint(w, "server\tclients' requests\tto the origin\tURLs asked for\trequests for each\tof all\tat a time\tp99 us\tnote\n")
	for _, s := range list {
		o := s.Origin
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\n", cmp.Or(about[s.Server], s.Server),
			s.Requests.words(0), o.Requests.words(0), o.URLs.Median, ratio(o.Requests.Median, o.URLs.Median),
			share(o.Requests.Median, s.Requests.Median), o.Peak.words(0), s.P99.words(0), s.note())
	}
}

func (s size) words() string {
	switch {
	case s.bytes >= 1<<20:
		return fmt.Sprintf("%d MB", s.bytes>>20)
	default:
		return fmt.Sprintf("%d KB", s.bytes>>10)
	}
}

func (r row) connections() string {
	text := fmt.Sprintf("%d connections", r.conns)
	if r.streams > 1 {
		text += fmt.Sprintf(" x %d streams", r.streams)
	}
	return text
}

// words is the median with the least and the greatest.
func (s spread) words(digits int) string {
	if math.IsNaN(float64(s.Median)) {
		return "-"
	}
	return fmt.Sprintf("%.*f (%.*f-%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}

// against is the first server's median over s's.
func against(list []Summary, s Summary, of func(Summary) spread) string {
	if s.Server == list[0].Server {
		return ""
	}
	return ratio(of(list[0]).Median, of(s).Median)
}

func ratio(a, b figure) string {
	if math.IsNaN(float64(a)) || math.IsNaN(float64(b)) || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// share is a as part of b.
func share(a, b figure) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*a/b)
}

func (s Summary) note() string {
	var notes []string
	if s.Problems > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d runs with problems", s.Problems, s.Runs))
	}
	if s.Origin == nil && s.Busy.Median < 0.95 {
		notes = append(notes, "not saturated")
	}
	return strings.Join(notes, "; ")
}

// printRatios prints one line a row: our CPU time for a request over each peer's.
func printRatios(w io.Writer, rows []row, servers []string, all map[string][]Summary) {
	var peers []string
	for _, server := range servers[min(1, len(servers)):] {
		for _, list := range all {
			if len(list) > 1 && list[0].Server == servers[0] && containsServer(list, server) && list[0].Origin == nil {
				peers = append(peers, server)
				break
			}
		}
	}
	if len(peers) == 0 {
		return
	}
	fmt.Fprintf(w, "\nCPU time for a request, ratio of medians: %s over each peer (goal in brackets where there is one)\n", servers[0])
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintf(t, "row\t%s\tgoals\n", strings.Join(peers, "\t"))
	for _, r := range rows {
		list := all[r.String()]
		if r.kind == cold || len(list) < 2 || list[0].Server != servers[0] {
			continue
		}
		cells := []string{r.String()}
		for _, p := range peers {
			cell := "-"
			for _, s := range list {
				if s.Server == p {
					cell = ratio(list[0].CPU.Median, s.CPU.Median)
					if goal, ok := goalFor(r, p); ok {
						cell += fmt.Sprintf(" [%.2f]", goal)
					}
				}
			}
			cells = append(cells, cell)
		}
		fmt.Fprintln(t, strings.Join(append(cells, verdict(r, list)), "\t"))
	}
}

func containsServer(list []Summary, server string) bool {
	for _, s := range list {
		if s.Server == server {
			return true
		}
	}
	return false
}
