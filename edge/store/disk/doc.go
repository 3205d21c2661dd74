// Package disk is the store of responses in one directory of a disk: segments that are
// only ever appended to, and an index in RAM.
package disk
