package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"freshet/edge/response"
)

// greedy is a client that asks for ranges, each on a connection of its own with a small
// buffer, and counts the bytes of bodies that its host has received.
type greedy struct {
	t        *testing.T
	url      string
	received atomic.Int64
}

// ask asks for a range and reads up to limit bytes of the body, all if that is negative;
// then it goes away.
func (g *greedy) ask(limit int64, header ...string) {
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return firstError(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) }), &err)
	}}
	host, path, _ := strings.Cut(strings.TrimPrefix(g.url, "http://"), "/")
	c, err := dialer.DialContext(context.Background(), "tcp", host)
	if err != nil {
		g.t.Error(err)
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /%s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", path, strings.Join(header, "\r\n"))
	r := bufio.NewReaderSize(c, 4096)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		g.t.Error(err)
		return
	}
	if res.StatusCode != 206 {
		g.t.Errorf("%q: status %d", header, res.StatusCode)
	}
	if limit < 0 {
		limit = 1 << 60
	}
	n, err := io.Copy(io.Discard, io.LimitReader(res.Body, limit))
	if err != nil {
		g.t.Errorf("%q: %v", header, err)
	}
	raw, _ := c.(*net.TCPConn).SyscallConn()
	_ = raw.Control(func(fd uintptr) {
		waiting, _ := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		n += int64(waiting)
	})
	g.received.Add(n + int64(r.Buffered()))
}

func firstError(err error, or *error) error {
	if err != nil {
		return err
	}
	return *or
}

func (g *greedy) parallel(clients int, each func(rnd *rand.Rand)) {
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { each(rand.New(rand.NewPCG(uint64(i), 5))) })
	}
	wg.Wait()
}

// Whatever ranges clients ask for, and however soon they go away, the origin sends no
// more than twice what they receive, and one slice.
func TestRangesCostTheOriginNoMoreThanTheyAreWorth(t *testing.T) {
	const size = 10*mib + 12345
	body := someBytes(size)
	for _, tc := range []struct {
		name   string
		header []string
		ask    func(g *greedy)
	}{
		{"tiny ranges at random", nil, func(g *greedy) {
			rnd := rand.New(rand.NewPCG(1, 1))
			for range 500 {
				at := rnd.IntN(size - 100)
				g.ask(-1, fmt.Sprintf("Range: bytes=%d-%d", at, at+rnd.IntN(100)))
			}
		}},
		{"a byte of every slice", nil, func(g *greedy) {
			for n := range 11 {
				g.ask(-1, fmt.Sprintf("Range: bytes=%d-%d", n*mib+5, n*mib+5))
			}
		}},
		{"bytes=0- and away", nil, func(g *greedy) {
			for range 50 {
				g.ask(1000, "Range: bytes=0-")
			}
		}},
		{"from anywhere to the end and away", nil, func(g *greedy) {
			rnd := rand.New(rand.NewPCG(2, 2))
			for range 200 {
				g.ask(int64(1+rnd.IntN(2000)), fmt.Sprintf("Range: bytes=%d-", rnd.IntN(size)))
			}
		}},
		{"a slice each and away", nil, func(g *greedy) {
			for i := range 100 {
				n := i * 7 % 10
				g.ask(1, fmt.Sprintf("Range: bytes=%d-%d", n*mib, (n+1)*mib-1))
			}
		}},
		{"suffixes", nil, func(g *greedy) {
			rnd := rand.New(rand.NewPCG(3, 3))
			for range 60 {
				g.ask(int64(rnd.IntN(5000)), fmt.Sprintf("Range: bytes=-%d", 1+rnd.IntN(size)))
			}
		}},
		{"several ranges", nil, func(g *greedy) {
			rnd := rand.New(rand.NewPCG(4, 4))
			for range 30 {
				var ranges []string
				for range 8 {
					at := rnd.IntN(size - 50)
					ranges = append(ranges, fmt.Sprintf("%d-%d", at, at+rnd.IntN(50)))
				}
				g.ask(-1, "Range: bytes="+strings.Join(ranges, ","))
			}
		}},
		{"overlapping, many at once", nil, func(g *greedy) {
			g.parallel(16, func(rnd *rand.Rand) {
				for range 6 {
					at := rnd.IntN(size)
					g.ask(-1, fmt.Sprintf("Range: bytes=%d-%d", at, at+rnd.IntN(mib)))
				}
			})
		}},
		{"many at once and away", nil, func(g *greedy) {
			g.parallel(16, func(rnd *rand.Rand) {
				for range 10 {
					g.ask(int64(1+rnd.IntN(3000)), fmt.Sprintf("Range: bytes=%d-", rnd.IntN(size)))
				}
			})
		}},
		{"of what is stale at once", []string{"Cache-Control: max-age=0"}, func(g *greedy) {
			rnd := rand.New(rand.NewPCG(5, 5))
			for range 100 {
				at := rnd.IntN(size - 100)
				g.ask(-1, fmt.Sprintf("Range: bytes=%d-%d", at, at+rnd.IntN(100)))
			}
		}},
		{"of what may not be stored", []string{"Cache-Control: no-store"}, func(g *greedy) {
			rnd := rand.New(rand.NewPCG(6, 6))
			for range 50 {
				at := rnd.IntN(size - 100)
				g.ask(-1, fmt.Sprintf("Range: bytes=%d-%d", at, at+rnd.IntN(100)))
			}
		}},
		{"all of it, twice", nil, func(g *greedy) {
			g.ask(-1, "Range: bytes=0-")
			g.ask(-1, "Range: bytes=0-")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startSizes(t, body, `"v1"`, tc.header...)
			url, e := startLone(t, o.URL)
			g := &greedy{t: t, url: url + "/a"}
			tc.ask(g)
			waitFor(t, func() bool { return e.fills.Held() == 0 })
			sent, bound := o.sent.Load(), 2*g.received.Load()+response.SliceSize
			t.Logf("origin sent %d bytes in %d answers, clients received %d", sent, o.asked.Load(), g.received.Load())
			if sent > bound {
				t.Errorf("the origin has sent %d bytes, clients have received %d: %d too many", sent, g.received.Load(), sent-bound)
			}
		})
	}
}
