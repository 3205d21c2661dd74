package h2

import (
	"errors"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// head is a header block that is being read, and what it has said so far.
type head struct {
	id        uint32
	open      bool // CONTINUATION frames are to come
	end       bool // END_STREAM
	trailer   bool // it ends the body of a request
	discard   bool // nothing of it is wanted, but the table has to follow
	bytes     int  // of its frames so far
	more      int  // CONTINUATION frames so far
	selfBound bool // its stream is said to depend on itself

	fields                         *header.Block
	method, scheme, path, protocol string
	authority, host                string
	hasAuthority, hasHost, regular bool
	cookies                        []string
	crumbs                         []byte // memory for joining them
	length                         int64  // Content-Length, -1 for none
	priority                       priority
	expect                         bool // 100-continue
	size, count                    int  // as the limits count them
	malformed                      string
	tooLarge, tooMany              bool
}

// begin empties it for the block of a stream.
func (h *head) begin(id uint32, fields *header.Block) {
	cookies, crumbs := h.cookies, h.crumbs
	clear(cookies)
	*h = head{id: id, fields: fields, cookies: cookies[:0], crumbs: crumbs[:0], length: -1, priority: usual}
}

// add takes the next field (RFC 9113 §8.2, §8.3). Its strings stay as they are for ever.
func (h *head) add(f hpack.HeaderField, maxBytes, maxFields int) {
	h.size += len(f.Name) + len(f.Value) + 4
	h.count++
	switch {
	case h.discard || h.malformed != "" || h.tooLarge || h.tooMany:
	case h.size > maxBytes:
		h.tooLarge = true
	case h.count > maxFields:
		h.tooMany = true
	case f.Name != "" && f.Name[0] == ':':
		h.pseudo(f.Name, f.Value)
	default:
		h.regular = true
		h.field(f.Name, f.Value)
	}
}

func (h *head) pseudo(name, value string) {
	var to *string
	switch name {
	case ":method":
		to = &h.method
	case ":scheme":
		to = &h.scheme
	case ":path":
		to = &h.path
	case ":protocol":
		to = &h.protocol
	case ":authority":
		if h.hasAuthority {
			h.malformed = "a pseudo-field stands twice"
		}
		h.authority, h.hasAuthority = value, true
	default:
		h.malformed = "an unknown pseudo-field"
		return
	}
	switch {
	case h.trailer:
		h.malformed = "a pseudo-field in a trailer"
	case h.regular:
		h.malformed = "a pseudo-field after others"
	case to == nil:
	case *to != "":
		h.malformed = "a pseudo-field stands twice"
	case value == "":
		h.malformed = "an empty pseudo-field"
	default:
		*to = value
	}
}

func (h *head) field(name, value string) {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			h.malformed = "a field name in upper case"
			return
		}
	}
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		h.malformed = "a field of the connection" // RFC 9113 §8.2.2
		return
	case "te":
		if !strings.EqualFold(value, "trailers") {
			h.malformed = "a TE field other than trailers"
			return
		}
	case "host":
		if h.hasHost {
			h.malformed = "two Host fields"
		}
		h.host, h.hasHost = value, true
		return
	case "content-length":
		h.contentLength(value)
		return
	case "cookie":
		if !h.trailer {
			h.cookies = append(h.cookies, value)
			return
		}
	case "priority":
		h.priority = parsePriority(value)
	case "expect":
		h.expect = strings.EqualFold(value, "100-continue")
	}
	if err := h.fields.Add(name, value); err != nil {
		h.refused(err)
	}
}

func (h *head) contentLength(value string) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || value[0] == '+' || h.length >= 0 && h.length != int64(n) {
		h.malformed = "a bad Content-Length"
		return
	}
	h.length = int64(n)
}

// joinCookies makes of what the client has split up one field again (RFC 9113 §8.2.3).
func (h *head) joinCookies() {
	var joined string
	switch len(h.cookies) {
	case 0:
		return
	case 1:
		joined = h.cookies[0]
	default:
		for i, c := range h.cookies {
			if i > 0 {
				h.crumbs = append(h.crumbs, "; "...)
			}
			h.crumbs = append(h.crumbs, c...)
		}
		joined = unsafe.String(unsafe.SliceData(h.crumbs), len(h.crumbs))
	}
	if err := h.fields.Add("cookie", joined); err != nil {
		h.refused(err)
	}
}

// finish looks at the whole of a request's head: what it lacks, and what does not fit
// together. A request with CONNECT is not looked at, unless it has a :protocol (RFC 8441).
func (h *head) finish() {
	if h.malformed != "" || h.tooLarge || h.tooMany {
		return
	}
	h.joinCookies()
	switch {
	case h.malformed != "":
	case h.method == "":
		h.malformed = "no :method"
	case h.protocol == "" && h.method == "CONNECT":
	case h.protocol != "" && (h.method != "CONNECT" || h.end || h.length >= 0):
		h.malformed = "a :protocol of what is no stream of one"
	case h.path == "":
		h.malformed = "no :path"
	case h.scheme != "http" && h.scheme != "https":
		h.malformed = "no usable :scheme"
	case !h.hasAuthority && !h.hasHost:
		h.malformed = "neither :authority nor Host"
	case h.hasAuthority && h.hasHost && h.authority != h.host && !strings.EqualFold(h.authority, h.host):
		h.malformed = "a Host other than :authority" // RFC 9113 §8.3.1
	case h.end && h.length > 0:
		h.malformed = "a Content-Length without a body"
	case !exchange.ValidMethod(h.method):
		h.malformed = "a bad :method"
	case !exchange.ValidTarget(h.path) && !(h.path == "*" && h.method == "OPTIONS"):
		h.malformed = "a bad :path"
	}
	if !h.hasAuthority {
		h.authority = h.host
	}
}

func (h *head) refused(err error) {
	if errors.Is(err, header.ErrTooLarge) {
		h.tooLarge = true
	} else {
		h.malformed = "a malformed field"
	}
}
