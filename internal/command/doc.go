// Package command holds what the command log is about: the cluster's logical
// clock, the scopes that a command covers, and the records as they stand in the log.
// Package follower applies them in order on a node.
//
// The log itself (who stores it, how it is read) is package bus's matter.
package command
