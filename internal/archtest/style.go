package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxLines is when a file must be split.
const maxLines = 600

// packageComments wants one comment in each package that says what it is.
func packageComments(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		begins, code := "", false
		for _, f := range p.files {
			if f.test {
				continue
			}
			code = true
			begins = "Package " + f.syntax.Name.Name + " "
			if f.syntax.Name.Name == "main" {
				begins = "Command "
			}
			if f.syntax.Doc != nil && strings.HasPrefix(f.syntax.Doc.Text(), begins) {
				begins = ""
				break
			}
		}
		if code && begins != "" {
			found = append(found, violation{p.name(), fmt.Sprintf("has no package comment that begins with %q", begins)})
		}
	}
	return found
}

// fileSizes keeps files to what can be read in one go.
func fileSizes(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		for _, f := range p.files {
			if !f.test && !f.made && f.lines > maxLines {
				found = append(found, violation{f.name, fmt.Sprintf("has %d lines; split it by %d", f.lines, maxLines)})
			}
		}
	}
	return found
}

// packageNames refuses names that say nothing.
func packageNames(t *tree) []violation {
	empty := []string{"util", "utils", "common", "types", "helpers", "helper", "misc", "shared", "base", "lib"}
	var found []violation
	for _, p := range t.packages {
		name := p.files[0].syntax.Name.Name
		if slices.Contains(empty, path.Base(p.path)) || slices.Contains(empty, name) {
			found = append(found, violation{p.name(), "has a name that says nothing of what it is for"})
		}
	}
	return found
}

// noInit refuses init functions: registration is done by who needs it.
func noInit(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		for _, f := range p.files {
			for _, d := range f.syntax.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && !f.made {
					found = append(found, t.at(fn, "no init functions; let main call what is to be called"))
				}
			}
		}
	}
	return found
}

// noHopefulSleeps refuses a time.Sleep in tests by which something else is hoped to
// have happened. It may stand in a loop that waits for a condition, in a file
// whose time is virtual (testing/synctest), or with its reason on the same line.
func noHopefulSleeps(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		for _, f := range p.files {
			clock := f.local("time")
			if !f.test && !p.support() || clock == "" || f.local("testing/synctest") != "" {
				continue
			}
			reasons := map[int]bool{}
			for _, group := range f.syntax.Comments {
				reasons[t.fset.Position(group.Pos()).Line] = true
			}
			loops := 0
			var stack []ast.Node
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				if n == nil {
					if isLoop(stack[len(stack)-1]) {
						loops--
					}
					stack = stack[:len(stack)-1]
					return true
				}
				stack = append(stack, n)
				if isLoop(n) {
					loops++
				}
				if loops == 0 && called(n, clock) == "Sleep" && !reasons[t.fset.Position(n.Pos()).Line] {
					found = append(found, t.at(n, "a sleep that hopes; wait for the condition, use synctest, or say the reason on this line"))
				}
				return true
			})
		}
	}
	return found
}

// isLoop tells whether n is a loop that looks at a condition each time.
func isLoop(n ast.Node) bool {
	_, ok := n.(*ast.ForStmt)
	return ok
}

// leftovers are marks of unfinished work, and paths that exist on one machine only.
// They are put together here so that this file has none.
var leftovers = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"is a note to oneself; do it, or open an issue", regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)},
	{"is a path of one machine", regexp.MustCompile(`(^|[\s"'=(])/(ho` + `me|ro` + `ot|Us` + `ers|wo` + `rk)/\w+`)},
}

// noLeftovers looks for them in comments and string literals, and in the lines of
// files that are no Go.
func noLeftovers(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		for _, f := range p.files {
			for _, group := range f.syntax.Comments {
				for _, c := range group.List {
					for _, l := range leftovers {
						if m := l.pattern.FindString(c.Text); m != "" {
							found = append(found, t.at(c, "%q %s", strings.TrimSpace(m), l.what))
						}
					}
				}
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok {
					return true
				}
				for _, l := range leftovers {
					if m := l.pattern.FindString(lit.Value); m != "" {
						found = append(found, t.at(lit, "%q %s", m, l.what))
					}
				}
				return true
			})
		}
	}
	for _, x := range t.texts {
		for i, line := range strings.Split(x.body, "\n") {
			for _, l := range leftovers {
				if m := l.pattern.FindString(line); m != "" {
					found = append(found, violation{fmt.Sprintf("%s:%d", x.name, i+1), fmt.Sprintf("%q %s", strings.TrimSpace(m), l.what)})
				}
			}
		}
	}
	return found
}
