// Package steer decides which edges a client is sent to. It is pure: a Snapshot is
// made of membership, and Steer chooses from it. No clock, no sockets, no
// goroutines; chance is handed in.
//
// Three rules hold for whatever membership says:
//
//   - an edge that is not ready is never named while any is;
//   - while none is ready the edges that last were are named (static stability: when
//     everything seems dead at once, it is the news that is doubtful);
//   - different sites prefer different edges, and each site always the same, so that
//     a site's content is held by few.
package steer
