// Package publish is the client of an origin's push API: it makes the objects of a
// site equal to a file or a tree of files, sending only what differs, several files
// at a time, and trying again what fails for a passing reason.
//
// A Source says what is to be published under which paths; Publisher.Push does it
// and reports the fate of every file.
package publish
