// Package upstream is the way to whatever lies above a cache node: which parents
// may answer for a key and in what order, the requests to them, and the collapse
// of many clients' misses into one fetch.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"freshet/internal/header"
	"freshet/internal/hop"
)

// Bounds of one request to a parent.
const (
	dialTimeout      = 3 * time.Second
	firstByteTimeout = 30 * time.Second
	betweenBytes     = 30 * time.Second // the longest silence within a body
	maxIdlePerParent = 256              // connections kept for reuse
)

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
	Method string
	Host   string // authority for the Host field
	Target string
	Header *header.Block // end-to-end fields; Host and Content-Length are not in it
	Body   io.Reader     // nil for none
	Length int64         // of Body; -1 when not known
}

// Reply is a parent's answer. The caller closes Body.
type Reply struct {
	Parent   Parent
	Status   int
	Header   *header.Block // end-to-end fields, without ours; Content-Length is not in it
	Length   int64         // of the body in bytes; -1 when not known
	Body     io.ReadCloser
	Sent     time.Time // when the request left
	Received time.Time // when the head was there
	Truth    hop.Truth // as the parent vouches, of a tier of this cluster
	Vouched  bool      // Truth was given
}

// Client sends requests to parents over kept connections.
type Client struct {
	transport *http.Transport
	now       func() time.Time
}

// NewClient makes a client; now is its clock.
func NewClient(now func() time.Time) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return &Client{now: now, transport: &http.Transport{
		DialContext:            dialer.DialContext,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdlePerParent,
		IdleConnTimeout:        60 * time.Second,
		ResponseHeaderTimeout:  firstByteTimeout,
		TLSHandshakeTimeout:    dialTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: header.MaxBytes,
	}}
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Do asks one parent and returns when the head of its answer is there. The body's
// reads fail with ErrStalled after too long a silence, and when ctx ends.
func (c *Client) Do(ctx context.Context, parent Parent, req Request) (*Reply, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	hr, err := c.request(ctx, parent, req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	sent := c.now()
	res, err := c.transport.RoundTrip(hr)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("ask %s: %w: %w", parent, ErrUnreachable, err)
	}
	reply := &Reply{Parent: parent, Status: res.StatusCode, Length: res.ContentLength, Sent: sent, Received: c.now()}
	reply.Body = newWatchedBody(res.Body, cancel)
	if err := reply.read(res); err != nil {
		reply.Body.Close()
		return nil, fmt.Errorf("ask %s: %w: %w", parent, ErrBadAnswer, err)
	}
	return reply, nil
}

func (c *Client) request(ctx context.Context, parent Parent, req Request) (*http.Request, error) {
	hr, err := http.NewRequestWithContext(ctx, req.Method, parent.URL, req.Body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", parent, err)
	}
	// Opaque sends the target exactly as it is, whatever net/url would make of it. A
	// path that begins with two slashes has to go in absolute form.
	path, query, hasQuery := strings.Cut(req.Target, "?")
	hr.URL.Opaque, hr.URL.RawQuery, hr.URL.ForceQuery = path, query, hasQuery && query == ""
	if strings.HasPrefix(path, "//") {
		hr.URL.Opaque = "//" + hr.URL.Host + path
	}
	hr.Host = req.Host
	if req.Body != nil {
		hr.ContentLength = req.Length
	}
	for name, value := range req.Header.All() {
		hr.Header[http.CanonicalHeaderKey(name)] = append(hr.Header[http.CanonicalHeaderKey(name)], value)
	}
	if !req.Header.Has("User-Agent") {
		hr.Header["User-Agent"] = nil // net/http would add its own
	}
	return hr, nil
}

// read takes the head over: in the order of names, because net/http has lost the
// order of lines, without what was for this hop alone.
func (r *Reply) read(res *http.Response) error {
	r.Header = new(header.Block)
	names := make([]string, 0, len(res.Header))
	for name := range res.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range res.Header[name] {
			if err := r.Header.Add(name, value); err != nil {
				return err
			}
		}
	}
	r.Header.RemoveHopByHop()
	r.Header.Del("Content-Length")
	if r.Parent.Kind == Mid {
		var err error
		if r.Truth, r.Vouched, err = hop.ReadTruth(r.Header); err != nil {
			return err
		}
	}
	hop.Strip(r.Header)
	return nil
}

// watchedBody breaks a body off that stands still for too long.
type watchedBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func newWatchedBody(body io.ReadCloser, cancel context.CancelCauseFunc) *watchedBody {
	w := &watchedBody{ReadCloser: body, cancel: cancel}
	w.timer = time.AfterFunc(betweenBytes, func() { cancel(ErrStalled) })
	w.timer.Stop()
	return w
}

func (w *watchedBody) Read(p []byte) (int, error) {
	w.timer.Reset(betweenBytes)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	return n, err
}

func (w *watchedBody) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}
