package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"freshet/internal/cluster"
)

// text is a message of the tests' gRPC, which needs no generated code.
type text struct{ string }

type textCodec struct{}

func (textCodec) Marshal(v any) ([]byte, error)   { return []byte(v.(*text).string), nil }
func (textCodec) Unmarshal(b []byte, v any) error { v.(*text).string = string(b); return nil }
func (textCodec) Name() string                    { return "text" }

// calls is a service whose methods say what they see.
type calls struct {
	got   chan string   // messages and ends, as they arrive
	send  chan string   // what Stream sends
	ended chan struct{} // of the contexts of calls that have been cancelled
}

// startGRPC runs a server of gRPC and returns its address.
func startGRPC(t *testing.T) (*calls, string) {
	t.Helper()
	c := &calls{got: make(chan string, 1000), send: make(chan string), ended: make(chan struct{}, 10)}
	unary := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in text
		if err := decode(&in); err != nil {
			return nil, err
		}
		_, timed := ctx.Deadline()
		md, _ := metadata.FromIncomingContext(ctx)
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-head", "of the head"))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trail", "of the trailer", "x-bin", string([]byte{0, 1, 255})))
		if in.string == "fail" {
			return nil, status.Error(codes.NotFound, "nothing is called that: ü")
		}
		return &text{fmt.Sprint(in.string, " ", timed, " ", md.Get("x-client"))}, nil
	}
	stream := func(serve func(grpc.ServerStream) error) grpc.StreamHandler {
		return func(_ any, s grpc.ServerStream) error { return serve(s) }
	}
	server := grpc.NewServer(grpc.ForceServerCodec(textCodec{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Calls", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Server", ServerStreams: true, Handler: stream(c.server)},
			{StreamName: "Client", ClientStreams: true, Handler: stream(c.client)},
			{StreamName: "Both", ServerStreams: true, ClientStreams: true, Handler: stream(c.both)},
		},
	}, struct{}{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return c, ln.Addr().String()
}

// server sends what it is given, until its context ends or it is given nothing.
func (c *calls) server(s grpc.ServerStream) error {
	var in text
	if err := s.RecvMsg(&in); err != nil {
		return err
	}
	for {
		select {
		case m := <-c.send:
			if m == "" {
				return status.Error(codes.ResourceExhausted, "that was all")
			}
			if err := s.SendMsg(&text{m}); err != nil {
				return err
			}
		case <-s.Context().Done():
			c.ended <- struct{}{}
			return s.Context().Err()
		}
	}
}

// client tells of each message that it gets.
func (c *calls) client(s grpc.ServerStream) error {
	for n := 0; ; n++ {
		var in text
		switch err := s.RecvMsg(&in); {
		case err == io.EOF:
			c.got <- "end"
			return s.SendMsg(&text{fmt.Sprint(n)})
		case err != nil:
			c.got <- "broken"
			return err
		}
		c.got <- in.string
	}
}

// both echoes.
func (c *calls) both(s grpc.ServerStream) error {
	for {
		var in text
		switch err := s.RecvMsg(&in); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := s.SendMsg(&in); err != nil {
			return err
		}
	}
}

// dialGRPC is a client; trust is nil for one without TLS.
func dialGRPC(t *testing.T, addr string, trust *tls.Config) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if trust != nil {
		creds = credentials.NewTLS(trust.Clone())
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.ForceCodec(textCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func openStream(t *testing.T, cc *grpc.ClientConn, name string) (grpc.ClientStream, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Calls/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return s, cancel
}

func (c *calls) wants(t *testing.T, want string) {
	t.Helper()
	if got := <-c.got; got != want {
		t.Errorf("the server got %q, want %q", got, want)
	}
}

func sends(t *testing.T, s grpc.ClientStream, m string) {
	t.Helper()
	if err := s.SendMsg(&text{m}); err != nil {
		t.Fatal(err)
	}
}

func receives(t *testing.T, s grpc.ClientStream, want string) {
	t.Helper()
	var got text
	if err := s.RecvMsg(&got); err != nil || got.string != want {
		t.Fatalf("got %q, %v, want %q", got.string, err, want)
	}
}

// behaves makes every kind of call. No message is sent before the one before it has
// arrived, so that any that is kept back stops the test.
func (c *calls) behaves(t *testing.T, cc *grpc.ClientConn) {
	t.Run("unary", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-client", "mine"), patience)
		defer cancel()
		var out text
		var head, trail metadata.MD
		err := cc.Invoke(ctx, "/test.Calls/Unary", &text{"hello"}, &out, grpc.Header(&head), grpc.Trailer(&trail))
		if err != nil || out.string != "hello true [mine]" {
			t.Errorf("%q, %v", out.string, err)
		}
		if fmt.Sprint(head.Get("x-head"), trail.Get("x-trail"), trail.Get("x-bin")) != fmt.Sprint([]string{"of the head"}, []string{"of the trailer"}, []string{"\x00\x01\xff"}) {
			t.Errorf("metadata %v, %v", head, trail)
		}
	})
	t.Run("an error without a message", func(t *testing.T) {
		err := cc.Invoke(t.Context(), "/test.Calls/Unary", &text{"fail"}, new(text))
		if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "nothing is called that: ü") {
			t.Error(err)
		}
		if err := cc.Invoke(t.Context(), "/test.Calls/None", &text{}, new(text)); status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	})
	t.Run("the server streams", func(t *testing.T) {
		s, _ := openStream(t, cc, "Server")
		sends(t, s, "")
		_ = s.CloseSend()
		for n := range 20 {
			c.send <- fmt.Sprint(n)
			receives(t, s, fmt.Sprint(n))
		}
		c.send <- ""
		if err := s.RecvMsg(new(text)); status.Code(err) != codes.ResourceExhausted {
			t.Error(err)
		}
	})
	t.Run("the client streams", func(t *testing.T) {
		s, _ := openStream(t, cc, "Client")
		for n := range 20 {
			sends(t, s, fmt.Sprint(n))
			c.wants(t, fmt.Sprint(n))
		}
		_ = s.CloseSend()
		c.wants(t, "end")
		receives(t, s, "20")
	})
	t.Run("both stream", func(t *testing.T) {
		s, _ := openStream(t, cc, "Both")
		for n := range 50 {
			sends(t, s, fmt.Sprint(n))
			receives(t, s, fmt.Sprint(n))
		}
		_ = s.CloseSend()
		if err := s.RecvMsg(new(text)); err != io.EOF {
			t.Error(err)
		}
	})
	t.Run("both stream much", func(t *testing.T) {
		s, _ := openStream(t, cc, "Both")
		large := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
		sent := make(chan error, 1)
		go func() {
			for range 16 {
				if err := s.SendMsg(&text{large}); err != nil {
					sent <- err
					return
				}
			}
			sent <- s.CloseSend()
		}()
		for range 16 {
			receives(t, s, large)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if err := s.RecvMsg(new(text)); err != io.EOF {
			t.Error(err)
		}
	})
	t.Run("the client gives up", func(t *testing.T) {
		s, cancel := openStream(t, cc, "Server")
		sends(t, s, "")
		_ = s.CloseSend()
		c.send <- "one"
		receives(t, s, "one")
		cancel()
		<-c.ended
		s, cancel = openStream(t, cc, "Client")
		sends(t, s, "one")
		c.wants(t, "one")
		cancel()
		c.wants(t, "broken")
		if err := s.RecvMsg(new(text)); status.Code(err) != codes.Canceled {
			t.Error(err)
		}
	})
}

// TestGRPCThroughTiers proves that gRPC works through an edge and a mid.
func TestGRPCThroughTiers(t *testing.T) {
	c, addr := startGRPC(t)
	x := startTiers(t)
	site := "site: test\nhosts: ['*']\norigin:\n  url: h2c://" + addr + "\n"
	if _, err := cluster.NewDocuments(x.cluster, cluster.SitesPrefix).Put(t.Context(), "test", []byte(site), "test", "", 1); err != nil {
		t.Fatal(err)
	}
	x.start(cluster.Mid, "m1", tierSecret)
	edge := x.start(cluster.Edge, "e1", tierSecret)
	x.knowsMid(edge)
	c.behaves(t, dialGRPC(t, strings.TrimPrefix(edge.url, "http://"), nil))
}

// TestGRPCOverTLS is the same for clients of TLS and one edge, and shows what they hear of
// an origin that is gone.
func TestGRPCOverTLS(t *testing.T) {
	c, addr := startGRPC(t)
	s := startSecured(t, "h2c://"+addr, "")
	c.behaves(t, dialGRPC(t, s.secure, s.trust))
	gone := startSecured(t, "h2c://127.0.0.1:1", "")
	err := dialGRPC(t, gone.secure, gone.trust).Invoke(t.Context(), "/test.Calls/Unary", &text{"hello"}, new(text))
	if status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}
