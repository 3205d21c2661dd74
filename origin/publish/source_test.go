package publish

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"freshet/origin/object"
)

func paths(s *Source) (list []string) {
	for _, f := range s.files {
		list = append(list, f.path)
	}
	return list
}

func TestOpenTree(t *testing.T) {
	dir := tree(t, map[string]string{
		"index.html": "x", "a/b.css": "x", "a/b.css.map": "x", "a/c/d.js": "x", "über.txt": "x",
		".well-known/x": "x", ".git/config": "x", "a/.git/config": "x", "empty": "",
	})
	if err := os.Symlink("../index.html", filepath.Join(dir, "a", "link.html")); err != nil {
		t.Fatal(err)
	}
	all := []string{"/.git/config", "/.well-known/x", "/a/.git/config", "/a/b.css", "/a/b.css.map", "/a/c/d.js", "/a/link.html", "/empty", "/index.html", "/über.txt"}
	for _, tt := range []struct {
		name, prefix string
		exclude      []string
		want         []string
	}{
		{"all", "", nil, all},
		{"slash as the prefix", "/", nil, all},
		{"by name, at any depth", "", []string{".git"}, []string{"/.well-known/x", "/a/b.css", "/a/b.css.map", "/a/c/d.js", "/a/link.html", "/empty", "/index.html", "/über.txt"}},
		{"several", "", []string{".*", "*.map", "empty"}, []string{"/a/b.css", "/a/c/d.js", "/a/link.html", "/index.html", "/über.txt"}},
		{"by place", "", []string{".git", "a/c/", "/a/*.map"}, []string{"/.well-known/x", "/a/.git/config", "/a/b.css", "/a/link.html", "/empty", "/index.html", "/über.txt"}},
		{"prefix", "/v1/x/", []string{".*", "a"}, []string{"/v1/x/empty", "/v1/x/index.html", "/v1/x/über.txt"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if tt.name == "by place" { // .git alone is a name: it goes everywhere
				want = slices.DeleteFunc(slices.Clone(want), func(p string) bool { return strings.Contains(p, ".git") })
			}
			if got := paths(openTree(t, dir, tt.prefix, tt.exclude...)); !slices.Equal(got, want) {
				t.Fatalf("files %q, want %q", got, want)
			}
		})
	}
}

func TestOpenTreeRefuses(t *testing.T) {
	outside := filepath.Join(tree(t, map[string]string{"secret": "x"}), "secret")
	link := func(target, name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   error
	}{
		{"absolute link", link(outside, "l"), ErrOutside},
		{"link upwards", link("../../../../../../etc/passwd", "l"), ErrOutside},
		{"link to a directory outside", link(filepath.Dir(outside), "l"), ErrOutside},
		{"link to a directory", link(".", "l"), ErrNoFile},
		{"link to nothing", link("nothing", "l"), fs.ErrNotExist},
		{"pipe", func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrNoFile},
		{"backslash", func(t *testing.T, dir string) { write(t, filepath.Join(dir, `a\b`), "x") }, object.ErrPath},
		{"line break", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a\nb"), "x") }, object.ErrPath},
		{"not UTF-8", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a\xff"), "x") }, object.ErrPath},
		{"directory that is not UTF-8", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a\xff", "b"), "x") }, object.ErrPath},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, map[string]string{"good": "x"})
			tt.change(t, dir)
			s, err := OpenTree(dir, "", nil)
			if !errors.Is(err, tt.want) || s != nil {
				t.Fatalf("got %v, %v; want %v", s, err, tt.want)
			}
		})
	}
	t.Run("every mistake at once", func(t *testing.T) {
		dir := tree(t, map[string]string{`a\b`: "x", "c\nd": "x", "e": "x"})
		_, err := OpenTree(dir, "", nil)
		if err == nil || strings.Count(err.Error(), "not allowed") != 2 {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("empty", func(t *testing.T) {
		if _, err := OpenTree(t.TempDir(), "", nil); !errors.Is(err, ErrEmpty) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		if _, err := OpenTree(outside, "", nil); err == nil {
			t.Fatal("a file was taken for a directory")
		}
	})
	t.Run("bad pattern", func(t *testing.T) {
		if _, err := OpenTree(t.TempDir(), "", []string{"[a"}); !errors.Is(err, ErrPattern) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("bad prefix", func(t *testing.T) {
		if _, err := OpenTree(filepath.Dir(outside), "/../x", nil); !errors.Is(err, object.ErrPath) {
			t.Fatalf("error %v", err)
		}
	})
}

// TestLinkSwappedAfterwards: the tree may change under our hands, but never makes us
// read what is outside.
func TestLinkSwappedAfterwards(t *testing.T) {
	outside := filepath.Join(tree(t, map[string]string{"secret": "x"}), "secret")
	dir := tree(t, map[string]string{"a": "x"})
	s := openTree(t, dir, "")
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if f, err := s.open(s.files[0]); err == nil {
		f.Close()
		t.Fatal("a file outside of the tree was opened")
	}
}

func TestOpenFile(t *testing.T) {
	dir := tree(t, map[string]string{"sub/a.txt": "abc"})
	link := filepath.Join(dir, "link")
	if err := os.Symlink("sub/a.txt", link); err != nil {
		t.Fatal(err)
	}
	s, err := OpenFile(link, "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Len() != 1 || s.files[0].size != 3 || s.files[0].path != "/x" {
		t.Fatalf("files %+v", s.files)
	}
	for name, tt := range map[string]struct {
		file, path string
		want       error
	}{
		"bad path":  {link, "/a/../b", object.ErrPath},
		"directory": {dir, "/x", ErrNoFile},
		"nothing":   {filepath.Join(dir, "none"), "/x", fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := OpenFile(tt.file, tt.path); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
		})
	}
}
