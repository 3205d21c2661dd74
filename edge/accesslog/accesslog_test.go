package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLog(t *testing.T) *Log {
	t.Helper()
	l, _ := newLogTold(t)
	return l
}

// newLogTold also gives what the log tells who runs the node.
func newLogTold(t *testing.T) (*Log, *bytes.Buffer) {
	t.Helper()
	told := new(bytes.Buffer)
	l, err := New(Config{
		File: filepath.Join(t.TempDir(), "access.log"), Metrics: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(told, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.out.Close() })
	return l, told
}

// running runs a log until the function that it returns is called.
func running(l *Log) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() {
		cancel()
		<-done
	}
}

func read(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	return lines[:len(lines)-1]
}

func TestEveryLineIsWrittenInItsOrder(t *testing.T) {
	l := newLog(t)
	stop := running(l)
	const writers, lines = 8, 5000
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range lines {
				for testutil.ToFloat64(l.metrics.dropped) == 0 && len(l.full) > pieces/2 {
					<-time.After(time.Millisecond) // the disk of this machine may be slow
				}
				l.Add(fmt.Appendf(nil, "%d %05d %s\n", w, i, strings.Repeat("x", i%300)))
			}
		})
	}
	group.Wait()
	stop()
	got := read(t, l.cfg.File)
	if len(got) != writers*lines {
		t.Fatalf("%d lines, want %d", len(got), writers*lines)
	}
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	for i, line := range got {
		if want := fmt.Sprintf("%d %05d %s\n", i/lines, i%lines, strings.Repeat("x", i%lines%300)); line != want {
			t.Fatalf("line %d is %q, want %q", i, line, want)
		}
	}
	if n := testutil.ToFloat64(l.metrics.lines); n != writers*lines || testutil.ToFloat64(l.metrics.dropped) != 0 {
		t.Errorf("%v lines counted, %v dropped", n, testutil.ToFloat64(l.metrics.dropped))
	}
}

func TestALineIsWrittenSoonAndAFileThatWasRotatedIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		defer running(l)()
		l.Add([]byte("first\n"))
		time.Sleep(2 * flushEvery)
		old := l.cfg.File + ".1"
		if err := os.Rename(l.cfg.File, old); err != nil {
			t.Fatal(err)
		}
		l.Add([]byte("still the old file\n"))
		time.Sleep(flushEvery + lookEvery)
		l.Add([]byte("second\n"))
		time.Sleep(2 * flushEvery)
		if got := read(t, old); got[0] != "first\n" || len(got) > 2 {
			t.Errorf("the old file has %q", got)
		}
		if got := read(t, l.cfg.File); got[len(got)-1] != "second\n" {
			t.Errorf("the new file has %q", got)
		}
		if err := os.Remove(l.cfg.File); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		l.Add([]byte("third\n"))
		time.Sleep(2 * flushEvery)
		if got := read(t, l.cfg.File); len(got) != 1 || got[0] != "third\n" {
			t.Errorf("after it was deleted the file has %q", got)
		}
	})
}

// faulty is a file under a test's control.
type faulty struct {
	written bytes.Buffer
	write   func(p []byte) (int, error) // nil: into written
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.write != nil {
		return f.write(p)
	}
	return f.written.Write(p)
}

func (*faulty) Close() error { return nil }

func TestAStandingDiskStopsNobodyAndWhatIsLeftOutIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		goes := make(chan struct{})
		f := &faulty{}
		f.write = func(p []byte) (int, error) {
			<-goes
			return f.written.Write(p)
		}
		l.out.Close()
		l.out, l.cfg.File = f, Stdout // which is not looked after
		stop := running(l)
		line := append(bytes.Repeat([]byte("x"), 999), '\n')
		const n = 2 * pieces * pieceSize / 1000
		for range n {
			l.Add(line)
		}
		dropped := int(testutil.ToFloat64(l.metrics.dropped))
		if held := (n - dropped) * len(line); held > pieces*pieceSize || held < (pieces-2)*pieceSize {
			t.Errorf("%d bytes are held", held)
		}
		close(goes)
		time.Sleep(2 * flushEvery)
		l.Add([]byte("after\n"))
		stop()
		got := f.written.String()
		if want := strings.Repeat(string(line), n-dropped) + "after\n"; got != want {
			t.Errorf("%d bytes were written, want %d", len(got), len(want))
		}
		if lines := testutil.ToFloat64(l.metrics.lines); int(lines) != n-dropped+1 {
			t.Errorf("%v lines counted, %d dropped of %d", lines, dropped, n)
		}
	})
}

func TestAnErrorIsToldOnceAndTheLogComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, told := newLogTold(t)
		l.out.Close()
		f := &faulty{}
		l.out, l.cfg.File = f, Stdout
		defer running(l)()
		add := func(text string) {
			l.Add([]byte(text + " 1\n" + text + " 2\n"))
			time.Sleep(2 * flushEvery)
			synctest.Wait()
		}
		add("before")
		full := errors.New("no space left")
		f.write = func(p []byte) (int, error) { // as far as it goes
			n, _ := f.written.Write(p[:len(p)-3])
			return n, full
		}
		add("torn")
		f.write = func([]byte) (int, error) { return 0, full }
		add("lost")
		f.write = nil
		add("after")
		const want = "before 1\nbefore 2\ntorn 1\ntorn\nafter 1\nafter 2\n"
		if got := f.written.String(); got != want {
			t.Errorf("the file has %q, want %q", got, want)
		}
		if n := testutil.ToFloat64(l.metrics.dropped); n != 3 {
			t.Errorf("%v lines dropped, want 3", n)
		}
		if got := told.String(); strings.Count(got, "level=ERROR") != 1 || strings.Count(got, "level=INFO") != 1 || !strings.Contains(got, "no space left") {
			t.Errorf("the node was told %s", got)
		}
	})
}

func TestAFileThatCannotBeOpenedAnyMoreIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, told := newLogTold(t)
		defer running(l)()
		dir := filepath.Dir(l.cfg.File)
		away := dir + ".away"
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * lookEvery)
		synctest.Wait()
		if got := told.String(); strings.Count(got, "level=ERROR") != 1 {
			t.Errorf("the node was told %s", got)
		}
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		l.Add([]byte("again\n"))
		time.Sleep(2 * flushEvery)
		synctest.Wait()
		if got := read(t, l.cfg.File); !slices.Equal(got, []string{"again\n"}) {
			t.Errorf("the file has %q", got)
		}
	})
}

func TestTheEndWaitsForNobodyWhoHasStoppedReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, told := newLogTold(t)
		goes := make(chan struct{})
		l.out.Close()
		l.out, l.cfg.File = &faulty{write: func(p []byte) (int, error) { <-goes; return len(p), nil }}, Stdout
		l.Add([]byte("never read\n"))
		stop := running(l)
		time.Sleep(2 * flushEvery)
		began := time.Now()
		stop()
		if took := time.Since(began); took != endLimit || !strings.Contains(told.String(), "does not take its last lines") {
			t.Errorf("the end took %v; %s", took, told)
		}
		close(goes)
	})
}

func TestStandardOutputWithoutAReaderIsAnErrorAndNoSignal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	l, err := New(Config{File: Stdout, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l.put([]byte("read\n"))
	w.Close()
	if p := make([]byte, 5); true {
		if _, err := io.ReadFull(r, p); err != nil || string(p) != "read\n" {
			t.Errorf("%q, %v", p, err)
		}
	}
	r.Close()
	if l.put([]byte("nobody reads this\n")); !l.down || testutil.ToFloat64(l.metrics.dropped) != 1 {
		t.Errorf("down %v, %v dropped", l.down, testutil.ToFloat64(l.metrics.dropped))
	}
	l.out.Close()
}
