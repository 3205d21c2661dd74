package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/upstream"
	"freshet/internal/header"
)

// A client may offer to go over to another protocol (RFC 9110 §7.8), WebSocket mostly.
// The offer goes on to the origin, tier by tier, past every cache. Only when that has
// answered 101 are the bytes of both sides joined, here and on every tier; until then what
// the client sends after its request is nobody's, and after any other answer it is the next
// request.

// offer hands a request on that offers another protocol.
func (w *walk) offer(to exchange.Upgrader, spec upstream.Spec, quiet func()) {
	reply, err := spec.Fetch(w.ctx)
	quiet()
	if err != nil {
		w.fail(err)
		return
	}
	body := &closedOnce{ReadCloser: reply.Body}
	defer body.Close()
	w.status.forwarded(reply.Status, false, false)
	if reply.Conn == nil {
		w.deliver(reply, nil, true, body)
		return
	}
	if err := w.tunnel(to, reply); err != nil {
		w.fail(err)
	}
}

// closedOnce is a body that may be closed again.
type closedOnce struct {
	io.ReadCloser
	once sync.Once
}

func (c *closedOnce) Close() (err error) {
	c.once.Do(func() { err = c.ReadCloser.Close() })
	return err
}

var errNotOffered = errors.New("the protocol was not offered")

// tunnel joins the client with who has answered 101. With an error nothing has been sent.
func (w *walk) tunnel(to exchange.Upgrader, reply *upstream.Reply) error {
	chosen := reply.Header.Get("Upgrade")
	if !isOffered(chosen, w.req.Upgrade) {
		return fmt.Errorf("%s goes over to %q: %w: %w", reply.Parent, chosen, errNotOffered, upstream.ErrBadAnswer)
	}
	h, err := w.edge.passedHeader(reply.Header)
	if err != nil {
		return err
	}
	c := content{truth: reply.Truth, chain: reply.Header.Joined("Cache-Status")}
	w.extra.Reset()
	w.count()
	w.addExtra(&c)
	if h, err = w.rules.ClientHeader(h, &w.draft); err != nil {
		return err
	}
	if h.Get("Upgrade") != chosen { // rules of the site do not reach this
		h = h.Clone()
		if err := h.Set("Upgrade", chosen); err != nil {
			return err
		}
	}
	client, err := to.Upgrade(&exchange.Answer{Status: http.StatusSwitchingProtocols, Header: h, Extra: &w.extra, Length: -1})
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	limits := allowed(w.edge.env.File).WithDefaults()
	t := tunnel{client: client, parent: reply.Conn, quiet: limits.QuietTimeout, stall: limits.WriteTimeout}
	end := t.join(w.ctx)
	w.sent = sent{status: http.StatusSwitchingProtocols, body: t.down.bytes.Load(), aborted: end == brokenTunnel}
	w.edge.metrics.tunnels.ended(&t, end)
	return nil
}

// isOffered reports whether a protocol is one of a list.
func isOffered(protocol, list string) bool {
	for offer := range strings.SplitSeq(list, ",") {
		if protocol != "" && header.EqualName(strings.TrimSpace(offer), protocol) {
			return true
		}
	}
	return false
}

// tunnelEnd is why a tunnel has ended: the label of a metric.
type tunnelEnd string

const (
	closedTunnel tunnelEnd = "closed" // by both sides, in order
	brokenTunnel tunnelEnd = "broken" // one side was cut off, or the node stops
	silentTunnel tunnelEnd = "silent" // nobody has said anything for too long
)

var errSilent = errors.New("the connection was silent for too long")

// tunnel is two connections whose bytes are carried over to each other.
type tunnel struct {
	client   exchange.Tunnel
	parent   io.ReadWriteCloser
	quiet    time.Duration // for which both may be silent
	stall    time.Duration // for which one may take nothing of what the other says
	up, down way
	moved    atomic.Int64 // when bytes were last carried either way, in ns
}

// way is one direction.
type way struct {
	bytes   atomic.Int64
	spliced int64 // of those, what the kernel has carried
}

// join carries bytes over until both sides have ended, one breaks off, both are silent for
// too long, or ctx ends. Then both connections are closed. An end of one side is told to
// the other, which may go on.
func (t *tunnel) join(ctx context.Context) tunnelEnd {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		t.client.Close()
		t.parent.Close()
	})
	t.moved.Store(time.Now().UnixNano())
	watch := t.watch(func() { cancel(errSilent) })
	defer watch.Stop()
	var ways sync.WaitGroup
	carry := func(to io.Writer, from io.Reader, w *way) {
		err := t.carry(to, from, w)
		if err == nil {
			err = closeWrite(to)
		}
		if err != nil {
			cancel(err)
		}
	}
	ways.Go(func() { carry(t.parent, t.client, &t.up) })
	carry(t.client, t.parent, &t.down)
	ways.Wait()
	if stop() {
		t.client.Close()
		t.parent.Close()
		return closedTunnel
	}
	<-closed // the client's connection is the listener's again
	if context.Cause(ctx) == errSilent {
		return silentTunnel
	}
	return brokenTunnel
}

// watch calls silent when nothing has been carried for too long.
func (t *tunnel) watch(silent func()) (timer interface{ Stop() bool }) {
	var again *time.Timer
	armed := make(chan struct{})
	again = time.AfterFunc(t.quiet, func() {
		<-armed
		if left := t.quiet - time.Duration(time.Now().UnixNano()-t.moved.Load()); left > 0 {
			again.Reset(left)
			return
		}
		silent()
	})
	close(armed)
	return again
}

// closeWrite ends what is sent to one side. One that cannot be told is closed.
func closeWrite(to io.Writer) error {
	half, ok := to.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Most tunnels are silent most of the time: they keep a small buffer for each way, and
// have a large one while much is moved.
const (
	smallPiece = 2 << 10
	largePiece = 32 << 10
)

var largePieces = sync.Pool{New: func() any { return new([largePiece]byte) }}

// carry moves bytes until from ends.
func (t *tunnel) carry(to io.Writer, from io.Reader, w *way) error {
	small := make([]byte, smallPiece)
	var large *[largePiece]byte
	defer func() {
		if large != nil {
			largePieces.Put(large)
		}
	}()
	buf, much := small, 0
	for {
		if much >= splicePieces {
			much = 0
			switch err := t.splice(to, from, w); {
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
		}
		n, err := from.Read(buf)
		if n > 0 {
			t.moved.Store(time.Now().UnixNano())
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
			w.bytes.Add(int64(n))
		}
		if much++; n <= len(small) {
			much = 0
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case large == nil && n == len(small):
			large = largePieces.Get().(*[largePiece]byte)
			buf = large[:]
		case large != nil && n < len(small):
			largePieces.Put(large)
			large, buf = nil, small
		}
	}
}

// Where much is moved between two sockets the kernel carries it. It needs a pipe for that,
// two descriptors, which those have only while they say much.
const (
	splicePieces = 16             // large ones in a row are much
	spliceTime   = time.Second    // after which it is looked whether it still is
	spliceLeast  = 4 * largePiece // bytes in that time
)

// splice has the kernel carry bytes over while they are many. It returns io.EOF at their
// end, and nil where they have become few, or cannot be carried so.
func (t *tunnel) splice(to io.Writer, from io.Reader, w *way) error {
	source, ok := from.(interface{ ReadSocket() *net.TCPConn })
	sink, ok2 := to.(interface{ WriteSocket() *net.TCPConn })
	if !ok || !ok2 {
		return nil
	}
	in, out := source.ReadSocket(), sink.WriteSocket()
	if in == nil || out == nil {
		return nil
	}
	defer in.SetReadDeadline(time.Time{})
	defer out.SetWriteDeadline(time.Time{})
	for {
		until := time.Now().Add(spliceTime)
		_ = in.SetReadDeadline(until)
		_ = out.SetWriteDeadline(until.Add(t.stall))
		n, err := out.ReadFrom(in)
		t.moved.Store(time.Now().UnixNano())
		w.bytes.Add(n)
		w.spliced += n
		switch {
		case err == nil:
			return io.EOF
		case !errors.Is(err, os.ErrDeadlineExceeded), !time.Now().Before(until.Add(t.stall)):
			return err
		case n < spliceLeast:
			return nil
		}
	}
}
