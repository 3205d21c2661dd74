package main

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
)

const wrkText = `Running 2s test @ http://localhost:40001/1k
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   231.53us  102.42us   3.02ms   91.05%
    Req/Sec    67.85k     3.87k   73.72k    80.95%
  Latency Distribution
     50%  219.00us
     75%  242.00us
     90%  281.00us
     99%    1.25ms
  141676 requests in 2.10s, 182.66MB read
Requests/sec:  67472.62
Transfer/sec:     86.99MB
`

func TestParseWrk(t *testing.T) {
	got, err := parseWrk(wrkText)
	if err != nil {
		t.Fatal(err)
	}
	want := loaded{requests: 141676, bytes: 182.66 * (1 << 20), seconds: 2.1, p50: 219, p99: 1250}
	if got != want {
		t.Errorf("parsed %+v, want %+v", got, want)
	}
	troubled := strings.Replace(wrkText, "Requests/sec", "  Socket errors: connect 0, read 3, write 1, timeout 2\n  Non-2xx or 3xx responses: 7\nRequests/sec", 1)
	if got, err = parseWrk(troubled); err != nil || got.failed != 13 || got.why == "" {
		t.Errorf("errors and statuses: failed %d (%q), error %v, want 13", got.failed, got.why, err)
	}
	for _, bad := range []string{"", "unable to connect to localhost:1 Connection refused\n", strings.Replace(wrkText, "2.10s", "2.10x", 1)} {
		if got, err := parseWrk(bad); err == nil {
			t.Errorf("%q was parsed as %+v", bad, got)
		}
	}
}

const h2loadText = `starting benchmark...
spawning thread #0: 32 total client(s). Timing-based test with 0.5s of warm-up time and 2s of main duration for measurements.
Warm-up started for thread #0.
progress: 10% of clients started
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits
Application protocol: h2
Warm-up phase is over for thread #0.

finished in 2.50s, 195023.50 req/s, 210.23MB/s
requests: 390047 total, 390367 started, 390047 done, 390047 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 390047 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 420.45MB (440870001) total, 13.39MB (14041692) headers (space savings 90.11%), 380.90MB (399408128) data
                     min         max         mean         sd        +/- sd
time for request:      310us     12.87ms      1.63ms       510us    88.51%
`

func TestParseH2load(t *testing.T) {
	got, err := parseH2load(h2loadText)
	if err != nil {
		t.Fatal(err)
	}
	want := loaded{requests: 390047, bytes: 399408128, seconds: 2.5, tls: "TLSv1.3 TLS_AES_128_GCM_SHA256"}
	if got != want {
		t.Errorf("parsed %+v, want %+v", got, want)
	}
	failing := strings.NewReplacer("390047 succeeded, 0 failed, 0 errored", "390040 succeeded, 4 failed, 3 errored",
		"390047 2xx, 0 3xx, 0 4xx", "390000 2xx, 5 3xx, 40 4xx").Replace(h2loadText)
	if got, err = parseH2load(failing); err != nil || got.failed != 4+3+5+40 {
		t.Errorf("failed %d, error %v, want 52: what failed, and answers that are no 2xx", got.failed, err)
	}
	for name, bad := range map[string]string{
		"empty": "", "refused": "Could not resolve host\n",
		"other protocol": strings.Replace(h2loadText, "protocol: h2", "protocol: http/1.1", 1),
	} {
		if got, err := parseH2load(bad); err == nil {
			t.Errorf("%s: parsed as %+v", name, got)
		}
	}
}

// The last line may be cut off where h2load is.
func TestParseH2loadLog(t *testing.T) {
	var text strings.Builder
	for i := range 200 {
		text.WriteString("1700000000000000\t200\t")
		text.WriteString(strings.Repeat("1", 1+i/198)) // 198 of 1 us, 2 of 11 us
		text.WriteByte('\n')
	}
	p50, p99, err := parseH2loadLog(strings.NewReader(text.String() + "17000000"))
	if err != nil || p50 != 1 || p99 != 1 {
		t.Errorf("percentiles %v and %v, error %v, want 1 and 1", p50, p99, err)
	}
	_, p99, err = parseH2loadLog(strings.NewReader(text.String() + "1700000000000000\t200\t11\n"))
	if err != nil || p99 != 11 {
		t.Errorf("the 99th of 201 is %v, error %v, want 11: the 199th", p99, err)
	}
	if _, _, err := parseH2loadLog(strings.NewReader("1\t200\tsoon\n")); err == nil {
		t.Error("a time that is no number was parsed")
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]float64{"12us": 12, "1.50ms": 1500, "2.00s": 2e6, "1.10m": 66e6} {
		if got, err := parseTime(text); err != nil || math.Abs(got-want) > 1e-6*want {
			t.Errorf("time %s is %v us, error %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]float64{"12B": 12, "1.50KB": 1536, "2.00GB": 2 << 30} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("size %s is %v, error %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "12", "us", "12parsecs"} {
		if got, err := parseTime(bad); err == nil {
			t.Errorf("time %q is %v", bad, got)
		}
		if got, err := parseBytes(bad); err == nil {
			t.Errorf("size %q is %v", bad, got)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values []figure
		want   spread
	}{
		{[]figure{3}, spread{3, 3, 3}},
		{[]figure{9, 1, 4}, spread{4, 1, 9}},
		{[]figure{9, 1, 4, 5}, spread{4.5, 1, 9}},
		{[]figure{2, 2, 100, 1, 2}, spread{2, 1, 100}},
	} {
		if got := spreadOf(test.values); got != test.want {
			t.Errorf("spread of %v is %v, want %v", test.values, got, test.want)
		}
	}
	if got := spreadOf(nil); !math.IsNaN(float64(got.Median)) {
		t.Errorf("the median of nothing is %v", got.Median)
	}
	missing := figure(math.NaN())
	if got := spreadOf([]figure{missing, 2, 4}); got != (spread{3, 2, 4}) {
		t.Errorf("a missing value counts: %v", got)
	}
	if text, err := json.Marshal(spread{1.5, missing, 2}); err != nil || string(text) != `{"median":1.5,"min":null,"max":2}` {
		t.Errorf("in JSON: %s, error %v", text, err)
	}
	values := make([]float64, 200)
	for i := range values {
		values[i] = float64(i + 1)
	}
	for p, want := range map[float64]float64{50: 100, 99: 198, 100: 200, 0: 1} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile %v of 1 to 200 is %v, want %v", p, got, want)
		}
	}
}

func TestChooseRows(t *testing.T) {
	all := allRows()
	seen := make(map[string]bool)
	for _, r := range all {
		if seen[r.String()] {
			t.Errorf("two rows are called %s", r)
		}
		seen[r.String()] = true
	}
	for patterns, want := range map[string]string{
		"h1/1k":              "h1/1k/c16 h1/1k/c256",
		"*/10m/c16":          "h1/10m/c16 h1s/10m/c16 h2/10m/c16 h3/10m/c16",
		"h2/*/c32x10,h1/64k": "h1/64k/c16 h1/64k/c256 h2/1k/c32x10 h2/64k/c32x10",
		"log":                "log/h1/1k/c16 log/h2/1k/c32x10",
		"h1/1k,h1/1k/c16":    "h1/1k/c16 h1/1k/c256",
	} {
		rows, err := chooseRows(all, patterns)
		var got []string
		for _, r := range rows {
			got = append(got, r.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s chose %v, error %v, want %s", patterns, got, err, want)
		}
	}
	for _, bad := range []string{"h4", "h1/1k/c16/x", "[", ","} {
		if rows, err := chooseRows(all, bad); err == nil {
			t.Errorf("%q chose %v", bad, rows)
		}
	}
}

// A goal is judged by medians, and only against peers that are in the run.
func TestVerdict(t *testing.T) {
	at := func(server string, cpu figure) Summary { return Summary{Server: server, CPU: spread{Median: cpu}} }
	tests := []struct {
		name string
		row  row
		list []Summary
		want string
	}{
		{"met", row{kind: hits, proto: h1, size: kib1}, []Summary{at("freshet", 6.5), at("nginx", 10)}, "met"},
		{"missed", row{kind: hits, proto: h1, size: kib1}, []Summary{at("freshet", 6.6), at("nginx", 10), at("varnish", 13)}, "MISSED: nginx 0.66 of 0.65"},
		{"no goal against a file", row{kind: hits, proto: h1, size: kib1}, []Summary{at("freshet", 9), at("h2o", 3)}, ""},
		{"32 x 10 only", row{kind: hits, proto: h2, size: kib1, streams: 1}, []Summary{at("freshet", 9), at("nginx", 9)}, ""},
		{"32 x 10", row{kind: hits, proto: h2, size: kib1, streams: 10}, []Summary{at("freshet", 9), at("nginx", 9)}, "MISSED: nginx 1.00 of 0.35"},
		{"best of all", row{kind: hits, proto: h1s, size: mib10}, []Summary{at("freshet", 11), at("h2o", 10), at("nginx", 20)}, "MISSED: best (h2o) 1.10 of 1.05"},
		{"a peer without figures", row{kind: hits, proto: h1s, size: mib10}, []Summary{at("freshet", 11), at("h2o", figure(math.NaN())), at("nginx", 20)}, "met"},
		{"caddy", row{kind: hits, proto: h3, size: mib10}, []Summary{at("freshet", 8), at("caddy", 10)}, "met"},
		{"log", row{kind: logs, proto: h1, size: kib1}, []Summary{at("freshet", 4), at("freshet-log", 5)}, "met"},
		{"dear log", row{kind: logs, proto: h1, size: kib1}, []Summary{at("freshet", 4), at("freshet-log", 5.2)}, "MISSED: with the log 1.30 of 1.25"},
	}
	for _, test := range tests {
		if got := verdict(test.row, test.list); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Tables say medians and ratios of the first server to each other, and what is missing.
func TestTables(t *testing.T) {
	r := row{kind: hits, proto: h1, size: kib1, conns: 16, streams: 1}
	c := row{kind: cold, proto: h1, size: kib1, conns: 64, streams: 1, urls: 10}
	missing := figure(math.NaN())
	runs := []Run{
		{Row: r.String(), Server: "freshet", CPU: 6, Rate: 200, P50: 5, P99: 9, Busy: 1},
		{Row: r.String(), Server: "freshet", CPU: 8, Rate: 100, P50: 5, P99: 9, Busy: 1},
		{Row: r.String(), Server: "freshet", CPU: 5, Rate: 300, P50: 5, P99: 9, Busy: 1},
		{Row: r.String(), Server: "nginx", CPU: 10, Rate: 100, P50: 7, P99: 9, Busy: 0.5},
		{Row: r.String(), Server: "nginx", CPU: missing, P50: missing, P99: missing, Problem: "no request was complete"},
		{Row: c.String(), Server: "freshet", Requests: 1000, Origin: &originCount{Requests: 15, URLs: 10, Peak: 4}},
		{Row: c.String(), Server: "nginx", Origin: &originCount{}, Problem: "no request was complete"},
	}
	servers := []string{"freshet", "nginx", "varnish"}
	all := map[string][]Summary{r.String(): summarise(r, servers, runs), c.String(): summarise(c, servers, runs)}
	var out strings.Builder
	for _, row := range []row{r, c} {
		printRow(&out, row, all[row.String()], map[string]string{"nginx": "nginx, proxy_cache"})
	}
	printRatios(&out, []row{r, c}, servers, all)
	var got []string
	for line := range strings.SplitSeq(out.String(), "\n") {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{
		"freshet 6.00 (5.00-8.00) 200 (100-300) 5 (5-5) 9 (9-9) 100 %",
		"nginx, proxy_cache 10.00 (10.00-10.00) 0.60 50 (0-100) 4.00 7 (7-7) 9 (9-9) 25 % 1 of 2 runs with problems; not saturated",
		"freshet 1000 (1000-1000) 15 (15-15) 10 1.50 1.50 % 4 (4-4) 0 (0-0)",
		"nginx, proxy_cache 0 (0-0) 0 (0-0) 0 - - 0 (0-0) 0 (0-0) 1 of 1 runs with problems",
		"h1/1k/c16 0.60 [0.65] met",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("there is no line %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "varnish") {
		t.Errorf("something that is not there is shown:\n%s", out.String())
	}
}
