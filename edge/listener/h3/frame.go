package h3

import (
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// Frames (RFC 9114 §7.2, RFC 9218 §7.2).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameCancelPush   = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	frameGoAway       = 0x7
	frameMaxPushID    = 0xd
	priorityOfRequest = 0xf0700
	priorityOfPush    = 0xf0701
)

// settingMaxSection is SETTINGS_MAX_FIELD_SECTION_SIZE (RFC 9114 §7.2.4.1).
const settingMaxSection = 0x6

const (
	maxFrameHead    = 16        // bytes of type and length
	maxControlFrame = 8 << 10   // bytes of a frame that is read whole
	largestStreamID = 1<<62 - 4 // of a client's request (RFC 9000 §2.1)
)

// Streams that go one way (RFC 9114 §6.2, RFC 9204 §4.2).
const (
	streamControl = 0x0
	streamPush    = 0x1
	streamEncoder = 0x2
	streamDecoder = 0x3
)

// Codes of errors (RFC 9114 §8.1, RFC 9204 §6).
const (
	codeNoError            = 0x100
	codeInternal           = 0x102
	codeStreamCreation     = 0x103
	codeClosedCritical     = 0x104
	codeFrameUnexpected    = 0x105
	codeFrame              = 0x106
	codeExcessiveLoad      = 0x107
	codeID                 = 0x108
	codeSettings           = 0x109
	codeMissingSettings    = 0x10a
	codeRequestRejected    = 0x10b
	codeRequestCancelled   = 0x10c
	codeRequestIncomplete  = 0x10d
	codeMessage            = 0x10e
	codeQPACKDecompression = 0x200
	codeQPACKEncoderStream = 0x201
	codeQPACKDecoderStream = 0x202
)

// connError ends a connection.
type connError struct {
	code quic.ApplicationErrorCode
	text string
}

func (e connError) Error() string { return e.text }

// parseHead reads type and length of a frame. n is 0 when there are more bytes to come.
func parseHead(b []byte) (kind, length uint64, n int) {
	kind, i, err := quicvarint.Parse(b)
	if err != nil {
		return 0, 0, 0
	}
	length, j, err := quicvarint.Parse(b[i:])
	if err != nil {
		return 0, 0, 0
	}
	return kind, length, i + j
}

// appendHead appends type and length of a frame.
func appendHead(b []byte, kind, length uint64) []byte {
	return quicvarint.Append(quicvarint.Append(b, kind), length)
}

// onRequestStream says of frames other than DATA and HEADERS whether they may stand on a
// stream of a request: those that nobody knows may (RFC 9114 §9).
func onRequestStream(kind uint64) error {
	switch kind {
	case frameCancelPush, frameSettings, framePushPromise, frameGoAway, frameMaxPushID, priorityOfRequest, priorityOfPush, 0x2, 0x6, 0x8, 0x9:
		return connError{codeFrameUnexpected, "a frame that may not stand on the stream of a request"}
	}
	return nil
}
