package edge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
)

// echoSocket is an origin of WebSocket that says what it is told, until it is told to end.
func echoSocket(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/refused") {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}, InsecureSkipVerify: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(-1)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			if string(message) == "end" {
				_ = conn.Close(4321, "as you like")
				return
			}
			if err := conn.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	}
}

// converses holds a conversation of which each word waits for the one before.
func converses(t *testing.T, url string, client *http.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, url+"/socket", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"other", "echo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if got := res.Header.Get("Cache-Status"); !strings.Contains(got, "fwd=bypass; fwd-status=101") || conn.Subprotocol() != "echo" {
		t.Errorf("Cache-Status %q, subprotocol %q", got, conn.Subprotocol())
	}
	conn.SetReadLimit(-1)
	for n, message := range [][]byte{[]byte("hello"), {}, bytes.Repeat([]byte("large "), 1<<20), []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")} {
		if err := conn.Write(ctx, websocket.MessageBinary, message); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("message %d: %d bytes, %v", n, len(got), err)
		}
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte("end")); err != nil {
		t.Fatal(err)
	}
	var closed websocket.CloseError
	if _, _, err := conn.Read(ctx); !errors.As(err, &closed) || closed.Code != 4321 || closed.Reason != "as you like" {
		t.Errorf("ended with %v", err)
	}
}

// TestWebSocketsThroughTiers proves that a client of WebSocket speaks with the origin
// through an edge and a mid, that one which is refused gets the origin's answer, and that
// tunnels are counted.
func TestWebSocketsThroughTiers(t *testing.T) {
	x := startTiers(t)
	origin := echoSocket(t)
	x.origin.serve.Store(&origin)
	mid := x.start(cluster.Mid, "m1", tierSecret)
	edge := x.start(cluster.Edge, "e1", tierSecret)
	x.knowsMid(edge)
	for range 3 {
		converses(t, edge.url, nil)
	}
	_, res, err := websocket.Dial(t.Context(), edge.url+"/refused", nil)
	if err == nil || res.StatusCode != http.StatusForbidden {
		t.Fatalf("%v, %v", res, err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "not here\n" {
		t.Errorf("refused with %q", body)
	}
	for _, n := range []*tier{edge, mid} {
		ended := n.metrics.tunnels.ends.WithLabelValues(string(closedTunnel))
		broken := n.metrics.tunnels.ends.WithLabelValues(string(brokenTunnel))
		x.wait(n.name+" has counted its tunnels", func() bool { return testutil.ToFloat64(ended)+testutil.ToFloat64(broken) == 3 })
		for _, direction := range []string{"up", "down"} {
			if got := testutil.ToFloat64(n.metrics.tunnels.bytes.WithLabelValues(direction)); got < 3*6<<20 {
				t.Errorf("%s: %v bytes %s", n.name, got, direction)
			}
		}
	}
}

// TestWebSocketsOverTLS is the same for browsers' way, on one edge.
func TestWebSocketsOverTLS(t *testing.T) {
	o := startOrigin(t, echoSocket(t))
	s := startSecured(t, o.URL, "")
	converses(t, "https://"+s.secure, &http.Client{Transport: s.clients(t)["HTTP/1.1"]})
}

// TestAnOriginOfAnotherMind proves that a tunnel needs what the client has offered: an
// origin that goes over to anything else, or to anything unasked, has answered badly.
func TestAnOriginOfAnotherMind(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	})
	url, e := startLone(t, o.URL)
	for _, fields := range [][]string{{"Connection: Upgrade", "Upgrade: websocket"}, {"Connection: Upgrade", "Upgrade: h2c"}, nil} {
		if a := get(t, url+"/a", fields...); a.status != 502 {
			t.Errorf("%q: %d %q", fields, a.status, a.body)
		}
	}
	if n := testutil.CollectAndCount(e.metrics.tunnels.ends); n != 0 {
		t.Errorf("%d ends of tunnels are counted", n)
	}
}

// TestADrainEndsWithTunnels proves that a node which stops cuts them at the end of its
// drain, and has stopped in order.
func TestADrainEndsWithTunnels(t *testing.T) {
	o := startOrigin(t, echoSocket(t))
	ctx := t.Context() // ends before the edge does
	var conn *websocket.Conn
	ended := make(chan error, 1)
	t.Run("", func(t *testing.T) {
		url, _ := startLoneFile(t, node.Cache{Memory: 64 << 20, Upstream: o.URL}, func(f *node.File) { f.Drain = document.Duration(100 * time.Millisecond) })
		var err error
		if conn, _, err = websocket.Dial(ctx, url+"/socket", nil); err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(ctx); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _, err := conn.Read(ctx)
			ended <- err
		}()
	}) // with an error of the edge, if it has one
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Errorf("the tunnel ends with %v", err)
	}
	conn.CloseNow()
}

// TestARefusedOfferHidesNothing proves that what a client sends behind an offer is its next
// request when the origin refuses, which the edge answers by its own rules, and that the
// origin gets none of it with the offer.
func TestARefusedOfferHidesNothing(t *testing.T) {
	seen := make(chan string, 10)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path + " " + r.Header.Get("Upgrade") + " " + r.Header.Get("Via")
		if r.Header.Get("Upgrade") != "" {
			http.Error(w, "upgrade to another", http.StatusUpgradeRequired)
			return
		}
		fmt.Fprint(w, "hello")
	})
	url, _ := startLone(t, o.URL)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "GET /offer HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\n\r\n"+
		"TRACE /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	r := bufio.NewReader(conn)
	for _, want := range []string{"426 upgrade to another\n", "405 ", "200 hello"} {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if got := fmt.Sprint(res.StatusCode, " ", string(body)); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	close(seen)
	var all []string
	for s := range seen {
		all = append(all, s)
	}
	if want := []string{"/offer websocket 1.1 freshet-e1", "/next  1.1 freshet-e1"}; !slices.Equal(all, want) {
		t.Errorf("the origin has seen %q, want %q", all, want)
	}
}

// TestMuchIsCarriedByTheKernel proves that a tunnel without TLS which carries much both ways
// has the kernel do that, also what came with the head, and gets every byte across.
func TestMuchIsCarriedByTheKernel(t *testing.T) {
	const size = 64 << 20
	reads := func(who string, r io.Reader) {
		buf, at := make([]byte, 64<<10), int64(0)
		for {
			n, err := r.Read(buf)
			if !isGenerated(buf[:n], at) {
				t.Errorf("%s: other bytes than were sent, from %d on", who, at)
				return
			}
			if at += int64(n); err != nil {
				if err != io.EOF || at != size {
					t.Errorf("%s: %d bytes, %v", who, at, err)
				}
				return
			}
		}
	}
	exchange := func(who string, conn net.Conn, r io.Reader, head string) {
		var both sync.WaitGroup
		both.Go(func() {
			_, err := io.Copy(conn, io.MultiReader(strings.NewReader(head), &generated{left: size, given: new(atomic.Int64)}))
			if err == nil {
				err = conn.(*net.TCPConn).CloseWrite()
			}
			if err != nil {
				t.Errorf("%s: %v", who, err)
			}
		})
		reads(who, r)
		both.Wait()
	}
	ended := make(chan struct{})
	origin := socketOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		defer close(ended)
		if _, err := http.ReadRequest(r); err != nil {
			t.Error(err)
			return
		}
		exchange("origin", conn, r, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: much\r\n\r\n")
	})
	url, e := startLone(t, origin)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	headed := headless{r: r}
	exchange("client", conn, &headed, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: much\r\n\r\n")
	<-ended
	closed := e.metrics.tunnels.ends.WithLabelValues(string(closedTunnel))
	for deadline := time.Now().Add(patience); testutil.ToFloat64(closed) != 1; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the tunnel has not ended in order")
		}
	}
	if up, down := e.metrics.tunnels.bytes.WithLabelValues("up"), e.metrics.tunnels.bytes.WithLabelValues("down"); testutil.ToFloat64(up) != size || testutil.ToFloat64(down) != size {
		t.Errorf("%v bytes up and %v down are counted, want %d each", testutil.ToFloat64(up), testutil.ToFloat64(down), size)
	}
	if n := testutil.ToFloat64(e.metrics.tunnels.spliced); n < size {
		t.Errorf("the kernel has carried %v bytes of %d", n, 2*size)
	}
}

// headless reads what comes behind the head of an answer.
type headless struct {
	r    *bufio.Reader
	past bool
}

func (h *headless) Read(p []byte) (int, error) {
	for !h.past {
		line, err := h.r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		h.past = line == "\r\n"
	}
	return h.r.Read(p)
}
