package httpcache

import "strings"

// Multipart is the plan of a multipart/byteranges content (RFC 9110 §14.6): each
// part's Head, then the bytes of its Span; after the last one, Tail.
type Multipart struct {
	ContentType string // of the answer
	Parts       []MultipartPart
	Tail        string
	Length      int64 // of the whole content, in bytes
}

// MultipartPart is one span with what goes before it.
type MultipartPart struct {
	Head string
	Span Span
}

// NewMultipart plans the answer with those spans of a representation of that size
// and content type ("" for none). The boundary is the caller's, who has the
// randomness that keeps it out of the content: 1 to 70 letters and digits.
func NewMultipart(spans []Span, size int64, contentType, boundary string) Multipart {
	m := Multipart{
		ContentType: "multipart/byteranges; boundary=" + boundary,
		Tail:        "\r\n--" + boundary + "--\r\n",
		Parts:       make([]MultipartPart, len(spans)),
	}
	m.Length = int64(len(m.Tail))
	for i, s := range spans {
		var b strings.Builder
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("--" + boundary + "\r\n")
		if contentType != "" {
			b.WriteString("Content-Type: " + contentType + "\r\n")
		}
		b.WriteString("Content-Range: " + ContentRange(s, size) + "\r\n\r\n")
		m.Parts[i] = MultipartPart{Head: b.String(), Span: s}
		m.Length += int64(b.Len()) + s.Len()
	}
	return m
}
