package edge

import (
	"fmt"
	"io"
	"strconv"

	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/httpcache"
)

// ask is which bytes a fetch asks for. The zero ask is for the whole.
type ask struct {
	field string         // Range; "" for the whole
	span  httpcache.Span // that it means; of a suffix {-n, 0}
	asIs  bool           // it is the client's own: the answer is handed on, not stored
	slice bool           // it is for the whole slice that span begins
	paid  int64          // reserved for it of the range credit
}

func (a ask) ranged() bool { return a.field != "" }

// askFor asks for bytes from one position on, up to another.
func askFor(span httpcache.Span, paid int64) ask {
	return ask{field: fmt.Sprintf("bytes=%d-%d", span.Start, span.End-1), span: span, paid: paid}
}

// askForSlice asks for slice n of a content of that size, or of any that has so many.
func askForSlice(n, size int64) ask {
	a := askFor(sliceSpan(n, size), 0)
	a.slice = true
	return a
}

// part tells fills of one content apart by what they ask for; "" for the whole. Those of
// the last slice are the same for who knows where it ends and who does not.
func (a ask) part() string {
	switch {
	case !a.ranged():
		return ""
	case a.asIs:
		return "\n+range " + a.field
	case a.slice:
		return "\n+part slice " + strconv.FormatInt(a.span.Start/response.SliceSize, 10)
	}
	return "\n+part " + a.field
}

// askForSuffix asks for the last n bytes.
func askForSuffix(n, paid int64) ask {
	return ask{field: "bytes=-" + strconv.FormatInt(n, 10), span: httpcache.Span{Start: -n}, paid: paid}
}

// answeredBy reports whether a part is what was asked for, or its beginning.
func (a ask) answeredBy(p httpcache.Part) bool {
	if a.span.Start < 0 {
		return p.End == p.Size && p.Len() <= -a.span.Start
	}
	return p.Start == a.span.Start && p.End <= a.span.End
}

// admitPart makes r what is to be stored of a 206, if that is what was asked for and
// what it says of itself can be true: a part of a content, where a strong validator says
// which one, or all of one.
func (f *fill) admitPart(r *response.Response, reply *upstream.Reply) bool {
	part, ok := httpcache.PartOf(reply.Header)
	if !ok || !f.ask.ranged() || f.ask.asIs || part.Size < 0 || !f.ask.answeredBy(part) ||
		reply.Length >= 0 && reply.Length != part.Len() || r.Header == nil {
		return false
	}
	set := setOf(200, &r.Facts, part.Size)
	if f.head != nil && refetchable(f.head) && f.head.Complete == part.Size && httpcache.Combines(&f.head.Facts, &r.Facts) {
		set = f.head.Set
	}
	whole := part.Len() == part.Size
	if !whole && set&strongSet == 0 {
		return false
	}
	r.Header.Del("Content-Range")
	if !whole {
		r.Header = withoutDigests(r.Header)
	}
	r.Status, r.Complete, r.Set, f.part = 200, part.Size, set, part
	reply.Length = part.Len() // of a chunked one, too: it ends there or breaks off
	if r.Kind = response.Slice; whole && part.Size <= response.SliceSize {
		r.Kind = response.Content
	}
	return true
}

// metered counts what arrives of an answer to a range, and charges the credit for it.
type metered struct {
	io.ReadCloser
	fill  *fill
	reply *upstream.Reply
	read  int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.read += int64(n)
	return n, err
}

// Close settles the account. What was not read of a part has been sent all the same.
func (m *metered) Close() error {
	if f := m.fill; f != nil {
		m.fill = nil
		spent := m.read
		if m.reply.Status == 206 {
			spent = max(spent, min(m.reply.Length, response.SliceSize))
		}
		f.edge.slicing.fetched.Add(float64(spent))
		if f.credit != nil {
			f.credit.refund(f.ask.paid - spent)
		}
	}
	return m.ReadCloser.Close()
}
