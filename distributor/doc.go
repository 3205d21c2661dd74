// Package distributor is the control plane: the writer of the command log, the
// keeper of site documents, and the management API.
//
// Several distributors may run; one leads (cluster.Elections) and alone writes, the
// others stand by and answer reads. What a leader must not forget stands in the
// command log and in the cluster's store, never only in its memory.
//
//	leader.go    terms of leadership: who writes
//	epoch.go     the log's epochs, and the fencing of deposed leaders
//	writer.go    appending to the log
//	scope.go     what a request covers, as scopes of a command
//	progress.go  what the nodes have applied, and waiting for it
//	watch.go     what is known of cluster and log, for reads
//	api.go       the management API; commands.go, sites.go, nodes.go: its operations
package distributor
