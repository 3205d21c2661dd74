package listener

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// Full is the full lane of HTTP/1.1: an http.Handler that hands every request that
// net/http reads to Handler.
type Full struct {
	Handler exchange.Handler
	Now     func() time.Time
	Limits  limits.Config       // of the head's fields and of bodies; zeros are defaults
	Limited func(limits.Reason) // told what was cut off, and why; nil: nobody is

	once   sync.Once
	limits limits.Config
}

type connKey struct{}

// ConnContext is for the http.Server that Full serves: it makes the connection of a
// request known to it.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// ServeHTTP builds the exchange. A request that cannot be one is refused here: a
// target that is no path, a host that is none, more header than a block holds.
func (f *Full) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.once.Do(func() { f.limits = f.Limits.WithDefaults() })
	last := doubtful(r)
	conn, _ := r.Context().Value(connKey{}).(*fullConn)
	if conn != nil {
		conn.inBody.Store(true)
	}
	req, status, why := f.request(w, r)
	if status != 0 {
		if last || req != nil {
			w.Header().Set("Connection", "close")
		}
		http.Error(w, strconv.Itoa(status)+" "+http.StatusText(status)+": "+why, status)
		return
	}
	to := &responder{w: w, head: r.Method == http.MethodHead, old: !r.ProtoAtLeast(1, 1), last: last, conn: conn}
	to.body, _ = req.Body.(*body)
	defer to.finish()
	f.Handler.Serve(r.Context(), req, to)
	if to.broken || !to.answered { // net/http would make an answer up
		panic(http.ErrAbortHandler) // the only way to make net/http break a transfer off
	}
}

// doubtful reports whether a request may be framed so that somebody before us saw its
// end elsewhere, and must be the last on its connection (RFC 9112 §6.1): net/http does
// not tell whether a chunked one had a Content-Length too, nor whether one of HTTP/1.0
// was chunked, which it ignores.
func doubtful(r *http.Request) bool {
	return r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0)
}

// limited tells that a limit has cut something.
func (f *Full) limited(why limits.Reason) {
	if f.Limited != nil {
		f.Limited(why)
	}
}

// request reads a request, or says what is wrong with it; one that is given with that is
// not read to its end.
func (f *Full) request(w http.ResponseWriter, r *http.Request) (req *exchange.Request, status int, why string) {
	target, ok := originForm(r.RequestURI)
	if !ok {
		return nil, http.StatusBadRequest, "the request target is no absolute path and no URL of HTTP"
	}
	host, port, ok := exchange.SplitHost(r.Host)
	if !ok {
		return nil, http.StatusBadRequest, "the Host is malformed or missing"
	}
	h := new(header.Block)
	for name, values := range r.Header {
		for _, value := range values {
			if h.Len() >= f.limits.HeaderFields {
				f.limited(limits.HeaderFields)
				return nil, http.StatusRequestHeaderFieldsTooLarge, "there are too many fields"
			}
			if err := h.Add(name, value); errors.Is(err, header.ErrTooLarge) {
				f.limited(limits.HeaderBytes)
				return nil, http.StatusRequestHeaderFieldsTooLarge, err.Error()
			} else if err != nil {
				return nil, http.StatusBadRequest, err.Error()
			}
		}
	}
	req = &exchange.Request{
		Method: r.Method, Scheme: "http", Host: host, Port: port, Target: target, Header: h, Proto: r.Proto, Received: f.Now(),
	}
	if r.TLS != nil {
		req.Scheme = "https"
	}
	req.Conn, _ = r.Context().Value(connKey{}).(net.Conn)
	if c, ok := req.Conn.(*fullConn); ok {
		req.Scheme, req.Remote, req.Peer = c.client.scheme, c.client.remote, c.client.peer
	} else {
		req.Remote, _ = netip.ParseAddrPort(r.RemoteAddr)
	}
	if r.ContentLength == 0 {
		if conn, ok := req.Conn.(*fullConn); ok && conn != nil && r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) {
			req.Upgrade = offered(h)
		}
		// From now on net/http looks whether the client is still there, however long the
		// answer takes.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		return req, 0, ""
	}
	if most := f.limits.BodyBytes; most > 0 && r.ContentLength > most {
		f.limited(limits.BodyBytes)
		return req, http.StatusRequestEntityTooLarge, "the body is larger than this node allows"
	}
	req.Body, req.Length = f.body(w, r), r.ContentLength
	return req, 0, ""
}

// originForm is the path and query of a request's target, which may be a whole URL, of
// which net/http has taken the host (RFC 9112 §3.2.2).
func originForm(target string) (path string, ok bool) {
	if strings.HasPrefix(target, "/") {
		return target, true
	}
	scheme, rest, _ := strings.Cut(target, "://")
	if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	i := strings.IndexAny(rest, "/?")
	switch {
	case i == 0 || rest == "": // no host (RFC 9110 §4.2.1)
		return "", false
	case i < 0:
		return "/", true
	case rest[i] == '?':
		return "/" + rest[i:], true
	}
	return rest[i:], true
}

// responder answers through net/http.
type responder struct {
	w      http.ResponseWriter
	head   bool
	old    bool      // the client speaks HTTP/1.0
	last   bool      // of the connection
	conn   *fullConn // nil where another server has it
	body   *body     // of the request; nil for none
	broken bool

	answered bool
	early    bool    // before the request had come to its end
	open     bool    // a body is under way whose end is that of the connection
	tunnel   *tunnel // in place of an answer
}

// finish is called when the handler has returned, or panicked. It cuts the connection
// where its end would be taken for that of a body which has not come to it (RFC 9112 §8).
func (to *responder) finish() {
	if to.tunnel != nil {
		to.tunnel.Close()
		return
	}
	if to.early || to.body != nil && !to.answered {
		to.body.end()
	}
	if to.conn == nil {
		return
	}
	if to.open {
		to.conn.reset()
	} else if to.early && !to.broken {
		to.conn.linger.Store(true)
	}
}

// beforeRequest prepares an answer that comes before all of the request has been read.
// That of a body which nobody reads is left to net/http, which reads a little of it so that
// the connection may be kept. Where somebody reads it net/http must not take any of it away,
// and the answer is the last of the connection: nobody knows when the request will end.
func (to *responder) beforeRequest(a *exchange.Answer) {
	streams := a.Bytes == nil && a.Stream != nil
	if to.body == nil || to.body.isWhole() || !streams && to.body.unwanted() {
		return
	}
	_ = http.NewResponseController(to.w).EnableFullDuplex()
	to.early, to.last = true, true
	if streams {
		to.body.answered()
	} else {
		to.body.end()
	}
}

// Inform sends an interim answer, which a client of HTTP/1.0 must not get (RFC 9110 §15.2).
func (to *responder) Inform(status int, h *header.Block) {
	if to.old || to.answered || status < 102 || status > 199 {
		return
	}
	out := to.w.Header()
	for name, value := range h.All() {
		out.Add(name, value)
	}
	to.w.WriteHeader(status)
	clear(out)
}

// Respond sends the answer.
func (to *responder) Respond(a *exchange.Answer) error {
	if to.tunnel != nil {
		return exchange.ErrAborted
	}
	to.answered = true
	out := to.w.Header()
	for _, block := range []*header.Block{a.Header, a.Extra} {
		if block == nil {
			continue
		}
		for name, value := range block.All() {
			// A copy: net/http may write the head after Respond, when the answer's memory is
			// used again.
			name = http.CanonicalHeaderKey(strings.Clone(name))
			out[name] = append(out[name], strings.Clone(value))
		}
	}
	if to.beforeRequest(a); to.last || to.conn != nil && to.conn.last() {
		out["Connection"] = []string{"close"}
	}
	if out["Content-Type"] == nil {
		out["Content-Type"] = nil // net/http would guess one
	}
	bodyless := to.head || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
	if a.Length >= 0 && a.Status != http.StatusNoContent && a.Status != http.StatusNotModified {
		out["Content-Length"] = []string{strconv.FormatInt(a.Length, 10)}
	}
	to.w.WriteHeader(a.Status)
	var err error
	switch {
	case bodyless:
	case a.Bytes != nil:
		_, err = to.w.Write(a.Bytes)
	case a.Stream != nil:
		to.open = to.old && a.Length < 0
		if a.Length < 0 { // its first piece may be long in coming
			_ = http.NewResponseController(to.w).Flush() // what is written after it meets the same error
		}
		if err = to.stream(a.Stream, a.Length); err != nil {
			break
		}
		if to.open = false; a.Trailer != nil {
			to.trailer(a.Trailer())
		}
	}
	if err != nil {
		to.broken = true
	}
	return err
}

// trailer adds fields after the body. net/http sends them where the protocol and
// the framing of the body allow it.
func (to *responder) trailer(h *header.Block) {
	if h == nil {
		return
	}
	for name, value := range h.All() {
		to.w.Header().Add(http.TrailerPrefix+name, value)
	}
}
