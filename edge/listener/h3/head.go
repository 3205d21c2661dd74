package h3

import (
	"errors"
	"strconv"
	"strings"

	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// head is what the field section of a request has said so far (RFC 9114 §4.2, §4.3).
type head struct {
	method, scheme, path, authority, host, priority string

	hasAuthority, hasHost bool
	regular               bool // a field that is no pseudo-field has come
	trailer               bool // the section ends a body
	expect                bool // 100-continue
	length                int64
	cookies               []string
	size, count           int // as the limits count them

	malformed string        // why the request is none
	excess    limits.Reason // which limit it exceeds
}

// begin empties it.
func (h *head) begin() {
	cookies := h.cookies
	clear(cookies)
	*h = head{cookies: cookies[:0], length: -1}
}

// add takes the next field, and puts it into fields if it is a regular one.
func (h *head) add(fields *header.Block, name, value string, most *limits.Config) {
	h.size += len(name) + len(value) + 4
	h.count++
	switch {
	case h.malformed != "" || h.excess != limits.None:
	case h.size > most.HeaderBytes:
		h.excess = limits.HeaderBytes
	case h.count > most.HeaderFields:
		h.excess = limits.HeaderFields
	case name != "" && name[0] == ':':
		h.pseudo(name, value)
	default:
		h.regular = true
		h.field(fields, name, value)
	}
}

func (h *head) pseudo(name, value string) {
	if h.trailer || h.regular {
		h.malformed = "a pseudo-field after other fields"
		return
	}
	var to *string
	switch name {
	case ":method":
		to = &h.method
	case ":scheme":
		to = &h.scheme
	case ":path":
		to = &h.path
	case ":authority":
		if h.hasAuthority {
			h.malformed = "a pseudo-field that stands twice"
		}
		h.authority, h.hasAuthority = value, true
		return
	default:
		h.malformed = "an unknown pseudo-field"
		return
	}
	if *to != "" || value == "" {
		h.malformed = "a pseudo-field that is empty or stands twice"
		return
	}
	*to = value
}

func (h *head) field(fields *header.Block, name, value string) {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			h.malformed = "a field name in upper case"
			return
		}
	}
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		h.malformed = "a field of a connection"
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
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || value[0] == '+' || h.length >= 0 && h.length != int64(n) {
			h.malformed = "a bad Content-Length"
			return
		}
		h.length = int64(n)
		return
	case "cookie":
		if !h.trailer {
			h.cookies = append(h.cookies, value)
			return
		}
	case "priority":
		h.priority = value
	case "expect":
		h.expect = strings.EqualFold(value, "100-continue")
	}
	h.put(fields, name, value)
}

func (h *head) put(fields *header.Block, name, value string) {
	if err := fields.Add(name, value); errors.Is(err, header.ErrTooLarge) {
		h.excess = limits.HeaderBytes
	} else if err != nil {
		h.malformed = "a malformed field"
	}
}

// finish looks at the whole of a request's head: what it lacks, and what does not fit
// together (§4.3.1). ended says that no body follows.
func (h *head) finish(fields *header.Block, ended bool) {
	if h.malformed != "" || h.excess != limits.None {
		return
	}
	switch len(h.cookies) {
	case 0:
	case 1:
		h.put(fields, "cookie", h.cookies[0])
	default: // one field again (§4.2.1)
		h.put(fields, "cookie", strings.Join(h.cookies, "; "))
	}
	switch {
	case h.malformed != "" || h.excess != limits.None:
	case h.method == "":
		h.malformed = "no :method"
	case h.method == "CONNECT": // is refused whatever else it says
	case h.path == "":
		h.malformed = "no :path"
	case h.scheme != "http" && h.scheme != "https":
		h.malformed = "no usable :scheme"
	case !h.hasAuthority && !h.hasHost:
		h.malformed = "neither :authority nor Host"
	case h.hasAuthority && h.hasHost && !strings.EqualFold(h.authority, h.host):
		h.malformed = "a Host other than :authority"
	case ended && h.length > 0:
		h.malformed = "a Content-Length without a body"
	}
}

// priority reads a Priority field (RFC 9218 §4): urgency 0 to 7, and whether the answer
// is of use in parts. What it cannot read is as if it were not there.
func priority(s string) (urgency int8, incremental, ok bool) {
	urgency = 3
	for item := range strings.SplitSeq(s, ",") {
		switch item = strings.Trim(item, " \t"); {
		case len(item) == 3 && item[:2] == "u=" && item[2] >= '0' && item[2] <= '7':
			urgency, ok = int8(item[2]-'0'), true
		case item == "i" || item == "i=?1":
			incremental, ok = true, true
		}
	}
	return urgency, incremental, ok
}
