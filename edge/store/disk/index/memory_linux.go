//go:build linux && !race

package index

import "golang.org/x/sys/unix"

// systemRemap makes a mapping out of old, which ends: it begins with the same bytes and goes on
// with zeros. The system moves pages and copies nothing. With an error old stays.
func systemRemap(old []byte, size int) ([]byte, error) {
	if old == nil {
		return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	}
	return unix.Mremap(old, size, unix.MREMAP_MAYMOVE)
}

// unmap gives back what systemRemap gave; no such mapping fails to go.
func unmap(b []byte) { _ = unix.Munmap(b) }
