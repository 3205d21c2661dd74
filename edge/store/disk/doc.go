// Package disk is the store of responses in one directory of a disk: segments that are
// only ever appended to, and an index in RAM that says where the last record of each key
// lies. Package record has the format, package index the index.
//
//	put ──> cold segment ──full──> sealed ──evicted──> removed
//	                                 │ what is worth it
//	                                 └──> hot segment ──full──> sealed ...
//
// Get reads the record that the index names, and believes only what the record says: its
// whole key, and checksums of its head and body. A body of more than SmallBody stays on
// disk; its checksum is compared when it is first opened since the store was, and after
// that the kernel may copy it to a socket. An open reader pins its segment's file, whose
// room counts as used until then, though it has no name any more.
//
// Size is exact: a segment is made only when there is room for all of it, and is of one
// size for ever. For that a goroutine evicts before the next segment is needed. A put
// that comes faster than the disk evicts waits; one that no room can be made for, because
// readers pin what was evicted, is refused.
//
// What a restart must not get wrong, however the process ended:
//
//   - Each put has a number, which its record keeps when it is rewritten. Of the records
//     of a key the highest number counts. Whatever changes where a key points, or
//     appends, holds one lock, so the numbers rise in the order of the index's changes.
//   - A tombstone stands for a delete, and for an eviction or a loss if an older record of
//     the key may be left. It hides what has its number or a lower one. It is rewritten
//     when its segment is evicted, for as long as something may be left to be hidden. Each
//     segment has a filter of its keys, and its lowest put number, to tell.
//   - What eviction writes is durable before the segment is removed, and that it is
//     removed is durable before its room is used.
//   - A segment that was not sealed is read record by record. What lies behind the first
//     one that is torn is cut off, durably, before anything is appended.
//
// What was put or deleted is durable within Config.SyncEvery. Any error of the disk takes
// the store out of service: it holds nothing then, and the process goes on without it. A
// record that is not what was written is dropped and counted, no more.
package disk
