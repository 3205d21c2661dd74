// Package journal keeps on disk what an invalidate.Table knows, so that what was
// purged stays so when a node with stored responses on disk starts again. It is one
// file that is only appended to, in one directory of the node, and from time to time
// written anew. What its files may take is bounded, to the byte: a table forgets before
// there is more to write than that, and a file that is full is written anew at once.
//
// What binds stored responses to a journal is the generation that both bear, drawn at
// random. So a journal that is lost, of elsewhere or too damaged to be believed never
// brings anything back: whoever has none begins one with a generation of its own, under
// which nothing is stored.
//
// The file, in little endian. Every sum is the 64-bit xxh3, seeded with the file's id,
// so that what another file has left on the disk is no record of this one:
//
//	header, 40 bytes
//	0         8         12     16         24         32         40
//	| magic   | version | zero | file id  | base     | sum      |
//	  base: so many bytes were durable before the file got its name: the header and
//	  the state that the file begins with. Sum: of what stands before it.
//
//	record, 24 bytes and the payload, with zeros up to a multiple of 8
//	0         8         12     13     16          24
//	| sum     | length  | kind | zero | durable   | payload ...
//	  sum: of all from length to the end of the payload. length: of the payload.
//	  durable: so many bytes of the file were durable when the record was written.
//
//	payload by kind
//	1 state    log, applied, floor, generation, keyed, touches, touch floor (8 each);
//	           the first record and no other
//	2 marks    as many as there are: scope (8), sequence (8)
//	3 touched  touch floor (8), as many as there are: scope (8), count (8)
//	4 applied  sequence (8), as many as there are: scope (8)
//	5 forgot   floor (8)
//	6 note     nothing: it bears the word of what is durable
//	7 softs    as many as there are: scope (8), sequence (8), time (8)
//	8 softened sequence (8), time (8), as many as there are: scope (8)
//	9 windows  as many as there are: scope (8), time (8)
//	10 ban     sequence, time, end of its window (8 each), 1 if it is soft (8), text
//	11 link    sequence (8), link of its record (16); of a command it stands before 4 or 8
//
// A scope stands for a hard mark, in 7 and 8 for a soft one, with the Unix time in
// milliseconds of its command; in 9 with that until which nothing of it is stored. Files of version 1 are read, whose scopes have 16 bytes and
// are of another hash: their clock and generation count, and for their marks the floor.
//
// A file is good up to its first record that is not whole. Where that lies below the
// base, or a later record says that it was durable, the file is damaged and nothing in
// it is believed. Else it is the end: what came after had not been acknowledged.
package journal
