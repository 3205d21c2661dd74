// Package object says what an object of an origin is: bytes under a path of a site,
// with what is to be said about them when they are served. It holds the rules for
// paths, content types and default headers, and the forms in which the push API
// speaks of objects. It does no I/O.
package object
