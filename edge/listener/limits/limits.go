// Package limits is what a listener allows its clients: sizes, counts and times of
// connections and requests, the reasons for which something is cut, and the count of
// connections that are open. Every protocol works by the same Config.
package limits

import (
	"fmt"
	"time"

	"freshet/internal/header"
)

// Config is what clients are allowed. The zero value of a field is its default, filled
// in by WithDefaults, unless the field says otherwise; Off takes a limit away where the
// field allows that.
type Config struct {
	HeaderBytes  int   // of a request's head: its first line (or pseudo-fields) and fields; 32 KiB, at most 65535
	HeaderFields int   // of a request's head; 256, at most 1024
	BodyBytes    int64 // of a request's body; 0: as many as come

	HeadTimeout      time.Duration // from a head's first byte to its last, and for a connection's first head from its accept (after a handshake: from that); 10 s
	IdleTimeout      time.Duration // from an answer's end to the next request's first byte; 75 s
	BodyTimeout      time.Duration // between two pieces of a request's body, while somebody waits for one; 30 s
	QuietTimeout     time.Duration // the same where silence is usual: of a request of gRPC, and of any whose answer has begun; and of a connection that has gone over to another protocol, in both directions; 1 h
	WriteTimeout     time.Duration // between two pieces of an answer that the client takes; 30 s. The whole may take as long as it likes
	HandshakeTimeout time.Duration // of a TLS handshake, and for the head of the PROXY protocol before it; 10 s
	ConnTimeout      time.Duration // of a connection from its accept: after that it is drained; 0: none

	Conns        int // open at once; by default three quarters of the file descriptors that the process may have; Off: no limit
	ConnsPerAddr int // open at once from one address, which is one IPv4 address or one /64 of IPv6; 1024; Off: no limit

	Streams int // of one HTTP/2 or HTTP/3 connection at once; 128
	// With as many of these a connection ends.
	Resets   int // streams of one connection that the client has the server give up, by any frame, within Window; 200
	Controls int // frames of one connection that cost the server and bring no request on: PING, SETTINGS, PRIORITY, PRIORITY_UPDATE, empty DATA, CONTINUATION, WINDOW_UPDATE beyond what the DATA sent may call for; within Window; 1000
}

// Off is the value of a field that allows anything, where there is one.
const Off = -1

// Window is the time over which Resets and Controls are counted. What was counted may
// be forgotten all at once at its end.
const Window = 10 * time.Second

// Defaults of Config.
const (
	DefaultHeaderBytes      = 32 << 10
	DefaultHeaderFields     = 256
	DefaultHeadTimeout      = 10 * time.Second
	DefaultIdleTimeout      = 75 * time.Second
	DefaultBodyTimeout      = 30 * time.Second
	DefaultQuietTimeout     = time.Hour
	DefaultWriteTimeout     = 30 * time.Second
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultConnsPerAddr     = 1024
	DefaultStreams          = 128
	DefaultResets           = 200
	DefaultControls         = 1000
)

// WithDefaults is c with the defaults in place of zeros.
func (c Config) WithDefaults() Config {
	or(&c.HeaderBytes, DefaultHeaderBytes)
	or(&c.HeaderFields, DefaultHeaderFields)
	or(&c.HeadTimeout, DefaultHeadTimeout)
	or(&c.IdleTimeout, DefaultIdleTimeout)
	or(&c.BodyTimeout, DefaultBodyTimeout)
	or(&c.QuietTimeout, DefaultQuietTimeout)
	or(&c.WriteTimeout, DefaultWriteTimeout)
	or(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	if c.Conns == 0 {
		c.Conns = defaultConns()
	}
	or(&c.ConnsPerAddr, DefaultConnsPerAddr)
	or(&c.Streams, DefaultStreams)
	or(&c.Resets, DefaultResets)
	or(&c.Controls, DefaultControls)
	return c
}

func or[T int | time.Duration](p *T, def T) {
	if *p == 0 {
		*p = def
	}
}

// Validate says which field of c, whose defaults are filled in, no listener can work by.
func (c Config) Validate() error {
	for _, f := range []struct {
		name        string
		value       int64
		least, most int64
		off         bool
	}{
		{"header bytes", int64(c.HeaderBytes), 1 << 10, header.MaxBytes, false},
		{"header fields", int64(c.HeaderFields), 16, header.MaxFields, false},
		{"body bytes", c.BodyBytes, 0, 1<<63 - 1, false},
		{"head timeout", int64(c.HeadTimeout), int64(time.Millisecond), int64(time.Hour), false},
		{"idle timeout", int64(c.IdleTimeout), int64(time.Millisecond), int64(24 * time.Hour), false},
		{"body timeout", int64(c.BodyTimeout), int64(time.Millisecond), int64(time.Hour), false},
		{"quiet timeout", int64(c.QuietTimeout), int64(time.Millisecond), int64(24 * time.Hour), false},
		{"write timeout", int64(c.WriteTimeout), int64(time.Millisecond), int64(time.Hour), false},
		{"handshake timeout", int64(c.HandshakeTimeout), int64(time.Millisecond), int64(time.Hour), false},
		{"connection timeout", int64(c.ConnTimeout), 0, 1<<63 - 1, false},
		{"connections", int64(c.Conns), 1, 1 << 31, true},
		{"connections of one address", int64(c.ConnsPerAddr), 1, 1 << 31, true},
		{"streams", int64(c.Streams), 1, 1 << 16, false},
		{"resets", int64(c.Resets), 1, 1 << 31, false},
		{"control frames", int64(c.Controls), 10, 1 << 31, false},
	} {
		if f.off && f.value == Off {
			continue
		}
		if f.value < f.least || f.value > f.most {
			return fmt.Errorf("limit of %s: %d is out of %d to %d", f.name, f.value, f.least, f.most)
		}
	}
	return nil
}
