package disk

import (
	"errors"
	"log/slog"
	"time"

	"freshet/edge/response"
)

// Config says where a store lies and how it behaves.
type Config struct {
	// Dir is the directory, made if it is missing. It belongs to the store alone.
	Dir string
	// Size is what the files in Dir take at most, in bytes, all of them counted.
	Size int64
	// SegmentSize is the size of one segment in bytes, for a new cache only: one that
	// is there keeps its own. 0: a 64th of Size, between 4 MiB and 256 MiB.
	SegmentSize int64
	Now         func() time.Time // nil: time.Now
	Log         *slog.Logger     // nil: none
	// SyncEvery is how often what was written is made durable. 0: a second.
	SyncEvery time.Duration
	// ScrubRate is how many bytes a second are read again to find rot. 0: none.
	ScrubRate int64
	// Hot reports whether the response with the low half of its key's sum is in use
	// now, so that eviction keeps it. May be nil. It must not call the store.
	Hot func(sumLo uint64) bool
}

// Store is a cache in one directory. It is a store.Store.
type Store struct{}

// Open opens the cache in a directory, or makes one in an empty or missing directory.
func Open(Config) (*Store, error) { return nil, errors.ErrUnsupported }

// Get is the response under key, nil if there is none. Its body, when longer than
// SmallBody, stays on disk.
func (s *Store) Get(key response.Key) *response.Response { return nil }

// Has reports, from the index alone, whether Get is likely to find something.
func (s *Store) Has(key response.Key) bool { return false }

// Put is Offer.
func (s *Store) Put(r *response.Response) {}

// Offer writes r if the store can and admission lets it, and reports whether Get finds
// r now. Refused are: Pass, Transient, any with Pieces, what is larger than MaxSize,
// and what is older than what is there.
func (s *Store) Offer(r *response.Response) (kept bool) { return false }

// Delete drops what stands under key, for good: it does not come back by a restart.
func (s *Store) Delete(key response.Key) {}

// MaxSize is the largest response that the store takes.
func (s *Store) MaxSize() int64 { return 0 }

// Capacity is the size of the store.
func (s *Store) Capacity() int64 { return 0 }

// Close writes what a restart needs to be warm and releases the directory. Bodies that
// were given out can be read no more.
func (s *Store) Close() {}

// Stats are the counts of a store since Open.
type Stats struct {
	Up       bool          // false once a disk error has taken the store out of service
	OpenedIn time.Duration // what Open took
	Entries  int64         // stored responses
	Bytes    int64         // what they take on disk, with their heads
	Used     int64         // what all files take, removed ones that are still read included
	Segments int64         // segments that are there

	Hits, Misses int64 // of Get
	Admitted     int64 // responses written because they were put
	Rejected     int64 // puts that admission refused
	Refused      int64 // puts that the store cannot hold, or that were older than what is there
	Evicted      int64 // responses dropped for space
	Rewritten    int64 // responses kept when their segment was evicted
	Damaged      int64 // records that failed a checksum

	AdmittedBytes  int64 // of records written because they were put
	RewrittenBytes int64 // of records written again
	WrittenBytes   int64 // all that was written: records, tombstones, headers and footers
	ScrubbedBytes  int64 // read again to find rot
}

// Stats reads the counts.
func (s *Store) Stats() Stats { return Stats{} }
