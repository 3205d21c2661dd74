package archtest

import (
	"go/ast"
	"regexp"
	"slices"
)

// pure are the packages that decide: no sockets, files, logs, clocks or goroutines.
// What they need they are given, so that a table can test them.
var pure = []string{
	"edge/policy",
	"edge/response",
	"internal/header",
	"internal/hop",
	"internal/httpcache",
	"internal/ring",
	"router/steer",
}

// impure are the standard packages that reach out of a computation.
var impure = []string{"net", "os/...", "log/...", "syscall/...", "math/rand/...", "crypto/rand"}

// protocol is what pure packages may use of net/http: its words and formats.
var protocol = regexp.MustCompile(`^(Method\w+|Status\w+|TimeFormat|ParseTime|CanonicalHeaderKey)$`)

// clocks are the functions of package time that ask for the time, or wait for it.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func purity(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		if !slices.Contains(pure, p.path) {
			continue
		}
		for _, f := range p.files {
			if f.test {
				continue
			}
			f.imports(func(spec *ast.ImportSpec, path string) {
				if underAny(path, impure) {
					found = append(found, t.at(spec, "%s is pure and may not import %s", p.name(), path))
				}
			})
			clock, web := f.local("time"), f.local("net/http")
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				if _, ok := n.(*ast.GoStmt); ok {
					found = append(found, t.at(n, "%s is pure and may not start goroutines", p.name()))
				}
				if name := selected(n, web); name != "" && !protocol.MatchString(name) {
					found = append(found, t.at(n, "%s is pure and may not use http.%s", p.name(), name))
				}
				if name := selected(n, clock); slices.Contains(clocks, name) {
					found = append(found, t.at(n, "%s is pure and may not use time.%s; take the time as an argument", p.name(), name))
				}
				return true
			})
		}
	}
	return found
}
