package h1

import (
	"bytes"
	"errors"
	"strings"
	"unsafe"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// verdict is what the recogniser makes of the first bytes of a connection, or of those
// after the last request.
type verdict uint8

const (
	accepted   verdict = iota
	incomplete         // so far so good: more bytes must come
	foreign            // not for this lane
	manyBytes          // a head larger than allowed
	manyFields         // a head with more fields than allowed
)

// head is a request as the recogniser reads it. Its strings lie in the bytes that it
// was given and in its block.
type head struct {
	target, host, port string
	head               bool // HEAD, not GET
	last               bool // the client wants no other request on the connection
	fields             header.Block
}

// read recognises the request at the beginning of b: a GET or HEAD of HTTP/1.1 without a
// body, in origin-form, with one good Host, and with every line ended by CRLF. size is its
// length in bytes when it is accepted.
//
// It is strict where net/http is lenient, and never the other way round: what is unusual
// is foreign, and the full lane decides.
func (r *head) read(b []byte, most, fields int) (size int, v verdict) {
	end := bytes.Index(b, crlfcrlf)
	if end < 0 || end+len(crlfcrlf) > most {
		if !begins(b) {
			return 0, foreign
		}
		if len(b) >= most {
			return 0, manyBytes
		}
		return 0, incomplete
	}
	pos, ok := r.line(b[:end+2])
	if !ok {
		return 0, foreign
	}
	if v := r.lines(b[pos:end+2], fields); v != accepted {
		return 0, v
	}
	return end + len(crlfcrlf), accepted
}

var crlfcrlf = []byte("\r\n\r\n")

// begins reports whether b, in which no head ends, may be the beginning of one for this
// lane. What cannot is passed on at once: the full lane may have an answer already.
func begins(b []byte) bool {
	prefix := "GET /"
	if len(b) > 0 && b[0] == 'H' {
		prefix = "HEAD /"
	}
	n := min(len(b), len(prefix))
	if string(b[:n]) != prefix[:n] {
		return false
	}
	// A line that ends with LF alone ends a head in net/http where it does not here.
	for rest := b; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return true
		}
		if i == 0 || rest[i-1] != '\r' {
			return false
		}
		rest = rest[i+1:]
	}
}

// line reads the request line (RFC 9112 §3) and says where the next begins.
func (r *head) line(b []byte) (next int, ok bool) {
	var from int
	switch {
	case len(b) > 5 && string(b[:5]) == "GET /":
		r.head, from = false, 4
	case len(b) > 6 && string(b[:6]) == "HEAD /":
		r.head, from = true, 5
	default:
		return 0, false
	}
	query := false
	for i := from; i < len(b); i++ {
		switch class := targetByte[b[i]]; {
		case class == plain:
		case class == percent:
			// net/http refuses a path with a bad escape, and looks at none in a query.
			if !query && (i+2 >= len(b) || !hex(b[i+1]) || !hex(b[i+2])) {
				return 0, false
			}
		case class == question:
			query = true
		case class == space:
			const version = "HTTP/1.1\r\n"
			next = i + 1 + len(version)
			if next > len(b) || string(b[i+1:next]) != version {
				return 0, false
			}
			r.target = text(b[from:i])
			return next, true
		default:
			return 0, false
		}
	}
	return 0, false
}

// Classes of bytes in a request line after the method.
const (
	other = iota
	plain // may stand in a target as it is
	percent
	question
	space
)

// targetByte: visible ASCII. A fragment is none of a target's parts; net/http lets it
// pass, so that it is the full lane's.
var targetByte = func() (t [256]uint8) {
	for c := 0x21; c < 0x7f; c++ {
		t[c] = plain
	}
	t['%'], t['?'], t[' '], t['#'] = percent, question, space, other
	return
}()

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// lines reads the fields, each with its CRLF.
func (r *head) lines(b []byte, most int) verdict {
	r.fields.Reset()
	r.host, r.port, r.last = "", "", false
	pragma, control := "", false
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\r')
		if i < 0 || i+1 >= len(b) || b[i+1] != '\n' {
			return foreign
		}
		line := b[:i]
		b = b[i+2:]
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 {
			return foreign
		}
		name, value := text(line[:colon]), text(trim(line[colon+1:]))
		switch len(name) {
		case 4:
			if header.EqualName(name, "Host") {
				// It is no field of the exchange, so that nothing else checks its bytes.
				host, port, ok := exchange.SplitHost(value)
				if !ok || r.host != "" {
					return foreign
				}
				r.host, r.port = host, port
				continue
			}
		case 6:
			if header.EqualName(name, "Expect") {
				return foreign
			}
			if pragma == "" && header.EqualName(name, "Pragma") {
				pragma = "other"
				if value == "no-cache" {
					pragma = value
				}
			}
		case 7:
			if header.EqualName(name, "Upgrade") || header.EqualName(name, "Trailer") {
				return foreign
			}
		case 10:
			if header.EqualName(name, "Connection") && !r.connection(value) {
				return foreign
			}
		case 13:
			control = control || header.EqualName(name, "Cache-Control")
		case 14:
			if header.EqualName(name, "Content-Length") {
				return foreign
			}
		case 17:
			if header.EqualName(name, "Transfer-Encoding") {
				return foreign
			}
		}
		if r.fields.Len() >= most {
			return manyFields
		}
		if err := r.fields.Add(name, value); err != nil {
			return refused(err)
		}
	}
	if r.host == "" {
		return foreign
	}
	if pragma == "no-cache" && !control { // as net/http has it, after RFC 7234 §5.4
		if err := r.fields.Add("Cache-Control", "no-cache"); err != nil {
			return refused(err)
		}
	}
	return accepted
}

func refused(err error) verdict {
	if errors.Is(err, header.ErrTooLarge) {
		return manyBytes
	}
	return foreign
}

// connection looks for the options of a Connection field that are the listener's
// (RFC 9110 §7.6.1), and is false when they are not this lane's.
func (r *head) connection(value string) bool {
	for value != "" {
		option, rest, _ := strings.Cut(value, ",")
		value = rest
		switch option = strings.Trim(option, " \t"); {
		case header.EqualName(option, "close"):
			r.last = true
		case header.EqualName(option, "upgrade"):
			return false
		}
	}
	return true
}

// trim takes the optional white space off a field value (RFC 9110 §5.6.3).
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// text is a view of bytes as a string, for as long as they do not change.
func text(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}
