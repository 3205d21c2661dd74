package h2

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
)

// What we announce and hold to (RFC 9113 §6.5.2), in bytes.
const (
	frameHead    = 9
	maxFrame     = 16 << 10   // SETTINGS_MAX_FRAME_SIZE, its least value, and the largest that we send
	tableSize    = 4 << 10    // SETTINGS_HEADER_TABLE_SIZE, its initial value
	streamWindow = 256 << 10  // of the body of one request
	connWindow   = 512 << 10  // of all bodies of a connection
	firstWindow  = 64<<10 - 1 // of connections and streams before somebody says otherwise
	maxWindow    = 1<<31 - 1
)

// connError ends a connection with GOAWAY.
type connError struct {
	code http2.ErrCode
	why  string
}

func (e connError) Error() string { return fmt.Sprintf("%v: %s", e.code, e.why) }

// appendFrame appends the head of a frame.
func appendFrame(b []byte, length int, kind http2.FrameType, flags http2.Flags, id uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags),
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendSetting(b []byte, id http2.SettingID, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(id)), value)
}

func appendWindowUpdate(b []byte, id, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameWindowUpdate, 0, id), n)
}

func appendReset(b []byte, id uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameRSTStream, 0, id), uint32(code))
}

func appendPing(b []byte, flags http2.Flags, data [8]byte) []byte {
	return append(appendFrame(b, 8, http2.FramePing, flags, 0), data[:]...)
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode, why string) []byte {
	b = appendFrame(b, 8+len(why), http2.FrameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, why...)
}

// splitHead makes of the HEADERS frame that begins at start and is larger than the
// client takes one with CONTINUATION frames (RFC 9113 §6.10).
func splitHead(b []byte, start int, id uint32) []byte {
	block := append([]byte(nil), b[start+frameHead:]...)
	flags := http2.Flags(b[start+4]) &^ http2.FlagHeadersEndHeaders
	kind := http2.FrameHeaders
	b = b[:start]
	for len(block) > 0 {
		n := min(len(block), maxFrame)
		if n == len(block) {
			flags |= http2.FlagHeadersEndHeaders
		}
		b = append(appendFrame(b, n, kind, flags, id), block[:n]...)
		block, kind, flags = block[n:], http2.FrameContinuation, 0
	}
	return b
}
