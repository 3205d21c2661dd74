package traces

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Write writes all of src in a format that Read reads: csv with a line of names, txt
// (which loses times and sizes) or lrb. For use with other simulators.
func Write(to io.Writer, src Source, format string) error {
	var title, line string
	switch format {
	case "csv":
		title, line = "time,obj_id,obj_size\n", "%d,%d,%d\n"
	case "txt":
		line = "%[2]d\n"
	case "lrb":
		line = "%d %d %d\n"
	default:
		return fmt.Errorf("format %q: want csv, txt or lrb", format)
	}
	w := bufio.NewWriter(to)
	if _, err := w.WriteString(title); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	for {
		r, err := src.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		args := []any{r.Time, r.ID, r.Size}
		if format == "txt" {
			args = args[:2]
		}
		if _, err := fmt.Fprintf(w, line, args...); err != nil {
			return fmt.Errorf("write trace: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	return nil
}
