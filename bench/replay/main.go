package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"freshet/bench/traces"
)

// options are the flags.
type options struct {
	objects, requests int
	seed              uint64
	names, sizes      string
	file, format      string
	memoryShare       int64
	dir               string
	json              bool
}

func main() {
	var o options
	flag.IntVar(&o.objects, "objects", 100_000, "`number` of objects of a generated trace, a quarter for cdn")
	flag.IntVar(&o.requests, "requests", 1_000_000, "`number` of requests of a generated trace, a quarter for cdn")
	flag.Uint64Var(&o.seed, "seed", 1, "of the generated traces")
	flag.StringVar(&o.names, "traces", "", "generated traces, by `names` with commas between; all if empty")
	flag.StringVar(&o.sizes, "sizes", "1,5,20", "RAM and disk together, in `percent` of the footprint, with commas between")
	flag.StringVar(&o.file, "file", "", "replay the trace in this `file` instead")
	flag.StringVar(&o.format, "format", "csv", "of the file: csv or txt (libCacheSim), lrb")
	flag.Int64Var(&o.memoryShare, "memory-share", 16, "RAM gets one part in `n` of the size, 1 MiB at least")
	flag.StringVar(&o.dir, "dir", "", "`directory` for the disk cache's temporary directory; the system's if empty")
	flag.BoolVar(&o.json, "json", false, "print one JSON object for each trace and size")
	flag.Parse()
	missed, err := o.run(os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(2)
	}
	if missed > 0 {
		os.Exit(1)
	}
}

// run replays what the options say and reports how many times a bound was missed.
func (o *options) run(out io.Writer) (missed int, err error) {
	var percents []float64
	for _, s := range strings.Split(o.sizes, ",") {
		p, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || p <= 0 {
			return 0, fmt.Errorf("size %q: want percents above 0", s)
		}
		percents = append(percents, p)
	}
	if o.memoryShare < 2 {
		return 0, fmt.Errorf("memory-share %d: want 2 or more", o.memoryShare)
	}
	var table *tabwriter.Writer
	if !o.json {
		table = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(table, "trace\tsize\t")
		for _, r := range rivals {
			fmt.Fprint(table, r.name, "\t")
		}
		fmt.Fprint(table, "freshet\tto best\tto LRU's bytes\twrite amp.\twritten/missed\ts\t \n")
	}
	for _, name := range o.traces() {
		t, err := o.open(name)
		if err != nil {
			return missed, err
		}
		for _, p := range percents {
			r, err := replay(t, p, o.memoryShare, o.dir)
			if err != nil {
				return missed, err
			}
			if len(r.Missed) > 0 {
				missed++
			}
			if o.json {
				err = json.NewEncoder(out).Encode(r)
			} else {
				r.row(table)
			}
			if err != nil {
				return missed, err
			}
		}
		fmt.Fprintf(os.Stderr, "%s: %d requests for %d objects, %d MiB\n", t.name, len(t.requests), t.objects, t.footprint>>20)
	}
	if table == nil {
		return missed, nil
	}
	fmt.Fprintln(table)
	if err := table.Flush(); err != nil {
		return missed, err
	}
	_, err = fmt.Fprintf(out, "Hit ratios in percent: requests/bytes. RAM is one part in %d of the size.\n", o.memoryShare)
	return missed, err
}

func (o *options) traces() []string {
	switch {
	case o.file != "":
		return []string{o.file}
	case o.names != "":
		return strings.Split(o.names, ",")
	}
	var all []string
	for _, w := range traces.Workloads {
		all = append(all, w.Name)
	}
	return all
}

// open reads or makes a trace.
func (o *options) open(name string) (*trace, error) {
	if o.file == "" {
		scale := traces.Scale{Objects: o.objects, Requests: o.requests, Seed: o.seed}
		if name == "cdn" { // its objects are larger
			scale.Objects, scale.Requests = scale.Objects/4, scale.Requests/4
		}
		src, err := traces.Generate(name, scale)
		if err != nil {
			return nil, err
		}
		return load(name, src)
	}
	f, err := os.Open(o.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := traces.Read(f, o.format)
	if err != nil {
		return nil, err
	}
	return load(name, src)
}

func (r *result) row(w io.Writer) {
	fmt.Fprintf(w, "%s\t%g %%\t", r.Trace, r.Percent)
	for _, rival := range rivals {
		x := r.Rivals[rival.name]
		fmt.Fprintf(w, "%.2f/%.2f\t", x.Requests, x.Bytes)
	}
	verdict := "PASS"
	if len(r.Missed) > 0 {
		verdict = "FAIL: " + strings.Join(r.Missed, ", ")
	}
	fmt.Fprintf(w, "%.2f/%.2f\t%+.2f\t%+.2f\t%.3f\t%.3f\t%.0f\t%s\n", r.Freshet.Requests, r.Freshet.Bytes,
		r.Freshet.Requests-r.best(), r.Freshet.Bytes-r.Rivals["lru"].Bytes, r.Amplification, r.Wear, r.Seconds, verdict)
}
