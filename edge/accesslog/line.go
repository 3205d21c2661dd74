package accesslog

import (
	"net/netip"
	"strconv"
	"time"
)

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
	client netip.Addr // that name is of
	name   []byte
}

// Line is the entry as a line of JSON. It is valid until the next call.
func (e *Encoder) Line(x *Entry) []byte {
	b := append(e.line[:0], `{"time":"`...)
	b = e.appendTime(b, x.Time)
	b = append(b, `","client":"`...)
	if x.Client != e.client { // clients ask more than once
		e.client, e.name = x.Client, x.Client.WithZone("").AppendTo(e.name[:0])
	}
	b = append(append(b, e.name...), '"')
	b = appendText(b, `,"site":"`, x.Site)
	b = appendText(b, `,"method":"`, x.Method)
	b = appendText(b, `,"scheme":"`, x.Scheme)
	b = appendText(b, `,"host":"`, x.Host)
	b = appendText(b, `,"port":"`, x.Port)
	b = appendText(b, `,"target":"`, x.Target)
	b = appendText(b, `,"proto":"`, x.Proto)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(x.Status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), x.Bytes, 10)
	b = appendSeconds(append(b, `,"dur":`...), x.Duration)
	if x.Aborted {
		b = append(b, `,"aborted":true`...)
	}
	if x.Cache != "" {
		b = appendText(b, `,"cache":"`, x.Cache)
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
	b = appendText(b, `,"detail":"`, x.Detail)
	b = appendText(b, `,"referer":"`, x.Referer)
	b = appendText(b, `,"agent":"`, x.Agent)
	b = appendText(b, `,"request_id":"`, x.ID)
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
	b = strconv.AppendInt(b, us/1e6, 10)
	rest := uint32(us % 1e6)
	high, low := rest/1000, rest%1000
	return append(b, '.', byte('0'+high/100), byte('0'+high/10%10), byte('0'+high%10), byte('0'+low/100), byte('0'+low/10%10), byte('0'+low%10))
}
