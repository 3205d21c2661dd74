// Package blob is the contract for where an origin keeps bytes: blobs that are
// addressed by the SHA-256 of their content and never change. Package dir keeps
// them as files of a directory.
//
// A blob knows nothing of sites and paths, and a Store removes nothing by itself:
// which blobs are still needed is for package depot to say.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Errors that a Store returns, possibly wrapped.
var (
	ErrNotFound = errors.New("no such blob")        // nothing is stored under the digest
	ErrTooLarge = errors.New("blob is too large")   // the reader had more bytes than were allowed
	ErrFull     = errors.New("blob store is full")  // no space is left for it
	ErrDigest   = errors.New("not a SHA-256 value") // ParseDigest: not 64 hexadecimal digits
)

// Digest is the SHA-256 of a blob's content: its address.
type Digest [sha256.Size]byte

// ParseDigest reads 64 lower-case hexadecimal digits. ErrDigest.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != hex.EncodedLen(len(d)) {
		return Digest{}, fmt.Errorf("%w: it has %d characters", ErrDigest, len(s))
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Digest{}, fmt.Errorf("%w: %q is no lower-case hexadecimal digit", ErrDigest, c)
		}
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("%w: %w", ErrDigest, err)
	}
	return d, nil
}

// String prints 64 lower-case hexadecimal digits, as sha256sum does.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText is String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDigest.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}

// Store keeps blobs. It may be used from any goroutine.
type Store interface {
	// Stage reads r to its end into the store, but not yet under its address, and
	// returns what it has read, synced to stable storage. ErrTooLarge after max
	// bytes, ErrFull, or the error of r; nothing of it is left then.
	Stage(r io.Reader, max int64) (Staged, error)

	// Open gives a blob's content, from its start. What was opened stays readable
	// until it is closed, even when the blob is removed. ErrNotFound.
	Open(d Digest) (io.ReadSeekCloser, error)

	// Remove forgets a blob. Removing what is not there is no error.
	Remove(d Digest) error

	// Walk calls fn for every blob that is there during the whole walk, in no
	// promised order, until fn returns an error, which it returns.
	Walk(ctx context.Context, fn func(Digest) error) error
}

// Staged is a blob that has been read but does not stand under its address yet. It
// is for one goroutine. Exactly one of Commit and Discard ends it.
type Staged interface {
	Digest() Digest
	Size() int64
	// Commit puts the blob under its address and returns when that is durable. A blob
	// that is there already is replaced by these bytes, which are the same but fresh
	// from the wire: a copy that has rotted is healed. After an error the blob may
	// or may not stand under its address.
	Commit() error
	// Discard removes it.
	Discard() error
}
