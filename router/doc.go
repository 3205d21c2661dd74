// Package router is the role that sends clients to edges. It watches membership and
// the site documents, and answers DNS questions for the sites' hosts with the
// addresses of edges that are ready (nameserver asks steer). What it has learnt it
// keeps: with the cluster away it answers from the last that it knew.
package router
