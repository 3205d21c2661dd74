// Package access decides who may call the management and push APIs. One bearer
// token (RFC 6750) opens all of them; only its hash is kept in memory.
package access
