package upstream_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener"
	"freshet/edge/upstream"
	"freshet/internal/authority"
	"freshet/internal/header"
	"freshet/internal/ring"
)

// sized answers /N with N bytes, at once where it can.
type sized struct{ body []byte }

func (s sized) answer(req *exchange.Request, to exchange.Responder) {
	n, err := strconv.Atoi(strings.Trim(req.Target, "/"))
	if err != nil {
		n = 0
	}
	_ = to.Respond(&exchange.Answer{Status: 200, Bytes: s.body[:n], Length: int64(n)})
}

func (s sized) Serve(_ context.Context, req *exchange.Request, to exchange.Responder) {
	s.answer(req, to)
}

// BenchmarkTier is what a request from tier to tier costs both nodes together, by the way
// it takes. Both run in this process.
func BenchmarkTier(b *testing.B) {
	identity := func(ca, role, node string) *authority.Identity {
		files, _, err := authority.Issue(ca, b.TempDir(), authority.Order{Name: authority.Name{Role: role, Node: node}, Life: time.Hour}, false, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		id, err := authority.Open(files, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		return id
	}
	ca := b.TempDir()
	if _, err := authority.Create(ca, "bench", time.Now()); err != nil {
		b.Fatal(err)
	}
	mid, edge := identity(ca, "mid", "mid-1"), identity(ca, "edge", "edge-1")
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		return ln
	}
	plain, tier := listen(), listen()
	server, err := listener.New(listener.Config{
		Handler: sized{make([]byte, 10<<20)}, Plain: []net.Listener{plain}, Tier: []net.Listener{tier}, TierTLS: mid.ServerConfig("edge"),
		PeerOf: func(s *tls.ConnectionState) string { n, _ := authority.PeerOf(s); return n.String() },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	defer running.Wait()
	defer stop()
	ways := []struct{ name, url string }{
		{"h1", "http://" + plain.Addr().String()},
		{"h2c", "h2c://" + plain.Addr().String()},
		{"h1+TLS", "https1://" + tier.Addr().String()},
		{"h2+TLS", "https://" + tier.Addr().String()},
	}
	for _, size := range []int{1 << 10, 10 << 20} {
		for _, way := range ways {
			for _, parallel := range []int{1, 64} {
				if os.Getenv("FRESHET_TEST_LONG") == "" && parallel != 64 {
					continue
				}
				b.Run(fmt.Sprintf("%d/%s/%d", size, way.name, parallel), func(b *testing.B) {
					client := upstream.NewClient(time.Now, ring.NewLoads(time.Now))
					defer client.Close()
					client.Secure(func(role, name string) *tls.Config {
						return edge.ClientConfig(authority.Name{Role: role, Node: name})
					})
					url, only1 := strings.CutPrefix(way.url, "https1:")
					if only1 {
						url = "https:" + url
						upstream.OnlyHTTP1(client)
					}
					parent := upstream.Parent{Name: "mid-1", Kind: upstream.Mid, URL: url}
					ask := func(space []byte) {
						reply, err := client.Do(ctx, parent, upstream.Request{Key: "k", Method: "GET", Host: "a.example", Target: "/" + strconv.Itoa(size), Header: new(header.Block)})
						if err != nil {
							b.Error(err)
							return
						}
						// As a fill reads.
						n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{reply.Body}, space)
						reply.Body.Close()
						if err != nil || n != int64(size) {
							b.Errorf("%d bytes, %v", n, err)
						}
					}
					var warm sync.WaitGroup
					for range parallel {
						warm.Go(func() { ask(make([]byte, 64<<10)) })
					}
					warm.Wait()
					b.SetBytes(int64(size))
					b.ResetTimer()
					used := cpu()
					work := make(chan struct{})
					var workers sync.WaitGroup
					for range parallel {
						workers.Go(func() {
							space := make([]byte, 64<<10)
							for range work {
								ask(space)
							}
						})
					}
					for range b.N {
						work <- struct{}{}
					}
					close(work)
					workers.Wait()
					b.ReportMetric(float64(cpu()-used)/float64(b.N), "cpu-ns/op")
				})
			}
		}
	}
}

// cpu is what this process has taken of the processors.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
