package accesslog

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxText is how much of one text of a request is logged, in bytes: whole characters up
// to there.
const maxText = 4 << 10

// Entry is what is said of one request. Texts that are empty are left out.
type Entry struct {
	Time     time.Time // when the request began
	Duration time.Duration
	Client   netip.Addr
	Site     string
	Method   string
	Scheme   string
	Host     string
	Port     string // as the client gave it
	Target   string
	Proto    string
	Status   int
	Bytes    int64 // of the body, that were sent
	Aborted  bool  // the transfer broke off

	Cache     string        // hit, or why the request went forward (RFC 9211 §2.2)
	TTL       time.Duration // of a hit
	FwdStatus int           // of what came back; 0 for none
	Stored    bool
	Collapsed bool
	Detail    string

	Referer, Agent, ID string
}

// Encoder makes lines. It is for one goroutine; the zero value is ready.
type Encoder struct {
	line   []byte
	second int64 // that stamp is of
	stamp  [20]byte
}

// Line is the entry as a line of JSON. It is valid until the next call.
func (e *Encoder) Line(x *Entry) []byte {
	b := append(e.line[:0], `{"time":"`...)
	b = e.appendTime(b, x.Time)
	b = append(b, `","client":"`...)
	if x.Client.IsValid() {
		b = x.Client.WithZone("").AppendTo(b)
	}
	b = append(b, '"')
	b = appendText(b, `,"site":`, x.Site)
	b = appendText(b, `,"method":`, x.Method)
	b = appendText(b, `,"scheme":`, x.Scheme)
	b = appendText(b, `,"host":`, x.Host)
	b = appendText(b, `,"port":`, x.Port)
	b = appendText(b, `,"target":`, x.Target)
	b = appendText(b, `,"proto":`, x.Proto)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(x.Status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), x.Bytes, 10)
	b = appendSeconds(append(b, `,"dur":`...), x.Duration)
	if x.Aborted {
		b = append(b, `,"aborted":true`...)
	}
	if x.Cache != "" {
		b = appendText(b, `,"cache":`, x.Cache)
		if x.Cache == "hit" {
			b = strconv.AppendInt(append(b, `,"ttl":`...), int64(x.TTL/time.Second), 10)
		}
	}
	if x.FwdStatus != 0 {
		b = strconv.AppendInt(append(b, `,"fwd_status":`...), int64(x.FwdStatus), 10)
	}
	if x.Stored {
		b = append(b, `,"stored":true`...)
	}
	if x.Collapsed {
		b = append(b, `,"collapsed":true`...)
	}
	b = appendText(b, `,"detail":`, x.Detail)
	b = appendText(b, `,"referer":`, x.Referer)
	b = appendText(b, `,"agent":`, x.Agent)
	b = appendText(b, `,"request_id":`, x.ID)
	e.line = append(b, "}\n"...)
	return e.line
}

// appendTime appends a time in UTC with its milliseconds, RFC 3339.
func (e *Encoder) appendTime(b []byte, t time.Time) []byte {
	if second := t.Unix(); second != e.second || e.stamp[0] == 0 {
		e.second = second
		t.UTC().AppendFormat(e.stamp[:0], "2006-01-02T15:04:05.")
	}
	ms := t.Nanosecond() / 1e6
	b = append(b, e.stamp[:]...)
	return append(b, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// appendSeconds appends a duration in seconds, to the microsecond.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(d, 0).Microseconds()
	b = append(strconv.AppendInt(b, us/1e6, 10), '.')
	for unit := int64(1e5); unit > 0; unit /= 10 {
		b = append(b, byte('0'+us/unit%10))
	}
	return b
}

// appendText appends a member of the object, unless its text is empty.
func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return appendString(append(b, name...), cut(text))
}

// cut shortens a text to maxText.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// plain are the bytes that stand in a JSON string as they are.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != 0x7f
	}
	return
}()

// appendString appends a JSON string (RFC 8259 §7). Bytes that are not UTF-8 become
// U+FFFD; what ends a line, or is a control, is escaped, also outside ASCII.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == '\u2028' || r == '\u2029' || r < 0xa0 {
				b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			} else {
				b = utf8.AppendRune(b, r)
			}
			i += n
		}
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
