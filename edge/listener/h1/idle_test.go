package h1_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"freshet/edge/exchange"
)

// idleConns is how many connections the memory of an idle one is measured with.
const idleConns = 15_000

// measured is h with a page that says what memory the process has. Every request uses 8 KB
// of stack at least, as the whole edge may.
func measured(h handler) handler {
	return func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Target == "/memory" {
			body := memory()
			_ = to.Respond(&exchange.Answer{Status: 200, Bytes: body, Length: int64(len(body))})
			return
		}
		if deep(8<<10) == 0 {
			return
		}
		h(ctx, req, to)
	}
}

// deep uses at least n bytes of stack.
//
//go:noinline
func deep(n int) byte {
	var a [1 << 10]byte
	a[n%len(a)] = 1
	if n > len(a) {
		a[0] += deep(n - len(a))
	}
	return a[0] | a[n%len(a)]
}

// memory is heap, stacks and resident set in bytes, when all is collected that can be.
func memory() []byte {
	for range 4 { // each halves stacks that are too large
		runtime.GC()
	}
	debug.FreeOSMemory() // what the runtime would give back later
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, _ := os.ReadFile("/proc/self/status")
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	kib, _ := strconv.Atoi(strings.Fields(rss)[0])
	return fmt.Appendf(nil, "%d %d %d", m.HeapAlloc, m.StackInuse, kib<<10)
}

func measuredHTTP(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/memory" {
			_, _ = w.Write(memory())
			return
		}
		if deep(8<<10) != 0 {
			h.ServeHTTP(w, r)
		}
	})
}

// BenchmarkIdle measures what a server has more for each of 15,000 connections that have
// had an answer and now are idle:
//
//	go test -run '^$' -bench Idle -benchtime 1x ./edge/listener/h1
func BenchmarkIdle(b *testing.B) {
	for _, kind := range []string{"h1", "nethttp"} {
		b.Run(kind, func(b *testing.B) {
			addr, _ := start(b, kind+"+memory 1024")
			get := func() (heap, stack, rss int) {
				res, err := http.Get("http://" + addr + "/memory")
				if err != nil {
					b.Fatal(err)
				}
				defer res.Body.Close()
				if _, err := fmt.Fscan(res.Body, &heap, &stack, &rss); err != nil {
					b.Fatal(err)
				}
				return
			}
			for b.Loop() {
				heap, stack, rss := get()
				var conns []net.Conn
				for i := range idleConns {
					d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}}
					c, err := d.Dial("tcp", addr)
					if err != nil {
						b.Fatal(i, err)
					}
					conns = append(conns, c)
					if _, err := io.WriteString(c, browser); err != nil {
						b.Fatal(err)
					}
					res, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err == nil {
						_, err = io.Copy(io.Discard, res.Body)
					}
					if err != nil {
						b.Fatal(i, err)
					}
				}
				heap2, stack2, rss2 := get()
				b.ReportMetric(float64(heap2-heap)/idleConns, "heap-B/conn")
				b.ReportMetric(float64(stack2-stack)/idleConns, "stack-B/conn")
				b.ReportMetric(float64(rss2-rss)/idleConns, "rss-B/conn")
				for _, c := range conns {
					c.Close()
				}
			}
		})
	}
}
