// Package telemetry is what a node tells its operator: logs (slog), metrics (a
// Prometheus registry that is handed down, never the global one), health, and the
// admin listener that shows them.
package telemetry
