package dir

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"freshet/origin/blob"
)

func open(t *testing.T, root string) *Store {
	t.Helper()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stage(t *testing.T, s *Store, content string) blob.Staged {
	t.Helper()
	st, err := s.Stage(strings.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func commit(t *testing.T, s *Store, content string) blob.Digest {
	t.Helper()
	st := stage(t, s, content)
	if err := st.Commit(); err != nil {
		t.Fatal(err)
	}
	return st.Digest()
}

func read(t *testing.T, s *Store, d blob.Digest) string {
	t.Helper()
	f, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func walk(t *testing.T, s *Store) map[blob.Digest]bool {
	t.Helper()
	all := make(map[blob.Digest]bool)
	if err := s.Walk(t.Context(), func(d blob.Digest) error { all[d] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// unfinished is how many files are in staged/.
func unfinished(t *testing.T, s *Store) int {
	t.Helper()
	names, err := os.ReadDir(filepath.Join(s.root, stagedName))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestStoreKeepsBlobs(t *testing.T) {
	root := filepath.Join(t.TempDir(), "blobs")
	s := open(t, root)
	big := strings.Repeat("0123456789abcdef", copyBuffer/8)
	contents := []string{"", "a", "b", big}
	for _, content := range contents {
		st := stage(t, s, content)
		if st.Size() != int64(len(content)) || st.Digest() != sha256.Sum256([]byte(content)) {
			t.Fatalf("staged %d bytes as %d, %s", len(content), st.Size(), st.Digest())
		}
		if _, err := s.Open(st.Digest()); !errors.Is(err, blob.ErrNotFound) {
			t.Fatalf("a staged blob can be opened: %v", err)
		}
		if err := st.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, root)
	if got := walk(t, s); len(got) != len(contents) {
		t.Fatalf("%d blobs after reopening, want %d", len(got), len(contents))
	}
	for _, content := range contents {
		if got := read(t, s, sha256.Sum256([]byte(content))); got != content {
			t.Fatalf("a blob of %d bytes reads as %d", len(content), len(got))
		}
	}
	if unfinished(t, s) != 0 {
		t.Fatal("files are left in staged/")
	}
}

func TestStageLeavesNothingBehind(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		r    io.Reader
		max  int64
		want error
	}{
		"reader fails at once":  {iotest.ErrReader(broken), 10, broken},
		"reader fails later":    {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 10, broken},
		"one byte too many":     {strings.NewReader("0123456789a"), 10, blob.ErrTooLarge},
		"endless":               {endless{}, 10_000_000, blob.ErrTooLarge},
		"data together with it": {iotest.DataErrReader(strings.NewReader("0123456789a")), 10, blob.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			if st, err := s.Stage(tt.r, tt.max); !errors.Is(err, tt.want) || st != nil {
				t.Fatalf("got %v, %v; want %v", st, err, tt.want)
			}
			if unfinished(t, s) != 0 || len(walk(t, s)) != 0 {
				t.Fatal("something is left")
			}
		})
	}
	s := open(t, t.TempDir())
	if err := stage(t, s, "x").Discard(); err != nil {
		t.Fatal(err)
	}
	if unfinished(t, s) != 0 || len(walk(t, s)) != 0 {
		t.Fatal("something is left of a discarded blob")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestOpenClearsUnfinishedUploads(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	kept := commit(t, s, "kept")
	stage(t, s, "a crash comes before the commit")
	if unfinished(t, s) != 1 {
		t.Fatal("the staged file is not where the test looks for it")
	}
	s = open(t, root)
	if unfinished(t, s) != 0 || read(t, s, kept) != "kept" {
		t.Fatal("reopening did not clear what was unfinished, or cleared more")
	}
}

func TestCommitHealsARottedCopy(t *testing.T) {
	s := open(t, t.TempDir())
	d := commit(t, s, "content")
	if err := os.WriteFile(s.path(d), []byte("c0ntent"), 0o640); err != nil {
		t.Fatal(err)
	}
	if commit(t, s, "content") != d || read(t, s, d) != "content" {
		t.Fatal("the rotted copy stays")
	}
}

func TestRemoved(t *testing.T) {
	s := open(t, t.TempDir())
	d := commit(t, s, "content")
	f, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // the second time it is not there any more
		if err := s.Remove(d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Open(d); !errors.Is(err, blob.ErrNotFound) {
		t.Fatalf("error %v, want ErrNotFound", err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil || b.String() != "content" {
		t.Fatalf("what was open reads %q, %v", b.String(), err)
	}
}

func TestWalk(t *testing.T) {
	s := open(t, t.TempDir())
	d := commit(t, s, "content")
	// A foreign file is neither reported nor touched.
	foreign := filepath.Join(filepath.Dir(s.path(d)), "lost+found")
	if err := os.WriteFile(foreign, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if got := walk(t, s); len(got) != 1 || !got[d] {
		t.Fatalf("walk found %v", got)
	}
	stop := errors.New("stop")
	if err := s.Walk(t.Context(), func(blob.Digest) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("error %v, want the function's", err)
	}
}
