// Package command holds what the command log is about: the cluster's logical
// clock, the scopes that a command covers, the records as they stand in the log,
// and the follower that a node runs to apply them in order.
//
// The log itself (who stores it, how it is read) is package bus's matter.
package command
