// Package httpcache holds the decisions of a shared HTTP cache as pure functions
// over header blocks: RFC 9111 (caching) and the parts of RFC 9110 that it stands
// on (conditionals, ranges, dates), with RFC 5861 (stale content), RFC 8246
// (immutable), RFC 9213 (targeted fields), RFC 9875 (cache groups) and
// No-Vary-Search. Nothing in it does I/O, reads a clock or logs; every outcome is a
// named value.
//
// The way through it: Assess judges a response that arrived and makes the Facts
// that are stored with it; Reuse decides what those facts are good for when the
// next request comes; Preconditions and SelectRange shape the answer to the client;
// AddConditions, Match304 and Freshen are the validation of what is stale;
// Invalidated says what an unsafe method has made untrue.
package httpcache
