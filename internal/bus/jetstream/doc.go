// Package jetstream carries the bus over NATS JetStream: Start runs a server within
// the process, Connect reaches one by address.
//
// The command log is one stream. Its name holds the log's id and its subject is the
// same for every log, so that the server itself keeps the promises that matter:
// there cannot be two logs (their subjects would overlap), and a reader or a writer
// that means one log can never by mistake speak to another (its name differs).
//
//	stream   FRESHET-<id, 16 hex digits>
//	subject  freshet.log
//	telemetry on core NATS: freshet.telemetry.<subject>
package jetstream
