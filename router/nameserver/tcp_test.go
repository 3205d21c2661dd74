package nameserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestSlowConnections(t *testing.T) {
	packed, err := question("www.freshet.example.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	query := append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	write := func(conn net.Conn, b []byte) { _, _ = conn.Write(b) }
	ask := func(conn net.Conn) {
		write(conn, query)
		_, _ = (&dns.Conn{Conn: conn}).ReadMsg()
	}
	tests := []struct {
		name string
		act  func(conn net.Conn)
		want time.Duration // until the server gives the connection up
	}{
		{"says nothing", func(net.Conn) {}, idleTimeout},
		{"stays after a reply", ask, idleTimeout},
		{"stays after a late query", func(conn net.Conn) { time.Sleep(9 * time.Second); ask(conn) }, 9*time.Second + idleTimeout},
		{"sends half a length", func(conn net.Conn) { write(conn, query[:1]) }, idleTimeout},
		{"sends half a query", func(conn net.Conn) { write(conn, query[:9]) }, readTimeout},
		{"sends a query byte by byte", func(conn net.Conn) {
			for _, b := range query {
				write(conn, []byte{b})
				time.Sleep(time.Second)
			}
		}, time.Second + readTimeout},
		{"does not read", func(conn net.Conn) { write(conn, query) }, writeTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testServer(t)
				theirs, ours := net.Pipe()
				start := time.Now()
				var acting sync.WaitGroup
				acting.Go(func() { tt.act(theirs) })
				s.serveConn(t.Context(), ours)
				if took := time.Since(start); took != tt.want {
					t.Errorf("given up after %s, want %s", took, tt.want)
				}
				ours.Close()
				theirs.Close()
				acting.Wait()
			})
		})
	}
}

func TestSocketThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		f := failing{log: slog.New(slog.NewTextHandler(&out, nil)), what: "test"}
		start := time.Now()
		for range 3 * failureLog {
			if !f.pause(t.Context(), errors.New("no descriptors")) {
				t.Fatal("a failure is none")
			}
		}
		if took := time.Since(start); took != 3*failureLog*failurePause {
			t.Errorf("paused for %s", took)
		}
		if n := strings.Count(out.String(), "socket fails"); n != 1 {
			t.Errorf("logged %d times, want once", n)
		}
		if f.pause(t.Context(), nil) {
			t.Error("no failure is one")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		if f.pause(ctx, errors.New("closed")); time.Since(start) != 0 {
			t.Error("pauses after the end")
		}
	})
}
