package archtest

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// minHelp is the length of a Help that says what is counted and what a rise means.
const minHelp = 40

var metricName = regexp.MustCompile(`^freshet(_[a-z][a-z0-9]*)+$`)

// metricNames looks at every literal of prometheus.CounterOpts and its kin: its
// name is freshet_<role>_<noun>_<unit>, with _total on counters alone, its Help
// says enough, and it stands in a file metrics.go.
func metricNames(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		for _, f := range p.files {
			local := f.local("github.com/prometheus/client_golang/prometheus")
			if local == "" || f.test {
				continue
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				lit, ok := n.(*ast.CompositeLit)
				if !ok {
					return true
				}
				kind, isOpts := strings.CutSuffix(selected(lit.Type, local), "Opts")
				switch {
				case !isOpts:
				case path.Base(f.name) != "metrics.go":
					found = append(found, t.at(lit, "metrics are declared in the package's metrics.go"))
				default:
					found = append(found, t.metric(lit, kind)...)
				}
				return true
			})
		}
	}
	return found
}

// metric judges one literal; kind is Counter, Gauge, Histogram or Summary.
func (t *tree) metric(lit *ast.CompositeLit, kind string) []violation {
	var found []violation
	fields := map[string]string{}
	for _, element := range lit.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if key, ok := pair.Key.(*ast.Ident); ok {
			fields[key.Name], _ = constant(pair.Value)
		}
	}
	name, help := fields["Name"], fields["Help"]
	_, namespace := fields["Namespace"]
	_, subsystem := fields["Subsystem"]
	switch {
	case namespace || subsystem || name == "":
		return append(found, t.at(lit, "write a metric's whole name as one constant, so that it can be searched for"))
	case !metricName.MatchString(name):
		found = append(found, t.at(lit, "metric %s should be freshet_<role>_<noun>_<unit>", name))
	case strings.HasSuffix(name, "_total") != (kind == "Counter"):
		found = append(found, t.at(lit, "metric %s: counters end in _total, nothing else does", name))
	case kind == "Histogram" && !strings.HasSuffix(name, "_seconds") && !strings.HasSuffix(name, "_bytes"):
		found = append(found, t.at(lit, "metric %s: histograms are in _seconds or _bytes", name))
	}
	for _, unit := range []string{"_milliseconds", "_ms", "_kilobytes", "_megabytes", "_kb", "_mb", "_minutes", "_percent"} {
		if strings.HasSuffix(strings.TrimSuffix(name, "_total"), unit) {
			found = append(found, t.at(lit, "metric %s: units are seconds, bytes and ratios", name))
		}
	}
	if len(help) < minHelp || !strings.HasSuffix(help, ".") {
		found = append(found, t.at(lit, "metric %s: Help should say in a sentence what it counts and what a rise means", name))
	}
	return found
}

// constant is the value of a string literal, or of several joined by +.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		left, lok := constant(e.X)
		right, rok := constant(e.Y)
		if lok && rok && e.Op == token.ADD {
			return left + right, true
		}
	}
	return "", false
}
