//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	rows, peers  string
	rounds       int
	length, warm time.Duration
	seed         uint64
	freshet      string
	dir, output  string
	cpu, threads int
	install      bool
	list         bool
}

func main() {
	var s settings
	flag.StringVar(&s.rows, "rows", "", "`PATTERNS` of rows, separated by commas: h2/1k, */10m/c16, cold; all by default")
	flag.StringVar(&s.peers, "peers", "", "`NAMES` of peers beside freshet, separated by commas; all by default, none: freshet alone")
	flag.IntVar(&s.rounds, "rounds", 5, "`N` runs of each row on each server")
	flag.DurationVar(&s.length, "t", 2*time.Second, "`TIME` of a run, in whole seconds")
	flag.DurationVar(&s.warm, "warm", 500*time.Millisecond, "`TIME` that h2load and h3load warm up before each run")
	flag.Uint64Var(&s.seed, "seed", 1, "`N` that the order of turns is made from")
	flag.StringVar(&s.freshet, "freshet", "", "the `BINARY` to measure; it is built if there is none")
	flag.StringVar(&s.dir, "dir", "", "`DIR` for files and caches; a temporary one by default")
	flag.StringVar(&s.output, "json", ".tools/bench/peers.json", "`FILE` for the raw results")
	flag.IntVar(&s.cpu, "cpu", -1, "`CPU` of the servers; the first by default. Loaders and the origin run on the others")
	flag.IntVar(&s.threads, "threads", 0, "`N` threads of wrk and h2load; as many as CPUs are left, at most 4, by default")
	flag.BoolVar(&s.install, "install", true, "install peers and loaders that are missing")
	flag.BoolVar(&s.list, "list", false, "list rows and peers")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := s.main(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (s *settings) main(ctx context.Context) (err error) {
	rows, err := chooseRows(allRows(), s.rows)
	if err != nil {
		return err
	}
	if s.list {
		for _, r := range rows {
			fmt.Println(r)
		}
		fmt.Println("peers:", strings.Join(names(allPeers("freshet", "caddy")), " "))
		return nil
	}
	if s.rounds < 1 || s.length < time.Second || s.length%time.Second != 0 {
		return errors.New("-rounds is at least 1, and -t whole seconds: wrk and h2load know no others")
	}
	dir, err := os.MkdirTemp(s.dir, "freshet-bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, about, err := s.set(ctx, dir, rows)
	if err != nil {
		return err
	}
	defer b.close()
	rows = slices.DeleteFunc(rows, func(r row) bool { return len(b.takers(r)) == 0 })
	if err := b.explain(os.Stderr, rows); err != nil {
		return err
	}

	load := loadAverage()
	if load > 0.5 {
		fmt.Fprintf(os.Stderr, "bench: the machine is not quiet (load average %.2f): others take part in what is measured\n", load)
	}
	begun := time.Now()
	var runs []Run
	all := make(map[string][]Summary)
	results := func() Results {
		return Results{Begun: begun, Took: time.Since(begun).Round(time.Second).String(), Machine: machine(), Load: load, Versions: about.versions,
			Seed: s.seed, Rounds: s.rounds, Length: s.length.String(), Order: "a seeded permutation in every round", Runs: runs, Summaries: flat(rows, all)}
	}
	for _, r := range rows {
		err := b.run(ctx, []row{r}, func(run Run) { runs = append(runs, run) })
		all[r.String()] = summarise(r, names(b.peers), runs)
		printRow(os.Stdout, r, all[r.String()], about.titles)
		// After each row, so that a run that is broken off has not been in vain.
		if err := errors.Join(err, writeResults(s.output, results())); err != nil {
			printRatios(os.Stdout, rows, names(b.peers), all)
			return err
		}
	}
	printRatios(os.Stdout, rows, names(b.peers), all)
	if len(b.failures) > 0 {
		err = fmt.Errorf("left out, because they failed:\n\t%s", strings.Join(b.failures, "\n\t"))
	}
	fmt.Fprintf(os.Stderr, "bench: %v; raw results in %s\n", time.Since(begun).Round(time.Second), s.output)
	return err
}

// Results is the file of raw results.
type Results struct {
	Begun     time.Time         `json:"begun"`
	Took      string            `json:"took"`
	Machine   string            `json:"machine"`
	Load      float64           `json:"load_average"` // before anything was started
	Versions  map[string]string `json:"versions"`
	Seed      uint64            `json:"seed"`
	Rounds    int               `json:"rounds"`
	Length    string            `json:"length"`
	Order     string            `json:"order"`
	Summaries []Summary         `json:"summaries"`
	Runs      []Run             `json:"runs"`
}

func flat(rows []row, all map[string][]Summary) (list []Summary) {
	for _, r := range rows {
		list = append(list, all[r.String()]...)
	}
	return list
}

func writeResults(path string, r Results) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// machine says what the figures are of.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d CPUs, Linux %s", model, runtime.NumCPU(), strings.TrimSpace(string(kernel)))
}

// loadAverage is that of the last minute; 0 where it cannot be read.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}

// titles are what servers are called in tables, with their versions.
type titles struct {
	titles, versions map[string]string
}

// set builds and installs what rows need, and makes the bench of what is there.
func (s *settings) set(ctx context.Context, dir string, rows []row) (*bench, titles, error) {
	var none titles
	// Servers run as others, too: nginx's workers, H2O.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, none, err
	}
	// Debian keeps servers where others than root do not look.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return nil, none, err
	}
	in := &installer{progress: os.Stderr, allowed: s.install}
	b := &bench{dir: dir, progress: os.Stderr, seed: s.seed, rounds: s.rounds, length: s.length,
		bodies: newBodies(), ktls: kernelTLS(), running: make(map[string]*server),
		loader: &loader{dir: dir, warm: s.warm}, left: make(map[string]string)}
	binary, err := s.binary(ctx, in, dir)
	if err != nil {
		return nil, none, err
	}
	if b.can, err = abilitiesOf(ctx, binary); err != nil {
		return nil, none, err
	}
	var wanted []string
	if s.peers != "" && s.peers != "none" {
		wanted = strings.Split(s.peers, ",")
	}
	caddy := ""
	wants := func(name string) bool { return len(wanted) == 0 && s.peers == "" || slices.Contains(wanted, name) }
	if wants("caddy") && hasProto(rows, h3) && b.can.http3 {
		if caddy, err = in.caddy(ctx); err != nil {
			b.left["caddy"] = err.Error()
		}
	}
	if b.peers, err = choosePeers(allPeers(binary, caddy), wanted); err != nil {
		return nil, none, err
	}
	if s.peers == "none" {
		b.peers = b.peers[:1]
	}
	if err := s.installAll(ctx, in, b, rows); err != nil {
		return nil, none, err
	}
	if hasProto(rows, h3) && b.can.http3 {
		if b.loader.h3load, err = in.build(ctx, dir, "./bench/h3load"); err != nil {
			return nil, none, err
		}
	}
	if err := s.pin(b); err != nil {
		return nil, none, err
	}
	certs := filepath.Join(dir, "certs")
	if err := os.Mkdir(certs, 0o755); err != nil {
		return nil, none, err
	}
	err = errors.Join(writeCertificate(certs), b.bodies.writeFiles(filepath.Join(dir, "files")),
		writeConfig(filepath.Join(dir, "openssl.cnf"), "openssl.cnf", nil))
	return b, describe(ctx, b.peers), err
}

// binary is the freshet to measure, by its absolute path.
func (s *settings) binary(ctx context.Context, in *installer, dir string) (string, error) {
	if s.freshet == "" {
		return in.build(ctx, dir, "./cmd/freshet")
	}
	path, err := filepath.Abs(s.freshet)
	if err == nil {
		_, err = exec.LookPath(path)
	}
	return path, err
}

func hasProto(rows []row, p proto) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return r.proto == p })
}

// installAll installs peers and loaders that rows need. A peer that is missing is left
// out; without a loader its rows are.
func (s *settings) installAll(ctx context.Context, in *installer, b *bench, rows []row) error {
	programs, units := make(map[string]string), make(map[string][]string)
	for _, p := range b.peers {
		if p.pkg != "" && slices.ContainsFunc(rows, func(r row) bool { ok, _ := p.speaks(r); return ok }) {
			programs[p.program], units[p.program] = p.pkg, p.units
		}
	}
	for _, tool := range tools {
		if slices.ContainsFunc(rows, func(r row) bool { return slices.Contains(tool.protos, r.proto) }) {
			programs[tool.program] = tool.pkg
		}
	}
	programs["taskset"] = "util-linux"
	missing := in.packages(ctx, programs, units)
	if why, ok := missing["taskset"]; ok {
		return errors.New("taskset: " + why)
	}
	for _, p := range b.peers {
		if why, ok := missing[p.program]; ok {
			b.left[p.name] = why
		}
	}
	b.peers = slices.DeleteFunc(b.peers, func(p *peer) bool { return b.left[p.name] != "" })
	for _, tool := range tools {
		if why, ok := missing[tool.program]; ok {
			b.unloaded = append(b.unloaded, tool.protos...)
			b.left[tool.program] = why
		}
	}
	return ctx.Err()
}

// pin gives the servers one CPU and keeps this process, the origin and the loaders off it.
func (s *settings) pin(b *bench) error {
	cpus, err := ownCPUs()
	if err != nil {
		return err
	}
	b.cpu = s.cpu
	if s.cpu < 0 {
		b.cpu = cpus[0]
	}
	others := slices.DeleteFunc(slices.Clone(cpus), func(cpu int) bool { return cpu == b.cpu })
	if len(others) == 0 {
		fmt.Fprintln(os.Stderr, "bench: there is one CPU alone: servers and loaders share it, and the figures are worth little")
		others = cpus
	}
	b.loader.threads = s.threads
	if s.threads < 1 {
		b.loader.threads = min(len(others), 4)
	}
	runtime.GOMAXPROCS(len(others))
	return pinSelf(others)
}

// describe asks servers for their versions.
func describe(ctx context.Context, peers []*peer) titles {
	t := titles{make(map[string]string), make(map[string]string)}
	for _, p := range peers {
		t.titles[p.name] = p.about
		if p.version == nil {
			continue
		}
		// Some say it on standard error, some end with a code of their own.
		out, _ := exec.CommandContext(ctx, p.program, p.version...).CombinedOutput()
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		t.versions[p.name] = first
	}
	return t
}
