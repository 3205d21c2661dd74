package listener

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"freshet/edge/exchange"
)

// TestHTTP3GoesOnUntilThereIsASuccessor proves that a drain refuses no connection of
// HTTP/3 before another process has sockets for it.
func TestHTTP3GoesOnUntilThereIsASuccessor(t *testing.T) {
	waits, settled := make(chan struct{}), make(chan struct{})
	var addr string
	h := func(req *exchange.Request, to exchange.Responder) { echo(req, to) }
	s := startServer(t, h, func(c *Config) {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr, c.Packet = pc.LocalAddr().String(), []net.PacketConn{pc}
		c.Succeeded = func(context.Context) bool {
			close(waits)
			<-settled
			return true
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()
	<-waits
	for range 3 {
		rt := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: s.trust}}
		res, err := (&http.Client{Transport: rt}).Get("https://" + addr + "/")
		if err != nil {
			t.Error(err)
		} else {
			res.Body.Close()
		}
		rt.Close()
	}
	close(settled)
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}
