package edge

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// half is one end of a connection in memory.
type half struct {
	*io.PipeReader
	*io.PipeWriter
}

func connected() (a, b half) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return half{ar, aw}, half{br, bw}
}

func (h half) CloseWrite() error { return h.PipeWriter.Close() }

func (h half) Close() error {
	return errors.Join(h.PipeReader.CloseWithError(io.ErrClosedPipe), h.PipeWriter.CloseWithError(io.ErrUnexpectedEOF))
}

// joined is a client and a parent with a tunnel between them.
func joined(t *testing.T, quiet time.Duration) (client, parent half, ended <-chan tunnelEnd) {
	client, left := connected()
	right, parent := connected()
	end := make(chan tunnelEnd, 1)
	tunnel := &tunnel{client: left, parent: right, quiet: quiet}
	go func() { end <- tunnel.join(t.Context()) }()
	return client, parent, end
}

// says writes on one side and reads on the other.
func says(t *testing.T, from, to half, word string) {
	t.Helper()
	if _, err := io.WriteString(from, word); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != word {
		t.Fatalf("%q, %v, want %q", got, err, word)
	}
}

// TestATunnelEndsWhenBothAreSilent proves that one who speaks now and then keeps it open.
func TestATunnelEndsWhenBothAreSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, parent, ended := joined(t, time.Hour)
		for range 5 {
			says(t, parent, client, "are you there?")
			time.Sleep(59 * time.Minute)
		}
		says(t, client, parent, "yes")
		last := time.Now()
		if end := <-ended; end != silentTunnel || time.Since(last) != time.Hour {
			t.Errorf("%s after %s", end, time.Since(last))
		}
		for name, side := range map[string]half{"client": client, "parent": parent} {
			if _, err := side.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("the %s hears %v", name, err)
			}
		}
	})
}

// TestOneSideOfATunnelMayEndFirst proves that the end of one side is told, and is not that
// of the other.
func TestOneSideOfATunnelMayEndFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, parent, ended := joined(t, time.Hour)
		says(t, client, parent, "goodbye")
		_ = client.CloseWrite()
		if n, err := parent.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the parent hears %d, %v", n, err)
		}
		for range 3 {
			says(t, parent, client, "wait")
		}
		_ = parent.CloseWrite()
		if rest, err := io.ReadAll(client); len(rest) > 0 || err != nil {
			t.Errorf("the client hears %q, %v", rest, err)
		}
		if end := <-ended; end != closedTunnel {
			t.Error(end)
		}
	})
}

// TestATunnelBreaksOff proves that a side which breaks off takes the other with it, and
// that nobody takes that for an end in order.
func TestATunnelBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, parent, ended := joined(t, time.Hour)
		says(t, client, parent, "hello")
		_ = parent.Close()
		if _, err := client.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the client hears %v", err)
		}
		if end := <-ended; end != brokenTunnel {
			t.Error(end)
		}
	})
}
