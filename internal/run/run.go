// Package run is the life of a process: tasks that are started in order and
// stopped in the reverse order, signals, and the draining of HTTP servers.
package run

import "context"

// Task is a part of a process. Run blocks until ctx ends, finishes what it has
// begun and returns nil; an error ends the whole process.
type Task struct {
	Name string
	Run  func(ctx context.Context) error
}
