//go:build !linux || race

package index

import "errors"

// systemRemap leaves all to the Go heap, other than which the race detector watches nothing.
func systemRemap([]byte, int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmap([]byte) {}
