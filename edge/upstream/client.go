// Package upstream is the way to whatever lies above a cache node: which parents
// may answer for a key and in what order, the requests to them, and the collapse
// of many clients' misses into one fetch.
package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/ring"
)

// betweenBytes is the longest silence within a body, where the parent's limits say nothing.
const betweenBytes = 30 * time.Second

// Errors of Do.
var (
	// ErrUnreachable: no answer came; another parent may be asked.
	ErrUnreachable = errors.New("parent is unreachable")
	// ErrStalled: the body stood still for too long.
	ErrStalled = errors.New("parent stalled")
	// ErrBadAnswer: the answer breaks a limit or the rules of HTTP.
	ErrBadAnswer = errors.New("bad answer from parent")
)

// Request is what is asked of a parent.
type Request struct {
	Key    string // of the cache, that it is for: it makes a load for the tier that is asked
	Method string
	Host   string // authority for the Host field
	Target string
	Header *header.Block // end-to-end fields; Host and Content-Length are not in it
	Body   io.Reader     // nil for none
	Length int64         // of Body; -1 when not known
	Stamp  hop.Truth     // what an answer is true by that comes from no cache of the cluster
	// Upgrade, if not empty, is the protocol to which the connection may be switched (RFC 9110
	// §7.8): the Upgrade field, by HTTP/1.1. Neither it nor Connection is in Header.
	Upgrade string
	// Inform, if not nil, gets the interim answers but 100 and 101, before Do returns.
	Inform func(status int, h *header.Block)
}

// Reply is a parent's answer. The caller closes Body.
type Reply struct {
	Parent Parent
	Status int
	Header *header.Block // end-to-end fields, without ours; Content-Length is not in it
	Length int64         // of the body in bytes; -1 when not known
	Body   io.ReadCloser
	// Conn is the connection after 101, the answer to a request with Upgrade; else nil. It is
	// what Body is, which ends when it is closed, and has a CloseWrite if the connection can be
	// half closed. Header has the field Upgrade then.
	Conn     io.ReadWriteCloser
	Sent     time.Time // when the request left
	Received time.Time // when the head was there
	Truth    hop.Truth // as the parent vouches, of a tier of this cluster; else the request's Stamp
	Vouched  bool      // Truth was given

	trailer  *http.Header // filled in by the end of the body; that of an answer which announces none, too
	affinity string       // as a tier of this cluster says; see Affinity
}

// Trailer is the trailer fields, after the end of Body; nil for none. What cannot
// stand in a block, or was for this hop alone, is left out.
func (r *Reply) Trailer() *header.Block {
	if r.trailer == nil || len(*r.trailer) == 0 {
		return nil
	}
	h := new(header.Block)
	for name, values := range *r.trailer {
		for _, value := range values {
			_ = h.Add(name, value)
		}
	}
	h.RemoveHopByHop()
	h.Del("Content-Length")
	hop.Strip(h)
	return h
}

// Client sends requests to parents over kept connections.
type Client struct {
	transports transports
	now        func() time.Time
	loads      *ring.Loads
	shield
}

// NewClient makes a client; now is its clock, and loads learns what it asks of the tiers.
func NewClient(now func() time.Time, loads *ring.Loads) *Client {
	return &Client{now: now, loads: loads, transports: transports{now: now}, shield: newShield(now, loads)}
}

// Close drops idle connections, when nothing is asked any more.
func (c *Client) Close() {
	c.close()
	c.tries.Wait()
	c.transports.close()
}

// Do asks one parent and returns when the head of its answer is there. The body's
// reads fail with ErrStalled after too long a silence, and when ctx ends.
func (c *Client) Do(ctx context.Context, parent Parent, req Request) (*Reply, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	if req.Inform != nil {
		ctx = withInform(ctx, req.Inform)
	}
	var below net.Conn
	if req.Upgrade != "" {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { below = got.Conn }})
	}
	to, url := wayTo(parent, &req)
	hr, err := c.request(ctx, parent, req, url)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	to.adjust(hr, &req)
	lane, leave, err := c.transports.begin(to)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("ask %s: %w: %w", parent, ErrUnreachable, err)
	}
	done := func() {
		cancel(nil)
		leave()
	}
	if parent.OfCluster() {
		end := sync.OnceFunc(c.loads.Begin(req.Key, parent.Name))
		done = func() {
			cancel(nil)
			leave()
			end()
		}
	}
	sent := c.now()
	res, err := lane.RoundTrip(hr)
	if err != nil {
		done()
		return nil, fmt.Errorf("ask %s: %w: %w", parent, why(err), err)
	}
	reply := &Reply{Parent: parent, Status: res.StatusCode, Length: res.ContentLength, Truth: req.Stamp, Sent: sent, Received: c.now()}
	if res.StatusCode == http.StatusSwitchingProtocols && req.Upgrade != "" {
		reply.Conn = newSwitched(ctx, res.Body, below, done)
	}
	if reply.Body = reply.Conn; reply.Conn == nil {
		reply.Body = newWatchedBody(ctx, res.Body, silence(parent, res), cancel, done)
	}
	if err := reply.read(res); err != nil {
		reply.Body.Close()
		return nil, fmt.Errorf("ask %s: %w: %w", parent, ErrBadAnswer, err)
	}
	return reply, nil
}

// quietStream is the longest silence within a body of messages, which come when there is
// something to say.
const quietStream = time.Hour

// silence is the longest within the body of an answer.
func silence(parent Parent, res *http.Response) time.Duration {
	most := cmp.Or(parent.Limits.BetweenBytes, betweenBytes)
	if isStream(res.Header.Get("Content-Type")) {
		return max(most, quietStream)
	}
	return most
}

// isStream reports whether a body is one of messages.
func isStream(contentType string) bool {
	return exchange.IsEventStream(contentType) || exchange.IsGRPC(contentType)
}

func (r *Reply) isStream() bool { return isStream(r.Header.Get("Content-Type")) }

// why tells an answer that cannot be read from none: what is wrong with a
// connection is an error of package net, an early end, or the context's.
func why(err error) error {
	var netErr net.Error
	switch {
	case errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isLost(err):
		return ErrUnreachable
	}
	return ErrBadAnswer
}

func (c *Client) request(ctx context.Context, parent Parent, req Request, url string) (*http.Request, error) {
	if parent.Server != nil && parent.Server.Host != "" {
		req.Host = parent.Server.Host
	}
	hr, err := http.NewRequestWithContext(ctx, req.Method, url, req.Body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", parent, err)
	}
	setTarget(hr.URL, req.Target, req.Host)
	hr.Host = req.Host
	if req.Body != nil {
		hr.ContentLength = req.Length
		hr.Close = !expectsBody(req.Method)
	}
	for name, value := range req.Header.All() {
		hr.Header[http.CanonicalHeaderKey(name)] = append(hr.Header[http.CanonicalHeaderKey(name)], value)
	}
	if !req.Header.Has("User-Agent") {
		hr.Header["User-Agent"] = nil // net/http would add its own
	}
	if parent.Server != nil {
		if err := parent.Server.Prepare(hr); err != nil {
			return nil, fmt.Errorf("ask %s: %w", parent, err)
		}
	}
	return hr, nil
}

// expectsBody reports whether a body means something to a method. Some servers read none of
// any other, and would take it for the next request on the connection: that must be of the
// same client, or not be (RFC 9110 §9.3.1).
func expectsBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// setTarget makes u send a target exactly as it is, whatever net/url would make of it.
// Opaque does, but for a path that begins with two slashes, which goes as a path if
// net/url leaves it alone, and else in absolute form (RFC 9112 §3.2.2), whose host
// counts before the Host field.
func setTarget(u *url.URL, target, host string) {
	path, query, hasQuery := strings.Cut(target, "?")
	u.Opaque, u.RawQuery, u.ForceQuery = path, query, hasQuery && query == ""
	if !strings.HasPrefix(path, "//") {
		return
	}
	plain, err := url.PathUnescape(path)
	if u.Path, u.RawPath = plain, path; err == nil && u.EscapedPath() == path {
		u.Opaque = ""
		return
	}
	u.Opaque = "//" + host + path
}

// withInform passes interim answers on. 100 is this hop's own, and 101 is final.
func withInform(ctx context.Context, inform func(int, *header.Block)) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
		h, err := block(http.Header(fields))
		if err == nil && code > 101 {
			h.RemoveHopByHop()
			hop.Strip(h)
			inform(code, h)
		}
		return err
	}})
}

// block is a header of net/http as a block, in the order of names: that of the lines
// is lost.
func block(from http.Header) (*header.Block, error) {
	h := new(header.Block)
	for _, name := range slices.Sorted(maps.Keys(from)) {
		for _, value := range from[name] {
			if err := h.Add(name, value); err != nil {
				return nil, err
			}
		}
	}
	return h, nil
}

// read takes the head over, without what was for this hop alone.
func (r *Reply) read(res *http.Response) (err error) {
	if r.Status < 200 && r.Conn == nil { // net/http takes 000, and hands over a 101 that nobody asked for
		return fmt.Errorf("status %03d is no final one", r.Status)
	}
	if r.Header, err = block(res.Header); err != nil {
		return err
	}
	r.trailer = &res.Trailer
	chosen := r.Header.Get("Upgrade")
	r.Header.RemoveHopByHop()
	if r.Conn != nil {
		if err = r.Header.Set("Upgrade", chosen); err != nil {
			return err
		}
	}
	r.Header.Del("Content-Length")
	if r.Parent.OfCluster() {
		if r.Truth, r.Vouched, err = hop.ReadTruth(r.Header); err != nil {
			return err
		}
		r.affinity = hop.Affinity(r.Header)
	}
	hop.Strip(r.Header)
	return nil
}

// watchedBody breaks a body off that stands still for too long.
type watchedBody struct {
	io.ReadCloser
	ctx     context.Context
	silence time.Duration // the longest
	done    func()
	timer   *time.Timer
}

func newWatchedBody(ctx context.Context, body io.ReadCloser, silence time.Duration, cancel context.CancelCauseFunc, done func()) *watchedBody {
	w := &watchedBody{ReadCloser: body, ctx: ctx, silence: silence, done: done}
	w.timer = time.AfterFunc(silence, func() { cancel(ErrStalled) })
	w.timer.Stop()
	return w
}

func (w *watchedBody) Read(p []byte) (int, error) {
	w.timer.Reset(w.silence)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause // which HTTP/2 does not tell
		}
	}
	return n, err
}

func (w *watchedBody) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.done()
	return err
}
