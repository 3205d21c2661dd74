package h1

import (
	"net/http"
	"strconv"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// framing is how the end of a body is told (RFC 9112 §6).
type framing uint8

const (
	lengthless framing = iota // there is no body, and nothing is said of its length
	sized                     // Content-Length
	chunked
)

// appendHead appends the head of a final answer, prepared fields as they stand.
func appendHead(out []byte, a *exchange.Answer, date []byte, how framing, length int64, last bool) []byte {
	out = append(out, statusLine(a.Status)...)
	dated := false
	if a.Header != nil {
		out, dated = append(out, a.Header.Wire()...), hasDate(a.Header)
	}
	if a.Extra != nil {
		out, dated = append(out, a.Extra.Wire()...), dated || hasDate(a.Extra)
	}
	if !dated {
		out = append(out, date...)
	}
	switch how {
	case sized:
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, length, 10)
		out = append(out, "\r\n"...)
	case chunked:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	if last {
		out = append(out, "Connection: close\r\n"...)
	}
	return append(out, "\r\n"...)
}

// hasDate reports whether a block has a Date of its own.
func hasDate(h *header.Block) bool {
	for i := range h.Len() {
		if name, _ := h.At(i); len(name) == 4 && header.EqualName(name, "Date") {
			return true
		}
	}
	return false
}

// statusLines are those that net/http has a text for.
var statusLines = func() (t [600]string) {
	for status := range t {
		if text := http.StatusText(status); text != "" {
			t[status] = "HTTP/1.1 " + strconv.Itoa(status) + " " + text + "\r\n"
		}
	}
	return
}()

func statusLine(status int) string {
	if status >= 0 && status < len(statusLines) && statusLines[status] != "" {
		return statusLines[status]
	}
	code := strconv.Itoa(status)
	return "HTTP/1.1 " + code + " status code " + code + "\r\n"
}

// dateLine is a Date field, which many answers of one second share.
type dateLine struct {
	second int64
	line   []byte
}

// dateOf is the Date field of an answer that is given at t (RFC 9110 §6.6.1).
func (s *Server) dateOf(t time.Time) []byte {
	second := t.Unix()
	if d := s.date.Load(); d != nil && d.second == second {
		return d.line
	}
	d := &dateLine{second: second, line: t.UTC().AppendFormat(nil, "Date: "+http.TimeFormat+"\r\n")}
	s.date.Store(d)
	return d.line
}

// say gathers an answer of this lane's own, the last on its connection.
func (c *conn) say(status int) {
	o := &c.w.out
	o.buf = append(o.buf, statusLine(status)...)
	o.buf = append(o.buf, "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"...)
	text := strconv.Itoa(status) + " " + http.StatusText(status) + "\n"
	o.buf = append(o.buf, "Content-Length: "+strconv.Itoa(len(text))+"\r\n\r\n"+text...)
	c.flush()
}
