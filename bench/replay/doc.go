// Command replay replays traces against the store of the edge, RAM over disk with real files, and
// against cache policies that it must keep up with: LRU, S3-FIFO, W-TinyLFU and plain
// ristretto, each with as many bytes as RAM and disk have together.
//
//	go run ./bench/replay                            all generated traces, at 1, 5 and 20 % of their footprint
//	go run ./bench/replay -traces scan -sizes 5      one of them
//	go run ./bench/replay -file t.csv -format csv    a trace of libCacheSim (csv, txt) or LRB (lrb)
//
// It asks as the edge does: Get, and Put of what was not there. What is held costs every
// policy what its record takes on our disk; our RAM is charged as it always is, which is
// more. A content above 1 MiB is asked for in slices, each of which is a request.
//
// It exits with 1 if a bound is missed: a request hit ratio of at most half a point below
// the best of the others, a byte hit ratio of at least LRU's, and a write amplification
// (what is written to segments over what was put there) of at most 1.3 in the second half.
package main
