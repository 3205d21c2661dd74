package disk

import (
	"sync/atomic"
	"time"

	"freshet/edge/store/disk/record"
)

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
	Refused      int64 // puts that the store cannot hold or has no room for, or older than what is there
	Evicted      int64 // responses dropped for space
	Rewritten    int64 // responses kept when their segment was evicted
	Damaged      int64 // records that failed a checksum

	AdmittedBytes  int64 // of records written because they were put
	RewrittenBytes int64 // of records written again
	WrittenBytes   int64 // all that was written: records, tombstones, headers and footers
	ScrubbedBytes  int64 // read again to find rot

	IndexBytes int64 // RAM that the index takes
}

// counts are the running counts behind Stats.
type counts struct {
	hits, misses                                         atomic.Int64
	admitted, rejected, refused                          atomic.Int64
	evicted, rewritten, damaged                          atomic.Int64
	admittedBytes, rewrittenBytes, written, scrubbedByte atomic.Int64
}

// Stats reads the counts.
func (s *Store) Stats() Stats {
	c := &s.counts
	st := Stats{
		Up: s.up.Load(), OpenedIn: s.openedIn,
		Used: s.used.Load() + record.SuperblockSize,
		Hits: c.hits.Load(), Misses: c.misses.Load(),
		Admitted: c.admitted.Load(), Rejected: c.rejected.Load(), Refused: c.refused.Load(),
		Evicted: c.evicted.Load(), Rewritten: c.rewritten.Load(), Damaged: c.damaged.Load(),
		AdmittedBytes: c.admittedBytes.Load(), RewrittenBytes: c.rewrittenBytes.Load(),
		WrittenBytes: c.written.Load(), ScrubbedBytes: c.scrubbedByte.Load(),
	}
	for _, g := range s.table() {
		st.Segments++
		if st.Up {
			st.Bytes += g.live.Load()
		}
	}
	if st.Up {
		st.Entries, st.IndexBytes = s.index.Len(), s.index.Bytes()
	}
	return st
}
