// Package client speaks to a distributor's management API: the types that travel,
// which the server shares, and a thin client over them. The API describes itself
// at /openapi.json.
package client
