package header

import (
	"fmt"
	"strings"
)

// Parse makes a block of the bytes that Wire of an equal one gave; it keeps none of
// them. Every field is checked as Add checks it, and the bytes must be exactly those that
// Wire gives: ErrMalformed or ErrTooLarge when not.
func Parse(wire []byte) (*Block, error) {
	if len(wire) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(wire))
	}
	text := string(wire) // once, for all names and values
	// Values hold no line end: there are as many fields as line ends, or it is malformed.
	count := strings.Count(text, "\r\n")
	if count > MaxFields {
		return nil, fmt.Errorf("%w: %d fields", ErrTooLarge, count)
	}
	b := new(Block)
	b.grow(len(text), count)
	for text != "" {
		line, rest, ended := strings.Cut(text, "\r\n")
		name, value, separated := strings.Cut(line, ": ")
		if !ended || !separated {
			return nil, fmt.Errorf("%w: bad line %q", ErrMalformed, clip(line))
		}
		if err := b.Add(name, value); err != nil {
			return nil, err
		}
		text = rest
	}
	return b, nil
}
