// Command h3load loads an HTTP/3 server: a number of connections, each with a number of
// requests under way at a time, for a time after a warm-up. Debian's h2load has no QUIC.
//
//	go run ./bench/h3load -c 32 -m 10 -t 2s -warm 500ms https://localhost:8443/1k
//
// It prints "begin" and "end" where the time that counts begins and ends, for those who
// read the server's CPU time there, and then what it counted as one line of JSON. With
// -once it makes one request and prints the answer's status, fields and SHA-256.
//
// Certificates are not checked, and windows are as large as those of browsers.
package main
