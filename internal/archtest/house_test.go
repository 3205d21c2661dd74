package archtest

import (
	"os"
	"testing"
)

// house is every rule.
var house = []struct {
	name string
	rule rule
}{
	{"import direction", importDirection},
	{"owners of modules", moduleOwners},
	{"metrics in one place", metricsInOnePlace},
	{"purity", purity},
	{"package comments", packageComments},
	{"file sizes", fileSizes},
	{"package names", packageNames},
	{"no init functions", noInit},
	{"no hopeful sleeps", noHopefulSleeps},
	{"no leftovers", noLeftovers},
	{"metric names", metricNames},
	{"log messages", logMessages},
}

func TestHouse(t *testing.T) {
	tree, err := readTree(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.packages) < 20 {
		t.Fatalf("found only %d packages: is this the module's root?", len(tree.packages))
	}
	for _, r := range house {
		t.Run(r.name, func(t *testing.T) {
			for _, v := range r.rule(tree) {
				t.Error(v)
			}
		})
	}
}
