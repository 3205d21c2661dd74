package traces

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxLine is the longest line of a trace that is read, in bytes.
const maxLine = 64 << 10

// MaxObject is the largest size of an object that a trace may name: 1 TiB.
const MaxObject = 1 << 40

// lines reads the lines of a text, each at most maxLine long, and knows their numbers.
type lines struct {
	from   *bufio.Reader
	number int // of the last line read, from 1
}

func newLines(from io.Reader) *lines { return &lines{from: bufio.NewReaderSize(from, maxLine+2)} }

// next is the next line without its end, valid until the following call; io.EOF after
// the last one.
func (l *lines) next() ([]byte, error) {
	line, err := l.from.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		l.number++
		return nil, l.errorf("longer than %d bytes", maxLine)
	case errors.Is(err, io.EOF) && len(line) == 0:
		return nil, io.EOF
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("trace: read line %d: %w", l.number+1, err)
	}
	l.number++
	line = trimEnd(line)
	if len(line) > maxLine {
		return nil, l.errorf("longer than %d bytes", maxLine)
	}
	return line, nil
}

func trimEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// errorf is an error of the last line read.
func (l *lines) errorf(format string, args ...any) error {
	return fmt.Errorf("trace: line %d: %w", l.number, fmt.Errorf(format, args...))
}
