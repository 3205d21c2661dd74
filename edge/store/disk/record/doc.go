// Package record is the format of a disk store: the superblock of a directory, the
// header, footer and trailer of a segment, and records, each a stored response or the
// tombstone of one. It works on bytes alone. What it reads is not trusted: lengths are
// bounded and checked before they are used, and whatever is not as it was written gives
// an error.
//
// A directory holds the superblock and segments:
//
//	freshet-cache       Superblock
//	00000001.segment    0 +----------------------+
//	...                   | SegmentHeader        |
//	                   64 +----------------------+
//	                      | record               |  at multiples of Align
//	                      | record ...           |
//	                      +----------------------+
//	                      | zeros                |
//	                      +----------------------+  once it is sealed:
//	                      | footer: Entry ...    |
//	                      +----------------------+
//	                      | Trailer              |  the last 64 bytes of the file
//	                      +----------------------+
//
// Everything carries the id of the cache, which is random: neither a file of another
// cache nor a body that looks like a record is taken for one.
package record
