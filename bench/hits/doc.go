//go:build linux

// Command hits measures what a hit costs: the edge serves bodies from its disk, which
// lie in the page cache, over HTTP/1.1, and beside it the barest server that there can
// be sends the same bytes from plain files with sendfile. Both are processes of their
// own on one CPU, the client is on another; they take turns in every round. What counts
// is the throughput, and where a machine is busy with other things the CPU time that the
// server takes for a byte, which those hardly change.
//
//	go build -o bin/freshet ./cmd/freshet && go run ./bench/hits -freshet bin/freshet
package main
