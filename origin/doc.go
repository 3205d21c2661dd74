// Package origin is the authority of a site's content. It takes objects through
// the push API, keeps them durably, and serves them to edges and mids.
//
// Both live on the same listeners and are told apart by the Host header: a host of
// a site is served (GET and HEAD, conditionals, ranges), any other name is the
// origin itself, and so is its own address, even where a site claims every host:
//
//	PUT, GET, HEAD, DELETE  /v1/sites/{site}/objects/{path}
//	GET                     /v1/sites/{site}/objects?prefix=&after=&limit=
//
// all of them with the bearer token. A PUT is answered when the object is durable;
// If-Match and If-None-Match make it conditional, and Content-Digest, Repr-Digest
// (RFC 9530, sha-256) and Content-MD5 have it checked. Errors are problem documents
// (RFC 9457).
//
// The rooms: object says what an object is, blob keeps bytes, catalog keeps what is
// known of them, depot joins these two; publish is the client.
package origin
