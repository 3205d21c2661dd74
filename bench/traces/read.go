package traces

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// Read reads a trace. Formats:
//
//	csv  libCacheSim's: one request a line, fields between commas, tabs, bars or colons.
//	     With a line of names the columns are found by these (time; id, obj_id, object_id,
//	     key or lbn; size or obj_size), else they are time, id, size. CSV says otherwise.
//	txt  libCacheSim's plain text: one object ID a line, all of one size.
//	lrb  LRB's: time, id and size between spaces, then features, which are ignored.
//
// An ID that is no number stands for its hash.
func Read(from io.Reader, format string) (Source, error) {
	switch format {
	case "csv":
		return CSV(from, Columns{})
	case "txt":
		return Text(from), nil
	case "lrb":
		return LRB(from), nil
	}
	return nil, fmt.Errorf("format %q: want csv, txt or lrb", format)
}

// Columns says where the fields of a request stand in a line, counted from 1. All zero:
// found by their names, or 1, 2, 3.
type Columns struct{ Time, ID, Size int }

// CSV reads libCacheSim's csv format. It fails when the first line tells no columns.
func CSV(from io.Reader, columns Columns) (Source, error) {
	l := newLines(from)
	first, err := l.next()
	if err == io.EOF {
		return sourceFunc(func() (Request, error) { return Request{}, io.EOF }), nil
	}
	if err != nil {
		return nil, err
	}
	head := string(first)
	delimiter := delimiterOf(head)
	names := strings.Split(head, delimiter)
	titled := isTitle(names)
	switch {
	case columns != Columns{}:
	case titled:
		if columns = columnsOf(names); columns.ID == 0 || columns.Size == 0 {
			return nil, l.errorf("no columns of ids and sizes among %q", clip(head))
		}
	default:
		columns = Columns{Time: 1, ID: 2, Size: 3}
	}
	if columns.Time < 0 || columns.ID < 1 || columns.Size < 0 {
		return nil, fmt.Errorf("trace: columns %+v: they count from 1, and there must be one of ids", columns)
	}
	pending := !titled
	return sourceFunc(func() (Request, error) {
		line := head
		if !pending {
			b, err := nextFilled(l)
			if err != nil {
				return Request{}, err
			}
			line = string(b)
		}
		pending = false
		return columns.parse(l, line, delimiter)
	}), nil
}

// delimiterOf is the one that libCacheSim would detect: the most frequent in the line,
// rarer characters counted more.
func delimiterOf(line string) string {
	best, most := ",", 0
	for i, d := range []string{"\t", ",", "|", ":"} {
		if n := strings.Count(line, d) * (4 - i); n > most {
			best, most = d, n
		}
	}
	return best
}

// isTitle: no field of a line of names is a number.
func isTitle(fields []string) bool {
	for _, f := range fields {
		if _, err := strconv.ParseFloat(strings.TrimSpace(f), 64); err == nil {
			return false
		}
	}
	return true
}

func columnsOf(names []string) (c Columns) {
	for i, name := range names {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "time", "timestamp", "ts", "real_time", "clock_time":
			c.Time = i + 1
		case "id", "obj_id", "object_id", "obj-id", "object", "key", "lbn":
			c.ID = i + 1
		case "size", "obj_size", "object_size", "obj-size":
			c.Size = i + 1
		}
	}
	return c
}

func (c Columns) parse(l *lines, line, delimiter string) (Request, error) {
	r := Request{Size: 1}
	fields := strings.Split(line, delimiter)
	if need := max(c.Time, c.ID, c.Size); len(fields) < need {
		return r, l.errorf("%d fields in %q: want at least %d", len(fields), clip(line), need)
	}
	var err error
	if c.Time > 0 {
		if r.Time, err = parseTime(fields[c.Time-1]); err != nil {
			return r, l.errorf("time: %w", err)
		}
	}
	if c.Size > 0 {
		if r.Size, err = parseSize(fields[c.Size-1]); err != nil {
			return r, l.errorf("size: %w", err)
		}
	}
	if r.ID, err = parseID(fields[c.ID-1]); err != nil {
		return r, l.errorf("id: %w", err)
	}
	return r, nil
}

// Text reads libCacheSim's plain text: every object has the size 1.
func Text(from io.Reader) Source {
	l := newLines(from)
	return sourceFunc(func() (Request, error) {
		line, err := nextFilled(l)
		if err != nil {
			return Request{}, err
		}
		id, err := parseID(string(line))
		if err != nil {
			return Request{}, l.errorf("id: %w", err)
		}
		return Request{Time: int64(l.number), ID: id, Size: 1}, nil
	})
}

// LRB reads the text format of LRB's simulator.
func LRB(from io.Reader) Source {
	l := newLines(from)
	return sourceFunc(func() (Request, error) {
		line, err := nextFilled(l)
		if err != nil {
			return Request{}, err
		}
		fields := strings.Fields(string(line))
		if len(fields) < 3 {
			return Request{}, l.errorf("%d fields in %q: want time, id and size", len(fields), clip(string(line)))
		}
		return Columns{1, 2, 3}.parse(l, strings.Join(fields[:3], " "), " ")
	})
}

// nextFilled is the next line that is not empty.
func nextFilled(l *lines) ([]byte, error) {
	for {
		line, err := l.next()
		if err != nil || len(line) > 0 {
			return line, err
		}
	}
}

// parseTime takes whole and broken seconds.
func parseTime(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1<<62 {
		return 0, fmt.Errorf("%q is no time", clip(s))
	}
	return int64(f), nil
}

func parseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > MaxObject {
		return 0, fmt.Errorf("%q is no size between 0 and %d", clip(s), int64(MaxObject))
	}
	return n, nil
}

func parseID(s string) (uint64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, fmt.Errorf("empty")
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil
	}
	return xxh3.HashString(s), nil
}

// clip is s as an error shows it.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
