// Package accesslog writes a line of JSON for each request that an edge answered. Lines
// are gathered in RAM and written by one goroutine in large pieces: a request never waits
// for the disk. When that is too slow, lines are left out and counted.
package accesslog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of what is held, and how long. With them a disk may stand still for the time
// in which 4 MiB of lines come: some 10,000 requests. A piece is written while it still
// lies in the CPU's cache.
const (
	pieceSize  = 64 << 10 // bytes that are written at once
	pieces     = 64
	pieceRoom  = 2 * pieceSize          // for a line alone, however long: see TestTheLongestLineHasRoom
	flushEvery = 250 * time.Millisecond // then less is written, too
	lookEvery  = time.Second            // whether the file is still there
	endLimit   = 2 * time.Second        // that the last lines may take at the end
)

// Stdout is the File of Config for standard output.
const Stdout = "-"

// Config says where lines go.
type Config struct {
	File    string // opened for appending, made if it is missing; or Stdout
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Log takes lines. It may be used from any goroutine, before, while and after it runs.
type Log struct {
	cfg     Config
	metrics metrics
	full    chan []byte // pieces to be written, in their order
	free    chan []byte // pieces to be used again

	mu struct {
		sync.Mutex
		piece []byte // being filled
		made  int    // pieces there are
	}

	// Of the goroutine that writes.
	out  io.WriteCloser
	at   os.FileInfo // of out, nil for standard output
	torn bool        // out ends within a line
	down bool        // out failed, and who runs this node has been told
}

// New opens the log. It fails when the file cannot be written to.
func New(cfg Config) (*Log, error) {
	l := &Log{cfg: cfg, full: make(chan []byte, pieces), free: make(chan []byte, pieces)}
	l.mu.piece, l.mu.made = make([]byte, 0, pieceRoom), 1
	if err := l.open(); err != nil {
		return nil, err
	}
	if err := l.metrics.register(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("metrics of the access log: %w", err)
	}
	return l, nil
}

// Add adds a line, which must end with a line feed. It copies it, and does not block: where
// there is no room the line is left out.
func (l *Log) Add(line []byte) {
	l.mu.Lock()
	kept := len(l.mu.piece)+len(line) <= pieceSize || l.next() && len(line) <= pieceRoom
	if kept {
		l.mu.piece = append(l.mu.piece, line...)
	}
	l.mu.Unlock()
	if !kept {
		l.metrics.dropped.Inc()
	}
}

// next hands the piece that is being filled over to be written, and begins another. It
// reports false where all pieces wait to be written. The caller holds the lock.
func (l *Log) next() bool {
	if len(l.mu.piece) == 0 {
		return true
	}
	var piece []byte
	select {
	case piece = <-l.free:
	default:
		if l.mu.made == pieces {
			return false
		}
		piece = make([]byte, 0, pieceRoom)
		l.mu.made++
	}
	l.full <- l.mu.piece // there is room for all pieces there are
	l.mu.piece = piece
	return true
}

// Run writes until ctx ends, then the rest, and closes the log. What comes later is left
// out.
func (l *Log) Run(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run(ctx)
	}()
	<-ctx.Done()
	select {
	case <-ended:
	case <-time.After(endLimit):
		// Whoever reads our standard output has stopped: the process must not wait for it.
		l.cfg.Log.Warn("access log does not take its last lines")
	}
	return nil
}

func (l *Log) run(ctx context.Context) {
	flush, look := time.NewTicker(flushEvery), time.NewTicker(lookEvery)
	defer flush.Stop()
	defer look.Stop()
	for {
		select {
		case piece := <-l.full:
			l.put(piece)
		case <-flush.C:
			l.flush()
		case <-look.C:
			l.look()
		case <-ctx.Done():
			l.flush()
			if l.out != nil {
				l.out.Close()
			}
			return
		}
	}
}

// flush writes all that there is.
func (l *Log) flush() {
	l.mu.Lock()
	l.next() // where it cannot, there is enough to write
	l.mu.Unlock()
	for {
		select {
		case piece := <-l.full:
			l.put(piece)
		default:
			return
		}
	}
}
