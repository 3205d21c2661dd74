package proxyhead

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// v2 is a head of version 2.
func v2(command, family byte, body string) string {
	b := append([]byte(signature), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(body)))) + body
}

func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// checked is a head with a checksum at its end, wrong by some bits.
func checked(body string, wrong uint32) string {
	head := []byte(v2(commandProxy, tcp4, body+tlv(typeCRC32C, "\x00\x00\x00\x00")))
	sum := crc32.Checksum(head, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(head[len(head)-4:], sum^wrong)
	return string(head)
}

const (
	four   = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb" // 192.0.2.1:12345 to 198.51.100.2:443
	source = "192.0.2.1:12345"
)

var six = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x02" + "\x30\x39\x01\xbb"

var good = map[string]struct {
	head, source string
	tls          bool
}{
	"v1, IPv4":               {head: "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n", source: source},
	"v1, the shortest":       {head: "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", source: "1.1.1.1:1"},
	"v1, IPv6":               {head: "PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n", source: "[2001:db8::1]:12345"},
	"v1, the shortest, IPv6": {head: "PROXY TCP6 :: :: 1 1\r\n", source: "[::]:1"},
	"v1, mapped":             {head: "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 12345 443\r\n", source: source},
	"v1, unknown":            {head: "PROXY UNKNOWN\r\n"},
	"v1, unknown with more":  {head: "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"},
	"v1, the longest":        {head: "PROXY UNKNOWN " + strings.Repeat("x", maxV1-16) + "\r\n"},
	"v2, IPv4":               {head: v2(commandProxy, tcp4, four), source: source},
	"v2, IPv6":               {head: v2(commandProxy, tcp6, six), source: "[2001:db8::1]:12345"},
	"v2, extensions":         {head: v2(commandProxy, tcp4, four+tlv(0x04, "padding")+tlv(0xea, "")), source: source},
	"v2, the longest":        {head: v2(commandProxy, tcp4, four+tlv(0x04, strings.Repeat("x", maxBody-15))), source: source},
	"v2, encrypted":          {head: v2(commandProxy, tcp4, four+tlv(typeSSL, "\x01\x00\x00\x00\x00"+tlv(0x21, "TLSv1.3"))), source: source, tls: true},
	"v2, not encrypted":      {head: v2(commandProxy, tcp4, four+tlv(typeSSL, "\x00\x00\x00\x00\x00")), source: source},
	"v2, checksum":           {head: checked(four+tlv(0x04, "x"), 0), source: source},
	"v2, local":              {head: v2(commandLocal, unspecified, "")},
	"v2, local with more":    {head: v2(commandLocal, 0xff, "ignored")},
	"v2, unspecified":        {head: v2(commandProxy, unspecified, "ignored")},
	"v2, unix":               {head: v2(commandProxy, unixStream, strings.Repeat("\x00", addressesUn))},
}

var bad = map[string]string{
	"nothing":                  "",
	"HTTP":                     "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"TLS":                      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh",
	"v1, cut short":            "PROXY TCP4 192.0.2.1 198.51.100.2 12345",
	"v1, no CR":                "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n",
	"v1, CR within":            "PROXY TCP4 192.0.2.1 198.51.100.2 12345\r443 \r\n",
	"v1, wrong family":         "PROXY TCP6 192.0.2.1 198.51.100.2 12345 443\r\n",
	"v1, wrong family, 4":      "PROXY TCP4 2001:db8::1 2001:db8::2 12345 443\r\n",
	"v1, mixed":                "PROXY TCP4 192.0.2.1 2001:db8::2 12345 443\r\n",
	"v1, leading zero":         "PROXY TCP4 192.0.02.1 198.51.100.2 12345 443\r\n",
	"v1, zone":                 "PROXY TCP6 fe80::1%eth0 fe80::2 12345 443\r\n",
	"v1, port":                 "PROXY TCP4 192.0.2.1 198.51.100.2 012345 443\r\n",
	"v1, large port":           "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
	"v1, negative port":        "PROXY TCP4 192.0.2.1 198.51.100.2 12345 -443\r\n",
	"v1, two spaces":           "PROXY TCP4  192.0.2.1 198.51.100.2 12345 443\r\n",
	"v1, more fields":          "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 1\r\n",
	"v1, lower case":           "PROXY tcp4 192.0.2.1 198.51.100.2 12345 443\r\n",
	"v1, UDP":                  "PROXY UDP4 192.0.2.1 198.51.100.2 12345 443\r\n",
	"v1, nearly unknown":       "PROXY UNKNOWNS\r\n",
	"v1, too long":             "PROXY UNKNOWN " + strings.Repeat("x", maxV1-15) + "\r\n",
	"v1, endless":              "PROXY UNKNOWN " + strings.Repeat("x", 1<<16),
	"v2, another version":      v2(0x11, tcp4, four),
	"v2, another command":      v2(0x22, tcp4, four),
	"v2, another family":       v2(commandProxy, 0x41, four),
	"v2, datagrams":            v2(commandProxy, 0x12, four),
	"v2, cut short":            v2(commandProxy, tcp4, four)[:20],
	"v2, few addresses":        v2(commandProxy, tcp4, four[:11]),
	"v2, few addresses, IPv6":  v2(commandProxy, tcp6, four),
	"v2, extension cut short":  v2(commandProxy, tcp4, four+"\x04\x00"),
	"v2, extension too long":   v2(commandProxy, tcp4, four+"\x04\x00\x02x"),
	"v2, encryption cut short": v2(commandProxy, tcp4, four+tlv(typeSSL, "\x01")),
	"v2, wrong checksum":       checked(four, 1<<7),
	"v2, short checksum":       v2(commandProxy, tcp4, four+tlv(typeCRC32C, "\x00")),
	"v2, too long":             v2(commandProxy, tcp4, four+strings.Repeat("\x04\x00\x00", maxBody/3)),
}

// TestGoodHeads proves that each is read as it says, however it arrives, and not a byte
// beyond it.
func TestGoodHeads(t *testing.T) {
	for name, tc := range good {
		for how, wrap := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "by byte": iotest.OneByteReader} {
			in := strings.NewReader(tc.head + "GET / HTTP/1.1\r\n")
			h, err := Read(wrap(in))
			rest, _ := io.ReadAll(in)
			got := ""
			if h.Source != (netip.AddrPort{}) {
				got = h.Source.String()
			}
			if err != nil || got != tc.source || h.TLS != tc.tls || string(rest) != "GET / HTTP/1.1\r\n" {
				t.Errorf("%s, %s: source %q, TLS %v, rest %q, %v", name, how, got, h.TLS, rest, err)
			}
		}
	}
}

func TestBadHeads(t *testing.T) {
	for name, head := range bad {
		in := strings.NewReader(head)
		h, err := Read(in)
		if err == nil {
			t.Errorf("%s: read as %v", name, h)
		}
		if read := len(head) - in.Len(); read > maxV2 {
			t.Errorf("%s: %d bytes were read", name, read)
		}
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead proves that no bytes are read beyond the bounds, and that a head is read in
// one way only: what is kept of it says where it ended.
func FuzzRead(f *testing.F) {
	for _, tc := range good {
		f.Add([]byte(tc.head))
	}
	for _, head := range bad {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := Read(r)
		n := len(in) - r.Len()
		if n > maxV2 {
			t.Fatalf("%d bytes were read", n)
		}
		if err != nil {
			return
		}
		if h.Source.IsValid() != h.Destination.IsValid() || h.Source.Addr().Is4In6() {
			t.Fatalf("head %+v of %q", h, in[:n])
		}
		again, err := Read(bytes.NewReader(in[:n]))
		if err != nil || again != h {
			t.Fatalf("%+v, then %+v, %v", h, again, err)
		}
		if in[0] == 'P' && !bytes.HasSuffix(in[:n], []byte("\r\n")) {
			t.Fatalf("%q ends in no line end", in[:n])
		}
	})
}
