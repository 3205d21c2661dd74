package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/header"
)

// TestBothWaysAtOnce proves, for each protocol, that an answer is read while the request's
// body is still being sent, and that trailers come through; to a server of gRPC with the
// field that it insists on.
func TestBothWaysAtOnce(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.Header().Set("Trailer", "Grpc-Status, X-Te")
		w.WriteHeader(200)
		_ = rc.Flush()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			_, _ = io.WriteString(w, "echo "+line)
			_ = rc.Flush()
		}
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("X-Te", fmt.Sprintf("%q by %s", r.Header.Get("Te"), r.Proto))
	}
	secure, ca := https(t, echo, nil)
	clear := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetHTTP1(true)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	t.Cleanup(clear.Close)
	grpc := fields("Content-Type", "application/grpc")
	for _, tt := range []struct {
		what   string
		parent Parent
		header *header.Block
		te     string
	}{
		{"HTTP/1.1", outside(clear.URL, TLS{}), new(header.Block), `"" by HTTP/1.1`},
		{"HTTP/2 by prior knowledge", outside("h2c"+strings.TrimPrefix(clear.URL, "http"), TLS{}), new(header.Block), `"" by HTTP/2.0`},
		{"HTTP/2 over TLS", outside(secure.URL, TLS{CA: ca}), new(header.Block), `"" by HTTP/2.0`},
		{"gRPC over TLS", outside(secure.URL, TLS{CA: ca}), grpc, `"trailers" by HTTP/2.0`},
		{"gRPC to a node", Parent{Name: "m", Kind: Mid, URL: clear.URL}, grpc, `"trailers" by HTTP/2.0`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			c := testClient(t)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			from, to := io.Pipe()
			req := Request{Method: "POST", Host: "a.example", Target: "/", Header: tt.header, Body: from, Length: -1}
			reply, err := c.Do(ctx, tt.parent, req)
			if err != nil {
				t.Fatal(err)
			}
			defer reply.Body.Close()
			in := bufio.NewReader(reply.Body)
			for i := range 3 {
				if _, err := fmt.Fprintf(to, "%d\n", i); err != nil {
					t.Fatal(err)
				}
				if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("echo %d\n", i) {
					t.Fatalf("%q, %v", line, err)
				}
			}
			to.Close()
			if _, err := in.ReadByte(); err != io.EOF {
				t.Fatal(err)
			}
			trailer := reply.Trailer()
			if trailer == nil || trailer.Get("Grpc-Status") != "0" || trailer.Get("X-Te") != tt.te {
				t.Errorf("trailer %v, want Te %q", trailer, tt.te)
			}
		})
	}
}

// TestSwitched proves that a connection is given up to another protocol, over TLS too; that
// each direction ends by itself; and that the end of the request's context ends both.
func TestSwitched(t *testing.T) {
	var seen sync.WaitGroup
	give := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" || r.Header.Get("Connection") != "Upgrade" || r.ProtoMajor != 1 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		seen.Add(1)
		defer seen.Done()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-A: b\r\n\r\nhello ")
		all, err := io.ReadAll(in)
		if err == nil {
			_, _ = conn.Write(append(all, " and goodbye"...))
		}
	}
	secure, ca := https(t, give, nil)
	clear := httptest.NewServer(http.HandlerFunc(give))
	t.Cleanup(clear.Close)
	for name, parent := range map[string]Parent{"plain": outside(clear.URL, TLS{}), "TLS": outside(secure.URL, TLS{CA: ca})} {
		t.Run(name, func(t *testing.T) {
			c := testClient(t)
			req := get("/")
			req.Upgrade = "echo"
			reply, err := c.Do(t.Context(), parent, req)
			if err != nil {
				t.Fatal(err)
			}
			if reply.Status != 101 || reply.Conn == nil || reply.Header.Get("Upgrade") != "echo" || reply.Header.Get("X-A") != "b" || reply.Header.Has("Connection") {
				t.Fatalf("status %d, header %v", reply.Status, reply.Header)
			}
			if _, err := io.WriteString(reply.Conn, "world"); err != nil {
				t.Fatal(err)
			}
			if err := reply.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if all, err := io.ReadAll(reply.Conn); err != nil || string(all) != "hello world and goodbye" {
				t.Errorf("%q, %v", all, err)
			}
			for range 2 {
				if err := reply.Body.Close(); err != nil {
					t.Error(err)
				}
			}

			ctx, cancel := context.WithCancel(t.Context())
			reply, err = c.Do(ctx, parent, req)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.ReadAll(reply.Conn) // an error, or the end by which the server answers that of the client
			}()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Error("the connection outlives the request")
			}
			reply.Body.Close()
			<-ended
			seen.Wait()

			if reply, err = c.Do(t.Context(), parent, get("/")); err != nil || reply.Status != 400 || reply.Conn != nil {
				t.Errorf("without an offer: %v", err)
			} else {
				reply.Body.Close()
			}
		})
	}
	unasked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			conn.Close()
		}
	}))
	defer unasked.Close()
	if _, err := text(t, testClient(t), outside(unasked.URL, TLS{}), get("/")); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("101 that nobody asked for: %v", err)
	}
}

// TestADeadConnectionIsNoticed proves that a connection of HTTP/2 on which nothing comes any
// more is given up after some seconds, for what is under way and for what comes after it.
func TestADeadConnectionIsNoticed(t *testing.T) {
	begun := make(chan struct{}, 1)
	end := make(chan struct{})
	defer close(end)
	s, ca := https(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			_ = http.NewResponseController(w).Flush()
			begun <- struct{}{}
			<-end
		}
	}, nil)
	hole := newBlackHole(t, s.Listener.Addr().String())
	c := testClient(t)
	parent := outside("https://"+hole.addr, TLS{CA: ca})
	reply, err := c.Do(t.Context(), parent, get("/wait"))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	<-begun
	hole.swallow()
	start := time.Now()
	failed := make(chan error, 2)
	go func() {
		_, err := reply.Body.Read(make([]byte, 1))
		failed <- err
	}()
	go func() {
		_, err := text(t, c, parent, get("/"))
		failed <- err
	}()
	for range 2 {
		select {
		case err := <-failed:
			if err == nil || errors.Is(err, ErrBadAnswer) {
				t.Errorf("%v, want that the connection is lost", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the dead connection is still waited for")
		}
	}
	t.Logf("noticed after %s", time.Since(start).Round(time.Millisecond))
	if _, err := text(t, c, parent, get("/")); err != nil {
		t.Errorf("the next request does not get a new connection: %v", err)
	}
}

// blackHole is a proxy whose connections can fall silent without an end.
type blackHole struct {
	addr  string
	mu    sync.Mutex
	dead  map[net.Conn]*atomic.Bool
	conns []net.Conn
}

func newBlackHole(t *testing.T, to string) *blackHole {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &blackHole{addr: ln.Addr().String(), dead: make(map[net.Conn]*atomic.Bool)}
	var running sync.WaitGroup
	copyTo := func(dst, src net.Conn, dead *atomic.Bool) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if n > 0 && !dead.Load() {
				_, _ = dst.Write(buf[:n])
			}
			if err != nil {
				if !dead.Load() {
					dst.Close()
				}
				return
			}
		}
	}
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			dead := new(atomic.Bool)
			b.mu.Lock()
			b.dead[client] = dead
			b.conns = append(b.conns, client, server)
			b.mu.Unlock()
			running.Go(func() { copyTo(server, client, dead) })
			running.Go(func() { copyTo(client, server, dead) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		running.Wait()
	})
	return b
}

// swallow has all connections that are open fall silent.
func (b *blackHole) swallow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, dead := range b.dead {
		dead.Store(true)
	}
}
