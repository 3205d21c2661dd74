package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// loaded is what a loader counted.
type loaded struct {
	requests int64   // that were complete
	failed   int64   // errors, and answers that are no 2xx
	bytes    float64 // read; for h2load and h3load, of bodies only
	seconds  float64
	p50, p99 float64 // microseconds
	tls      string  // version and cipher suite, where the loader says them
	why      string  // the first failure, where the loader says it
}

var (
	wrkSummary = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+[a-z]+), ([\d.]+[KMGTP]?B) read$`)
	wrkTotal   = regexp.MustCompile(`(?m)^\s*(50|99)%\s+([\d.]+[a-z]+)$`)
	wrkErrors  = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$`)
	wrkStatus  = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)$`)
)

// parseWrk reads what `wrk --latency` prints.
func parseWrk(text string) (l loaded, err error) {
	sum := wrkSummary.FindStringSubmatch(text)
	if sum == nil {
		return l, fmt.Errorf("wrk printed no summary: %q", text)
	}
	var errs []error
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		errs = append(errs, err)
		return n
	}
	l.requests = number(sum[1])
	micro, err := parseTime(sum[2])
	errs = append(errs, err)
	l.seconds = micro / 1e6
	l.bytes, err = parseBytes(sum[3])
	errs = append(errs, err)
	for _, m := range wrkTotal.FindAllStringSubmatch(text, -1) {
		value, err := parseTime(m[2])
		errs = append(errs, err)
		if m[1] == "50" {
			l.p50 = value
		} else {
			l.p99 = value
		}
	}
	if m := wrkErrors.FindStringSubmatch(text); m != nil {
		l.why = strings.TrimSpace(m[0])
		for _, n := range m[1:] {
			l.failed += number(n)
		}
	}
	if m := wrkStatus.FindStringSubmatch(text); m != nil {
		l.why = strings.TrimSpace(m[0])
		l.failed += number(m[1])
	}
	return l, errors.Join(errs...)
}

var (
	h2Finished = regexp.MustCompile(`(?m)^finished in ([\d.]+[a-z]+), `)
	h2Requests = regexp.MustCompile(`(?m)^requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$`)
	h2Status   = regexp.MustCompile(`(?m)^status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$`)
	h2Traffic  = regexp.MustCompile(`(?m)^traffic: .* \((\d+)\) data$`)
	h2Protocol = regexp.MustCompile(`(?m)^TLS Protocol: (\S+)$`)
	h2Cipher   = regexp.MustCompile(`(?m)^Cipher: (\S+)$`)
	h2Spoken   = regexp.MustCompile(`(?m)^Application protocol: (\S+)$`)
)

// parseH2load reads what h2load prints. Percentiles come from its log: parseH2loadLog.
func parseH2load(text string) (l loaded, err error) {
	finished, counted, traffic := h2Finished.FindStringSubmatch(text), h2Requests.FindStringSubmatch(text), h2Traffic.FindStringSubmatch(text)
	status := h2Status.FindStringSubmatch(text)
	if finished == nil || counted == nil || traffic == nil || status == nil {
		return l, fmt.Errorf("h2load printed no summary: %q", text)
	}
	if m := h2Spoken.FindStringSubmatch(text); m == nil || m[1] != "h2" {
		return l, fmt.Errorf("h2load did not speak HTTP/2: %q", text)
	}
	var n [10]int64
	var errs []error
	for i, text := range slices.Concat(counted[1:], status[1:]) {
		value, err := strconv.ParseInt(text, 10, 64)
		errs = append(errs, err)
		n[i] = value
	}
	l.requests = n[3]
	l.failed = n[4] + n[5] + n[6] + n[7] + n[8] + n[9]
	if l.failed > 0 {
		l.why = counted[0] + "; " + status[0]
	}
	micro, err := parseTime(finished[1])
	errs = append(errs, err)
	l.seconds = micro / 1e6
	l.bytes, err = strconv.ParseFloat(traffic[1], 64)
	errs = append(errs, err)
	if m := h2Protocol.FindStringSubmatch(text); m != nil {
		l.tls = m[1]
	}
	if m := h2Cipher.FindStringSubmatch(text); m != nil {
		l.tls += " " + m[1]
	}
	return l, errors.Join(errs...)
}

// parseH2loadLog reads the microseconds of h2load's --log-file, one request a line: when
// it began, its status and how long it took. The last line may be cut off.
func parseH2loadLog(r io.Reader) (p50, p99 float64, err error) {
	var took []float64
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) < 3 {
			continue
		}
		micro, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return 0, 0, fmt.Errorf("log of h2load: %w", err)
		}
		took = append(took, micro)
	}
	slices.Sort(took)
	return percentile(took, 50), percentile(took, 99), lines.Err()
}

// parseTime reads times as wrk and h2load write them, in microseconds.
func parseTime(text string) (float64, error) {
	i := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i < 0 {
		return 0, fmt.Errorf("time %q has no unit", text)
	}
	factor, ok := map[string]float64{"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}[text[i:]]
	if !ok {
		return 0, fmt.Errorf("time %q: unknown unit", text)
	}
	value, err := strconv.ParseFloat(text[:i], 64)
	return value * factor, err
}

// parseBytes reads sizes as wrk writes them: powers of 1024.
func parseBytes(text string) (float64, error) {
	number := strings.TrimRight(text, "KMGTPB")
	factor, ok := map[string]float64{"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "PB": 1 << 50}[text[len(number):]]
	if !ok {
		return 0, fmt.Errorf("size %q: unknown unit", text)
	}
	value, err := strconv.ParseFloat(number, 64)
	return value * factor, err
}
