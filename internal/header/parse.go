package header

import (
	"bytes"
	"fmt"
)

var (
	lineEnd   = []byte("\r\n")
	separator = []byte(": ")
)

// Parse makes a block of the bytes that Wire of an equal one gave; it keeps none of
// them. Every field is checked as Add checks it, and the bytes must be exactly those that
// Wire gives: ErrMalformed or ErrTooLarge when not.
func Parse(wire []byte) (*Block, error) {
	if len(wire) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(wire))
	}
	// Values hold no line feed: there are as many fields as line feeds, or it is malformed.
	count := bytes.Count(wire, lineEnd)
	if count > MaxFields {
		return nil, fmt.Errorf("%w: %d fields", ErrTooLarge, count)
	}
	b := new(Block)
	b.grow(len(wire), count)
	for rest := wire; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, lineEnd)
		name, value, separated := bytes.Cut(line, separator)
		if !ended || !separated {
			return nil, fmt.Errorf("%w: bad line %q", ErrMalformed, clip(string(line)))
		}
		if err := b.Add(string(name), string(value)); err != nil {
			return nil, err
		}
		rest = after
	}
	return b, nil
}
