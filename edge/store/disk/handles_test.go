package disk

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"freshet/edge/response"
	"freshet/internal/files"
)

// reopening counts how often files are opened once more for the kernel to copy from.
type reopening struct {
	files.FS
	n *atomic.Int64
}

func (l reopening) OpenFile(name string, flag int, perm fs.FileMode) (files.File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	return reopeningFile{f, l.n}, err
}

type reopeningFile struct {
	files.File
	n *atomic.Int64
}

func (f reopeningFile) Reopen() (*os.File, error) {
	f.n.Add(1)
	return f.File.Reopen()
}

// kernel is a writer that open files are handed to.
type kernel struct{ bytes.Buffer }

// A file that was opened for the kernel to copy from is used again, however often.
func TestOpenFilesAreUsedAgain(t *testing.T) {
	var n atomic.Int64
	s := mustOpen(t, Config{Dir: filepath.Join(t.TempDir(), "cache"), FS: reopening{files.OS, &n}, Size: 8 << 20, SegmentSize: 1 << 20, Log: testLog(t)})
	defer s.Close()
	const size = 200_000
	if !put(t, s, "k", 1, size) {
		t.Fatal("not kept")
	}
	for range 5 * maxIdleHandles {
		body, err := s.Get(response.NewKey("k")).Body.Open(0, size)
		if err != nil {
			t.Fatal(err)
		}
		var to kernel
		if _, err := body.(io.WriterTo).WriteTo(&to); err != nil || !bytes.Equal(to.Bytes(), content("k", 1, size)) {
			t.Fatalf("%d bytes, %v", to.Len(), err)
		}
		body.Close()
	}
	if n.Load() != 1 {
		t.Errorf("the file was opened %d times for one reader after the other", n.Load())
	}
}
