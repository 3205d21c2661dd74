// Package clustertest holds the suite that every cluster.Cluster passes, and a real
// Consul agent for tests.
package clustertest
