// Command peers measures an edge beside nginx, Varnish, Traffic Server, H2O and Caddy, on
// the same origin and work: `make bench`. The README beside this file says how to read
// what it prints, and what is not comparable.
//
// Each server runs on one CPU and its loader on the others. For each row (a protocol, a
// size, a number of connections) all servers take turns, in a seeded order, as often as
// -rounds says; those whose turn it is not are stopped with SIGSTOP. What counts is CPU
// time for a request: user and system time of all processes and threads of the server.
package main
