package record

import (
	"bytes"
	"testing"

	"freshet/edge/response"
)

// FuzzPrefix: a prefix that is accepted is written again as it was, and its lengths are
// within their bounds. The checksum is made right, so that what is behind it is reached.
func FuzzPrefix(f *testing.F) {
	b, err := Append(nil, here, 42, full(f), 8, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:PrefixSize])
	f.Add(AppendTombstone(nil, here, 1, response.NewKey("x").Sum))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= PrefixSize {
			seal(b, prefixSum)
		}
		p, err := parsePrefix(b)
		if err != nil {
			return
		}
		if p.HeadLen > MaxHead || p.KeyLen > p.HeadLen || p.KeyLen < 0 || p.BodyLen < 0 || p.BodyLen > MaxBody || p.Size() > MaxSegmentSize {
			t.Errorf("lengths out of bounds: %+v", p)
		}
		again := make([]byte, PrefixSize)
		p.put(again)
		if !bytes.Equal(again, b[:PrefixSize]) {
			t.Errorf("% x\nis written as\n% x", b[:PrefixSize], again)
		}
	})
}

// FuzzHead: a head that is accepted is written again as it was.
func FuzzHead(f *testing.F) {
	for _, r := range []*response.Response{full(f), {Key: response.NewKey("k")}} {
		head, err := appendHead(nil, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(head, len(r.Key.Text))
	}
	f.Fuzz(func(t *testing.T, head []byte, keyLen int) {
		if keyLen < 0 || len(head) > MaxHead || keyLen > len(head)-fixedSize {
			return // ParsePrefix lets none of them through
		}
		r, err := parseHead(head, keyLen)
		if err != nil {
			return
		}
		again, err := appendHead(nil, r)
		if err != nil || !bytes.Equal(again, head) {
			t.Errorf("% x\nis written as\n% x, %v", head, again, err)
		}
		_ = r.Source.String() // panics on a source that there is not
	})
}

// FuzzSuperblock: what is accepted is written again as it was.
func FuzzSuperblock(f *testing.F) {
	f.Add(Superblock{Cache: 1, SegmentSize: 4 << 20, Created: noon}.Append(nil))
	f.Add([]byte(superblockMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 24 {
			putSum(b)
		}
		s, err := ParseSuperblock(b)
		if err == nil && !bytes.Equal(s.Append(nil)[32:56], b[32:56]) {
			t.Errorf("% x\nis written as\n% x", b, s.Append(nil))
		}
	})
}

// FuzzSegment: header, and footer with trailer, of hostile bytes.
func FuzzSegment(f *testing.F) {
	f.Add(SegmentHeader{Place: here, Size: 4 << 20, Created: noon}.Append(nil), int64(4<<20))
	f.Add(AppendFooter(nil, here, 2048, noon, entries), int64(4096))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if len(b) < TrailerSize {
			return
		}
		seal(b[:SegmentHeaderSize], segmentSum)
		if h, err := ParseSegmentHeader(b); err == nil && (h.Size < MinSegmentSize || h.Size > MaxSegmentSize) {
			t.Errorf("a segment of %d bytes", h.Size)
		}
		split := len(b) - TrailerSize
		seal(b[split:], segmentSum)
		trailer, err := ParseTrailer(b[split:], here, size)
		if err != nil {
			return
		}
		trailer.footerSum = Sum(b[:split])
		end := int64(SegmentHeaderSize)
		err = trailer.Entries(b[:split], func(e Entry) {
			if int64(e.Offset) < end || e.Length < PrefixSize {
				t.Errorf("entry %+v begins before %d", e, end)
			}
			end = int64(e.Offset) + int64(e.Length)
		})
		if err == nil && end > size {
			t.Errorf("records up to %d in a segment of %d bytes", end, size)
		}
	})
}
