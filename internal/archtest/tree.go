// Package archtest is the rules of the house as code: which package may import
// which, and how things are written. A rule is a function over the parsed source
// tree; the package's test runs every rule over this repository, and shows of every
// rule that it can fail.
//
// When a rule stands in the way of something better, change the rule: here, in its
// table, in the same change.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the path of the repository's Go module.
const module = "freshet"

// violation is one place where a rule is broken.
type violation struct {
	where string // file:line, or a package
	what  string // what is wrong, and what would be right
}

func (v violation) String() string { return v.where + ": " + v.what }

// rule finds every place where it is broken.
type rule func(t *tree) []violation

// tree is the source of the module. It is parsed, not type-checked, so that it is
// read in a moment and does not depend on build tags.
type tree struct {
	fset     *token.FileSet
	packages []*pkg // sorted by path
	texts    []text // files that are no Go, sorted by path
}

// pkg is the Go files of one directory.
type pkg struct {
	path  string // below the module: "edge/store"; "" for the root
	files []*file
}

// file is one parsed Go file.
type file struct {
	name   string // path below the module
	syntax *ast.File
	lines  int
	test   bool // _test.go
	made   bool // "Code generated … DO NOT EDIT."
}

// text is a file that is no Go.
type text struct{ name, body string }

// textKinds are the kinds of other files that the rules look at.
var textKinds = []string{".md", ".sh", ".yaml", ".yml", ".json", ".html", ".css", ".js", ".mod"}

// readTree reads a module from its root. Hidden directories, testdata and
// node_modules are left out, as the go command does.
func readTree(root fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	byPath := map[string]*pkg{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		kind := path.Ext(name)
		if kind != ".go" && base != "Makefile" && !slices.Contains(textKinds, kind) {
			return nil
		}
		body, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		if kind != ".go" {
			t.texts = append(t.texts, text{name, string(body)})
			return nil
		}
		syntax, err := parser.ParseFile(t.fset, name, body, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := strings.TrimPrefix(path.Dir(name), ".")
		if byPath[dir] == nil {
			byPath[dir] = &pkg{path: dir}
			t.packages = append(t.packages, byPath[dir])
		}
		byPath[dir].files = append(byPath[dir].files, &file{
			name:   name,
			syntax: syntax,
			lines:  t.fset.File(syntax.FileStart).LineCount(),
			test:   strings.HasSuffix(name, "_test.go"),
			made:   ast.IsGenerated(syntax),
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the source tree: %w", err)
	}
	slices.SortFunc(t.packages, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })
	return t, nil
}

// at is a violation at a place in a Go file.
func (t *tree) at(n ast.Node, format string, args ...any) violation {
	return t.atPos(n.Pos(), format, args...)
}

func (t *tree) atPos(pos token.Pos, format string, args ...any) violation {
	p := t.fset.Position(pos)
	return violation{fmt.Sprintf("%s:%d", p.Filename, p.Line), fmt.Sprintf(format, args...)}
}

// name is the package's path, or what stands for the root.
func (p *pkg) name() string {
	if p.path == "" {
		return "the root"
	}
	return p.path
}

// support tells whether the package exists for tests: a suite or a helper, whose
// name ends in "test".
func (p *pkg) support() bool { return strings.HasSuffix(p.path, "test") }

// has tells whether the package has a file of that name.
func (p *pkg) has(base string) bool {
	return slices.ContainsFunc(p.files, func(f *file) bool { return path.Base(f.name) == base })
}

// imports calls visit with each import of f.
func (f *file) imports(visit func(spec *ast.ImportSpec, path string)) {
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			visit(spec, p)
		}
	}
}

// local is the name under which f imports a package, "" if it does not.
func (f *file) local(importPath string) string {
	name := ""
	f.imports(func(spec *ast.ImportSpec, p string) {
		if p != importPath {
			return
		}
		name = path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
	})
	return name
}

// called is the name of the function of the package that f imports as local which
// n calls, "" if it calls none.
func called(n ast.Node, local string) string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	return selected(call.Fun, local)
}

// selected is Name of the expression local.Name, "" if n is none.
func selected(n ast.Node, local string) string {
	selector, ok := n.(*ast.SelectorExpr)
	if !ok || local == "" {
		return ""
	}
	if x, ok := selector.X.(*ast.Ident); !ok || x.Name != local {
		return ""
	}
	return selector.Sel.Name
}

// under tells whether a path matches a pattern: itself, or with "/..." at the end
// itself and all below it. "..." matches everything.
func under(p, pattern string) bool {
	base, all := strings.CutSuffix(pattern, "...")
	if !all {
		return p == pattern
	}
	base = strings.TrimSuffix(base, "/")
	return base == "" || p == base || strings.HasPrefix(p, base+"/")
}

// underAny tells whether a path matches one of the patterns.
func underAny(p string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return under(p, pattern) })
}
