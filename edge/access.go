package edge

import (
	"time"

	"freshet/edge/accesslog"
	"freshet/edge/exchange"
	"freshet/internal/run"
)

// sent is what has gone out to the client.
type sent struct {
	status  int
	body    int64 // bytes; of a body in RAM that broke off 0
	aborted bool
}

// openAccessLog opens the access log that the node file names, if it does.
func (e *Edge) openAccessLog() (err error) {
	if file := e.env.File.Log.Access; file != "" {
		e.access, err = accesslog.New(accesslog.Config{File: file, Log: e.log, Metrics: e.env.Metrics})
	}
	return err
}

// accessTask writes the access log. It comes before whatever serves, and so ends after it.
func (e *Edge) accessTask() []run.Task {
	if e.access == nil {
		return nil
	}
	return []run.Task{{Name: "access log", Run: e.access.Run}}
}

// send has the responder send an answer, and notes what went out.
func (w *walk) send(a *exchange.Answer) error {
	stream := w.tallied(a)
	err := w.to.Respond(a)
	w.sent = sent{status: a.Status, aborted: err != nil}
	switch {
	case w.bodyless(a):
	case stream != nil:
		w.sent.body = stream.bytes
	case err == nil:
		w.sent.body = int64(len(a.Bytes))
		w.stripe.bytes.Add(uint64(len(a.Bytes)))
	}
	return err
}

// record adds the request to the access log.
func (w *walk) record() {
	req := w.req
	x := accesslog.Entry{
		Time: req.Received, Duration: time.Since(req.Received), Client: req.Remote.Addr().Unmap(), Site: w.siteName(),
		Method: req.Method, Scheme: req.Scheme, Host: req.Host, Port: req.Port, Target: req.Target, Proto: req.Proto,
		Status: w.sent.status, Bytes: w.sent.body, Aborted: w.sent.aborted,
		Referer: req.Header.Get("Referer"), Agent: req.Header.Get("User-Agent"), ID: req.Header.Get("X-Request-Id"),
	}
	if s := &w.status; s.node != "" {
		x.Cache, x.TTL, x.FwdStatus, x.Stored, x.Collapsed, x.Detail = s.fwd, s.ttl, s.fwdStatus, s.stored, s.collapsed, s.detail
		if s.hit {
			x.Cache = "hit"
		}
	}
	w.edge.access.Add(w.lines.Line(&x))
}
