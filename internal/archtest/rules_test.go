package archtest

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

// example is a tree of a few files, and what a rule should say of it.
type example struct {
	name  string
	files map[string]string
	says  string // a part of the one violation; none is expected if empty
}

// head is a file that is otherwise in order.
func head(pkg, rest string) string {
	return "// Package " + pkg + " is an example.\npackage " + pkg + "\n" + rest
}

var examples = map[string][]example{
	"import direction": {
		{"one program imports another", map[string]string{"router/steer/a.go": head("steer", `import _ "freshet/edge/policy"`)}, "router/steer may not import edge/policy"},
		{"a test of one program imports another", map[string]string{"router/a_test.go": head("router", `import _ "freshet/origin"`)}, "router may not import origin"},
		{"internal imports a program", map[string]string{"internal/site/a.go": head("site", `import _ "freshet/edge"`)}, "internal/site may not import edge"},
		{"a leaf imports its sibling", map[string]string{"edge/exchange/a.go": head("exchange", `import _ "freshet/edge/response"`)}, "edge/exchange may not import edge/response"},
		{"a part imports its program", map[string]string{"edge/store/disk/a.go": head("disk", `import _ "freshet/edge"`)}, "edge/store/disk may not import edge"},
		{"one listener imports another", map[string]string{"edge/listener/h2/a.go": head("h2", `import _ "freshet/edge/listener/h1"`)}, "edge/listener/h2 may not import edge/listener/h1"},
		{"a package that is not planned", map[string]string{"internal/magic/a.go": head("magic", "")}, "internal/magic: is no room of the plan"},
		{"only cmd has the demo site", map[string]string{"origin/a.go": head("origin", `import _ "freshet/cmd/freshet/demo"`)}, "origin may not import cmd/freshet/demo"},
		{"cmd wires", map[string]string{"cmd/freshet/a.go": head("main", "import (\n_ \"freshet/edge\"\n_ \"freshet/origin\"\n)")}, ""},
		{"a program joins its parts", map[string]string{"edge/a.go": head("edge", "import (\n_ \"freshet/edge/policy\"\n_ \"freshet/internal/site\"\n)")}, ""},
		{"a test uses an implementation", map[string]string{"internal/site/a_test.go": head("site", `import _ "freshet/internal/cluster/local"`)}, ""},
		{"code may not", map[string]string{"internal/site/a.go": head("site", `import _ "freshet/internal/cluster/local"`)}, "internal/site may not import internal/cluster/local"},
	},
	"owners of modules": {
		{"someone else's module", map[string]string{"router/a.go": head("router", `import _ "github.com/miekg/dns"`)}, "github.com/miekg/dns, which belongs to tests, router/nameserver"},
		{"a package of someone else's module", map[string]string{"edge/a.go": head("edge", `import _ "github.com/quic-go/quic-go/http3"`)}, "may not import github.com/quic-go/quic-go"},
		{"a module for tests", map[string]string{"edge/a.go": head("edge", `import _ "pgregory.net/rapid"`)}, "which belongs to tests"},
		{"a module that nobody owns", map[string]string{"edge/a_test.go": head("edge", `import _ "example.com/clever"`)}, "example.com/clever has no owner"},
		{"a module with a similar name", map[string]string{"router/nameserver/a.go": head("nameserver", `import _ "github.com/miekg/dnsfork"`)}, "github.com/miekg/dnsfork has no owner"},
		{"the owner", map[string]string{"router/nameserver/a.go": head("nameserver", `import _ "github.com/miekg/dns/dnsutil"`)}, ""},
		{"a test", map[string]string{"cmd/freshet/a_test.go": head("main", `import _ "github.com/miekg/dns"`)}, ""},
		{"a suite", map[string]string{"internal/cluster/clustertest/a.go": head("clustertest", `import _ "github.com/hashicorp/consul/api"`)}, ""},
	},
	"metrics in one place": {
		{"no metrics.go", map[string]string{"edge/a.go": head("edge", `import _ "github.com/prometheus/client_golang/prometheus"`)}, "has no metrics.go"},
		{"beside metrics.go", map[string]string{
			"edge/a.go":       head("edge", `import _ "github.com/prometheus/client_golang/prometheus"`),
			"edge/metrics.go": head("edge", ""),
		}, ""},
		{"the environment of a role", map[string]string{"internal/node/env.go": head("node", `import _ "github.com/prometheus/client_golang/prometheus"`)}, ""},
	},
	"purity": {
		{"a socket", map[string]string{"router/steer/a.go": head("steer", `import _ "net"`)}, "may not import net"},
		{"a file", map[string]string{"edge/policy/a.go": head("policy", `import _ "os"`)}, "may not import os"},
		{"a log", map[string]string{"internal/ring/a.go": head("ring", `import _ "log/slog"`)}, "may not import log/slog"},
		{"the time", map[string]string{"internal/httpcache/a.go": head("httpcache", "import \"time\"\nvar t = time.Now()")}, "may not use time.Now"},
		{"the time as a value", map[string]string{"internal/httpcache/a.go": head("httpcache", "import \"time\"\nvar now = time.Now")}, "may not use time.Now"},
		{"the time under another name", map[string]string{"internal/httpcache/a.go": head("httpcache", "import clock \"time\"\nvar t = clock.Since(clock.Time{})")}, "may not use time.Since"},
		{"a goroutine", map[string]string{"edge/response/a.go": head("response", "func f() { go f() }")}, "may not start goroutines"},
		{"an HTTP client", map[string]string{"edge/policy/a.go": head("policy", "import \"net/http\"\nvar c http.Client")}, "may not use http.Client"},
		{"the words of HTTP", map[string]string{"edge/policy/a.go": head("policy", "import \"net/http\"\nvar c = http.StatusOK\nvar t, err = http.ParseTime(\"\")")}, ""},
		{"durations and addresses", map[string]string{"router/steer/a.go": head("steer", "import (\n\"net/netip\"\n\"time\"\n)\nvar a netip.Addr\nvar d = time.Second")}, ""},
		{"a package that is not pure", map[string]string{"edge/upstream/a.go": head("upstream", `import _ "net"`)}, ""},
	},
	"package comments": {
		{"none", map[string]string{"edge/a.go": "package edge\n", "edge/b.go": "package edge\n"}, `edge: has no package comment that begins with "Package edge "`},
		{"of another package", map[string]string{"edge/a.go": "// Package router steers.\npackage edge\n"}, "has no package comment"},
		{"a program's", map[string]string{"cmd/freshet/a.go": "package main\n"}, `begins with "Command "`},
		{"in one of the files", map[string]string{"edge/a.go": "package edge\n", "edge/b.go": head("edge", "")}, ""},
		{"only tests", map[string]string{"edge/a_test.go": "package edge\n"}, ""},
	},
	"file sizes": {
		{"too long", map[string]string{"edge/a.go": head("edge", strings.Repeat("// more\n", maxLines))}, "split it by 600"},
		{"long enough", map[string]string{"edge/a.go": head("edge", strings.Repeat("// more\n", maxLines-5))}, ""},
		{"generated", map[string]string{"edge/a.go": "// Code generated by a tool. DO NOT EDIT.\n\n" + head("edge", strings.Repeat("// more\n", maxLines))}, ""},
		{"a test", map[string]string{"edge/a_test.go": head("edge", strings.Repeat("// more\n", maxLines))}, ""},
	},
	"package names": {
		{"the directory", map[string]string{"internal/util/a.go": head("strutil", "")}, "says nothing"},
		{"the package", map[string]string{"internal/stuff/a.go": head("helpers", "")}, "says nothing"},
		{"a name", map[string]string{"internal/ring/a.go": head("ring", "")}, ""},
	},
	"no init functions": {
		{"init", map[string]string{"edge/a.go": head("edge", "func init() {}")}, "no init functions"},
		{"a method of that name", map[string]string{"edge/a.go": head("edge", "type t int\nfunc (t) init() {}")}, ""},
	},
	"no hopeful sleeps": {
		{"a sleep", map[string]string{"edge/a_test.go": head("edge", "import \"time\"\nfunc f() { time.Sleep(time.Second) }")}, "a sleep that hopes"},
		{"repeated blindly", map[string]string{"edge/a_test.go": head("edge", "import \"time\"\nfunc f() { for range 9 { time.Sleep(1) } }")}, "a sleep that hopes"},
		{"after a loop", map[string]string{"edge/a_test.go": head("edge", "import \"time\"\nfunc f() { for {}; time.Sleep(1) }")}, "a sleep that hopes"},
		{"in a suite", map[string]string{"edge/store/storetest/a.go": head("storetest", "import \"time\"\nfunc f() { time.Sleep(1) }")}, "a sleep that hopes"},
		{"waiting for a condition", map[string]string{"edge/a_test.go": head("edge", "import \"time\"\nfunc f() { for !done() { time.Sleep(1) } }")}, ""},
		{"with a reason", map[string]string{"edge/a_test.go": head("edge", "import \"time\"\nfunc f() {\ntime.Sleep(1) // the handler's work\n}")}, ""},
		{"under virtual time", map[string]string{"edge/a_test.go": head("edge", "import (\n\"testing/synctest\"\n\"time\"\n)\nfunc f() { time.Sleep(1) }\nvar _ = synctest.Wait")}, ""},
	},
	"no leftovers": {
		{"a note", map[string]string{"edge/a.go": head("edge", "// TO"+"DO: do it")}, `"TO` + `DO" is a note`},
		{"a note within a function", map[string]string{"edge/a.go": head("edge", "func f() {\n/* FIX"+"ME */\n}")}, "is a note"},
		{"a path in code", map[string]string{"edge/a.go": head("edge", `var dir = "/ho`+`me/ann/cache"`)}, "is a path of one machine"},
		{"a path in a document", map[string]string{"README.md": "cd /wo" + "rk/freshet\n"}, "README.md:1"},
		{"a path in a script", map[string]string{"deploy/a.sh": "#!/bin/sh\nDIR=/ro" + "ot/x\n"}, "deploy/a.sh:2"},
		{"words that contain them", map[string]string{"edge/a.go": head("edge", "// The method of the roadwork is at http://a/wo"+"rk/b.")}, ""},
	},
	"metric names": {
		{"foreign name", metric("Gauge", `Name: "edge_marks"`), "should be freshet_<role>"},
		{"capitals", metric("Gauge", `Name: "freshet_edge_openFiles"`), "should be freshet_<role>"},
		{"counter without total", metric("Counter", `Name: "freshet_edge_requests"`), "counters end in _total"},
		{"gauge with total", metric("Gauge", `Name: "freshet_edge_marks_total"`), "counters end in _total"},
		{"histogram without a unit", metric("Histogram", `Name: "freshet_edge_fetch"`), "histograms are in"},
		{"small unit", metric("Gauge", `Name: "freshet_edge_lag_ms"`), "units are seconds"},
		{"small unit of a counter", metric("Counter", `Name: "freshet_edge_read_kb_total"`), "units are seconds"},
		{"name in parts", metric("Gauge", `Namespace: "freshet", Name: "marks"`), "as one constant"},
		{"name from a variable", metric("Gauge", `Name: prefix + "marks"`), "as one constant"},
		{"short help", map[string]string{"edge/metrics.go": metricFile(`prometheus.GaugeOpts{Name: "freshet_edge_marks", Help: "Marks."}`)}, "Help should say"},
		{"another file", map[string]string{"edge/edge.go": metricFile(`prometheus.GaugeOpts{Name: "freshet_edge_marks"}`)}, "declared in the package's metrics.go"},
		{"good counter", metric("Counter", `Name: "freshet_edge_sent_bytes_total"`), ""},
		{"good gauge", metric("Gauge", `Name: "freshet_" + "edge_marks"`), ""},
		{"good histogram", metric("Histogram", `Name: "freshet_edge_fetch_duration_seconds", Buckets: nil`), ""},
	},
	"log messages": {
		{"upper case", logging(`e.log.Info("Listening")`), "should begin in lower case"},
		{"full stop", logging(`log.Warn("disk is full.")`), "without a full stop"},
		{"built", logging(`cfg.Log.Error("cannot read " + name)`), "should be a constant"},
		{"formatted, with context", logging(`e.logger.ErrorContext(ctx, fmt.Sprintf("x"))`), "should be a constant"},
		{"with attributes before", logging(`log.With("a", 1).Debug("Begun")`), "should begin in lower case"},
		{"level as an argument", logging(`log.Log(ctx, level, "Begun")`), "should begin in lower case"},
		{"slog's own", logging(`slog.Info("begun")`), "through a logger that was handed in"},
		{"good", logging(`log.Info("listening", "addr", "A")`), ""},
		{"abbreviation", logging(`log.Info("DNS answers")`), ""},
		{"not a log", logging(`t.Error("Wrong"); http.Error(w, "Wrong", 1); log.Enabled(ctx, 1)`), ""},
	},
}

func metric(kind, fields string) map[string]string {
	const help = `, Help: "Requests that were answered; a rise means more visitors."`
	return map[string]string{"edge/metrics.go": metricFile("prometheus." + kind + "Opts{" + fields + help + "}")}
}

func metricFile(opts string) string {
	return head("edge", "import \"github.com/prometheus/client_golang/prometheus\"\nvar m = "+opts)
}

func logging(statement string) map[string]string {
	return map[string]string{"edge/a.go": head("edge", "import \"log/slog\"\nfunc f() { "+statement+" }\nvar _ slog.Level")}
}

// TestRules shows of every rule that it finds what it should, and no more.
func TestRules(t *testing.T) {
	for _, r := range house {
		if len(examples[r.name]) == 0 {
			t.Errorf("rule %q has no examples", r.name)
		}
		for _, e := range examples[r.name] {
			t.Run(r.name+"/"+e.name, func(t *testing.T) {
				root := fstest.MapFS{}
				for name, body := range e.files {
					root[name] = &fstest.MapFile{Data: []byte(body)}
				}
				tree, err := readTree(root)
				if err != nil {
					t.Fatal(err)
				}
				found := r.rule(tree)
				switch {
				case e.says == "" && len(found) > 0:
					t.Errorf("found %v, want nothing", found)
				case e.says != "" && (len(found) != 1 || !strings.Contains(found[0].String(), e.says)):
					t.Errorf("found %v, want one that says %q", found, e.says)
				}
			})
		}
	}
}

func TestReadTree(t *testing.T) {
	root := fstest.MapFS{}
	for _, name := range []string{"a.go", "edge/a.go", "edge/testdata/a.go", ".tools/a.go", "_old/a.go", "console/node_modules/x/a.go", "edge/store/a_test.go"} {
		root[name] = &fstest.MapFile{Data: []byte("package a\n")}
	}
	tree, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range tree.packages {
		got = append(got, p.path)
	}
	if want := []string{"", "edge", "edge/store"}; !reflect.DeepEqual(got, want) {
		t.Errorf("packages are %q, want %q", got, want)
	}
	root["broken.go"] = &fstest.MapFile{Data: []byte("package")}
	if _, err := readTree(root); err == nil || !strings.Contains(err.Error(), "broken.go") {
		t.Errorf("error = %v, want the file that does not parse", err)
	}
}

func TestUnder(t *testing.T) {
	tests := []struct {
		path, pattern string
		want          bool
	}{
		{"edge", "edge", true},
		{"edge/store", "edge", false},
		{"edge", "edge/...", true},
		{"edge/store/memory", "edge/...", true},
		{"edgeless", "edge/...", false},
		{"anything", "...", true},
		{"", "...", true},
		{"", "edge/...", false},
	}
	for _, test := range tests {
		if got := under(test.path, test.pattern); got != test.want {
			t.Errorf("under(%q, %q) = %v", test.path, test.pattern, got)
		}
	}
}

// The tables name only rooms that the plan can have, each once.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rooms {
		if seen[r.path] {
			t.Errorf("room %s is there twice", r.path)
		}
		seen[r.path] = true
		for _, target := range r.imports {
			if roomOf(strings.TrimSuffix(strings.TrimSuffix(target, "..."), "/")) == nil && target != "..." && target != "internal/..." {
				t.Errorf("room %s may import %s, which is no room", r.path, target)
			}
		}
	}
	for name, packages := range owners {
		for _, p := range packages {
			if p != "..." && roomOf(strings.TrimSuffix(p, "/...")) == nil {
				t.Errorf("%s belongs to %s, which is no room", name, p)
			}
		}
	}
	for _, p := range pure {
		if roomOf(p) == nil {
			t.Errorf("%s is pure but no room", p)
		}
	}
}
