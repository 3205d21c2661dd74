package publish

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"freshet/origin/object"
)

// Errors of a Source.
var (
	ErrOutside = errors.New("the link points out of the tree")
	ErrNoFile  = errors.New("not a regular file")
	ErrEmpty   = errors.New("there are no files to push")
	ErrPattern = errors.New("bad pattern")
)

// maxMistakes is how many mistakes of a tree are listed.
const maxMistakes = 20

// Source is what is to be published: local files and the paths that they get. Its
// files are only ever opened within the tree that it was made of, whatever happens
// to that tree in the meantime.
type Source struct {
	files []file // sorted by path
	root  *os.Root
}

type file struct {
	name string // within the root
	path string // of the object
	size int64
}

// OpenTree takes all files of a directory and those below it: dir/a/b becomes
// prefix/a/b. Links to files within the tree are followed.
//
// exclude has patterns of path.Match. One without a slash excludes every file and
// directory of that name, at any depth; one with a slash is compared with the
// whole name, relative to dir.
//
// All that cannot be published is reported together, and then nothing is: links
// that leave the tree (ErrOutside), links to directories and what is no regular
// file (ErrNoFile), and names that are no legal paths (object.ErrPath). ErrEmpty,
// ErrPattern. The caller closes the Source.
func OpenTree(dir, prefix string, exclude []string) (*Source, error) {
	for _, pattern := range exclude {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return nil, fmt.Errorf("%w %q", ErrPattern, pattern)
		}
	}
	prefix = strings.TrimSuffix(prefix, "/")
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &Source{root: root}
	var mistakes []error
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case name == ".":
			return err
		case excluded(name, exclude):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case err == nil && entry.IsDir():
			// Names that fs.WalkDir could not open are refused before it tries.
			if err = object.CheckPath(prefix + "/" + name); err == nil {
				return nil
			}
		case err == nil:
			err = s.add(name, prefix+"/"+name, entry.Type())
		}
		if err == nil {
			return nil
		}
		mistakes = append(mistakes, fmt.Errorf("%q: %w", filepath.Join(dir, name), err))
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err == nil {
		err = joinMistakes(mistakes)
	}
	if err == nil && len(s.files) == 0 {
		err = fmt.Errorf("%s: %w", dir, ErrEmpty)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	slices.SortFunc(s.files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return s, nil
}

// OpenFile takes one file, which becomes the object at path. A link is followed
// wherever it leads: the caller has named it. object.ErrPath, ErrNoFile.
func OpenFile(name, objectPath string) (*Source, error) {
	if err := object.CheckPath(objectPath); err != nil {
		return nil, err
	}
	resolved, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Dir(resolved))
	if err != nil {
		return nil, err
	}
	s := &Source{root: root}
	if err := s.add(filepath.Base(resolved), objectPath, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), root.Close())
	}
	return s, nil
}

// Close releases the tree.
func (s *Source) Close() error { return s.root.Close() }

// Len is the number of files.
func (s *Source) Len() int { return len(s.files) }

// add takes one file; mode is what its directory says of it.
func (s *Source) add(name, objectPath string, mode fs.FileMode) error {
	if err := object.CheckPath(objectPath); err != nil {
		return err
	}
	info, err := s.root.Stat(name)
	link := mode&fs.ModeSymlink != 0
	switch {
	case err != nil && link && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", ErrOutside, err)
	case err != nil:
		return err
	case link && info.IsDir():
		return fmt.Errorf("%w: a link to a directory; exclude it, or put the directory in its place", ErrNoFile)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s", ErrNoFile, info.Mode().Type())
	}
	s.files = append(s.files, file{name, objectPath, info.Size()})
	return nil
}

// open opens one file, which must still have the size that it was listed with.
func (s *Source) open(f file) (io.ReadCloser, error) {
	opened, err := s.root.Open(f.name)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	if err == nil && info.Size() != f.size {
		err = errChanged
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

func excluded(name string, patterns []string) bool {
	for _, pattern := range patterns {
		subject := name
		if !strings.Contains(pattern, "/") {
			subject = path.Base(name)
		}
		// The patterns were checked: there is no other error.
		if ok, _ := path.Match(strings.Trim(pattern, "/"), subject); ok {
			return true
		}
	}
	return false
}

func joinMistakes(mistakes []error) error {
	if more := len(mistakes) - maxMistakes; more > 0 {
		mistakes = append(mistakes[:maxMistakes:maxMistakes], fmt.Errorf("and %d more", more))
	}
	return errors.Join(mistakes...)
}
