package edge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"freshet/edge/exchange"
	"freshet/internal/header"
	"freshet/internal/httpcache"
)

// errGone: the store has let a body go that its head was still there of.
var errGone = errors.New("the stored body cannot be read")

// plan is which bytes of a content an answer has.
type plan struct {
	bodyless bool
	spans    []httpcache.Span // nil for all
	texts    []string         // of a multipart: before each span, and after the last
	account  *account         // of a client that asked for ranges; nil for none
}

// selectRange makes of an answer the part that the client wants, where that can be
// told and had.
func (w *walk) selectRange(c *content, a *exchange.Answer, p *plan, extra *header.Block) {
	if c.size < 0 {
		return // it may turn out shorter than what is asked for
	}
	selection, spans := httpcache.SelectRange(w.asked(), c.status, c.facts, c.size)
	switch {
	case selection == httpcache.Unsatisfied:
		a.Status, a.Length = http.StatusRequestedRangeNotSatisfiable, 0
		a.Header = new(header.Block)
		_ = a.Header.Add("Content-Range", httpcache.UnsatisfiedRange(c.size))
		p.bodyless = true
		return
	case selection == httpcache.Partial && len(spans) == 1:
		a.Status, a.Header, a.Length = http.StatusPartialContent, withoutDigests(c.header), spans[0].Len()
		_ = extra.Add("Content-Range", httpcache.ContentRange(spans[0], c.size))
	case selection == httpcache.Partial && c.stream == nil:
		boundary := strings.ReplaceAll(rand.Text(), "=", "")
		m := httpcache.NewMultipart(spans, c.size, c.header.Get("Content-Type"), boundary)
		h := withoutDigests(c.header).Clone()
		if h.Set("Content-Type", m.ContentType) != nil {
			return
		}
		for _, part := range m.Parts {
			p.texts = append(p.texts, part.Head)
		}
		p.texts = append(p.texts, m.Tail)
		a.Status, a.Header, a.Length = http.StatusPartialContent, h, m.Length
	default:
		// Several ranges of what is still arriving: the whole is as good an answer (RFC
		// 9110 §14.2).
		return
	}
	p.spans, p.account = spans, w.account()
	if c.sliced != nil {
		c.sliced.account = p.account
	}
}

// withoutDigests is a header without the digests of what its message carries (RFC 9530
// §2), for a message that carries another part.
func withoutDigests(h *header.Block) *header.Block {
	if !h.Has("Content-Digest") && !h.Has("Content-MD5") {
		return h
	}
	h = h.Clone()
	h.Del("Content-Digest")
	h.Del("Content-MD5")
	return h
}

// open begins the body of an answer: its first bytes can be had when it returns. Nil
// is none.
func (w *walk) open(c *content, p *plan) (io.ReadCloser, error) {
	if p.bodyless || w.req.Method == http.MethodHead || c.sliced == nil && c.held == nil && c.stream == nil {
		return nil, nil
	}
	spans := p.spans
	if spans == nil {
		spans = []httpcache.Span{{End: c.size}}
	}
	first, err := c.span(spans[0], p.spans == nil)
	if err != nil {
		return nil, err
	}
	if r, ok := first.(*slicedReader); ok {
		c.truth = c.sliced.promise(r.src)
	}
	if p.texts == nil {
		return first, nil
	}
	return &multipartBody{content: c, spans: spans, texts: p.texts, body: first, text: strings.NewReader(p.texts[0])}, nil
}

// span reads a part of the body.
func (c *content) span(s httpcache.Span, whole bool) (io.ReadCloser, error) {
	switch {
	case c.sliced != nil:
		r, err := c.sliced.reader(s)
		if err != nil {
			return nil, err // not r: a nil in an interface
		}
		return r, nil
	case c.held != nil && c.held.Bytes() != nil:
		return inMemory{c.held.Bytes()[s.Start:s.End]}, nil
	case c.held != nil:
		body, err := c.held.Open(s.Start, s.Len())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errGone, err)
		}
		return body, nil
	}
	stream := c.stream
	c.stream = nil
	if whole {
		return stream, nil
	}
	return &section{from: stream, skip: s.Start - c.from, left: s.Len()}, nil
}

// close lets go of what was not made a body of.
func (c *content) close() {
	if c.stream != nil {
		c.stream.Close()
		c.stream = nil
	}
	if c.sliced != nil && c.sliced.first != nil {
		c.sliced.first.fill.Leave()
		c.sliced.first = nil
	}
}

// inMemory is a body that lies in RAM.
type inMemory struct{ bytes []byte }

func (inMemory) Read([]byte) (int, error) { return 0, io.EOF }

func (inMemory) Close() error { return nil }

// multipartBody reads several spans of a content, each after its text, and the last text.
// Each but the first is looked for when it is its turn.
type multipartBody struct {
	content *content
	spans   []httpcache.Span // from the one in body on
	texts   []string         // from the one in text on
	text    *strings.Reader
	body    io.ReadCloser // nil when it has not been looked for, or has been read
	read    int64         // of body
}

func (m *multipartBody) Read(p []byte) (int, error) {
	for {
		if m.text.Len() > 0 {
			return m.text.Read(p)
		}
		if len(m.spans) == 0 {
			return 0, io.EOF
		}
		if m.body == nil {
			var err error
			if m.body, err = m.content.span(m.spans[0], false); err != nil {
				return 0, err
			}
		}
		n, err := m.readBody(p)
		m.read += int64(n)
		if m.read == m.spans[0].Len() {
			// The reader has to hear that its last bytes were taken: it is read to its end
			// with the next text.
			if n > 0 {
				return n, nil
			}
			m.next()
			continue
		}
		if err != nil {
			return n, noEOF(err)
		}
		return n, nil
	}
}

// readBody reads from the span.
func (m *multipartBody) readBody(p []byte) (int, error) {
	if r, ok := m.body.(inMemory); ok {
		n := copy(p, r.bytes[m.read:])
		return n, nil
	}
	return m.body.Read(p)
}

// next goes on to the text after the span.
func (m *multipartBody) next() {
	m.body.Close()
	m.body, m.read, m.spans, m.texts = nil, 0, m.spans[1:], m.texts[1:]
	m.text = strings.NewReader(m.texts[0])
}

// Close lets go of what is being read.
func (m *multipartBody) Close() error {
	if m.body == nil {
		return nil
	}
	return m.body.Close()
}

// section reads a part of what is read from its start.
type section struct {
	from       io.ReadCloser
	skip, left int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.skip > 0 {
		if err := s.forward(); err != nil {
			return 0, fmt.Errorf("skip to the range: %w", noEOF(err))
		}
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.from.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if s.left > 0 {
		err = noEOF(err)
	}
	return n, err
}

// forward leaves out what is before the part.
func (s *section) forward() error {
	if skipper, ok := s.from.(interface{ Skip(int64) error }); ok {
		err := skipper.Skip(s.skip)
		s.skip = 0
		return err
	}
	n, err := io.CopyN(io.Discard, s.from, s.skip)
	s.skip -= n
	return err
}

func (s *section) Close() error { return s.from.Close() }
