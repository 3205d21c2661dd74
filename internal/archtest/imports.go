package archtest

import (
	"go/ast"
	"strings"
)

// importDirection holds the imports within the module against the table of rooms.
// A test may import what its package may, and beside that its own program's packages
// and internal ones; never another program's.
func importDirection(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		home := roomOf(p.path)
		if home == nil {
			found = append(found, violation{p.name(), "is no room of the plan; add it to the table of rooms with what it may import"})
			continue
		}
		for _, f := range p.files {
			f.imports(func(spec *ast.ImportSpec, path string) {
				target, ok := strings.CutPrefix(path, module+"/")
				if !ok || target == p.path || underAny(target, home.imports) {
					return
				}
				if (f.test || p.support()) && (under(target, "internal/...") || sameProgram(p.path, target)) {
					return
				}
				found = append(found, t.at(spec, "%s may not import %s", p.name(), target))
			})
		}
	}
	return found
}

// roomOf is the room of a package: the one of its very path, else the first pattern
// that matches; nil if there is none.
func roomOf(path string) *room {
	for i, r := range rooms {
		if r.path == path {
			return &rooms[i]
		}
	}
	for i, r := range rooms {
		if under(path, r.path) {
			return &rooms[i]
		}
	}
	return nil
}

func sameProgram(a, b string) bool {
	for _, program := range programs {
		if under(a, program+"/...") && under(b, program+"/...") {
			return true
		}
	}
	return false
}

// moduleOwners holds the imports of third-party modules against the table of
// owners. Tests may import any module that is in it.
func moduleOwners(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		for _, f := range p.files {
			f.imports(func(spec *ast.ImportSpec, path string) {
				first, _, _ := strings.Cut(path, "/")
				if !strings.Contains(first, ".") {
					return // the standard library, or this module
				}
				name, owned := moduleOf(path)
				switch {
				case name == "":
					found = append(found, t.at(spec, "%s has no owner; add its module to the table of owners", path))
				case !f.test && !p.support() && !underAny(p.path, owned):
					found = append(found, t.at(spec, "%s may not import %s, which belongs to %s", p.name(), name, strings.Join(append([]string{"tests"}, owned...), ", ")))
				}
			})
		}
	}
	return found
}

// moduleOf is the module in the table that has the package, with its owners.
func moduleOf(path string) (name string, owned []string) {
	for m, o := range owners {
		if under(path, m+"/...") && len(m) > len(name) {
			name, owned = m, o
		}
	}
	return name, owned
}

// metricsInOnePlace keeps Prometheus to packages that declare metrics in a
// metrics.go, and to those that hand the registry down.
func metricsInOnePlace(t *tree) []violation {
	handing := []string{"cmd/freshet", "internal/node", "internal/telemetry"}
	var found []violation
	for _, p := range t.packages {
		if p.has("metrics.go") || underAny(p.path, handing) {
			continue
		}
		for _, f := range p.files {
			f.imports(func(spec *ast.ImportSpec, path string) {
				if !f.test && under(path, "github.com/prometheus/...") {
					found = append(found, t.at(spec, "%s imports Prometheus but has no metrics.go that declares its metrics", p.name()))
				}
			})
		}
	}
	return found
}
