package limits

// Reason is why something of a client was cut off or refused: a closed set, the label
// of freshet_edge_limited_total.
type Reason uint8

// The reasons. None is not counted.
const (
	None             Reason = iota
	ConnsTotal              // more connections than Config.Conns
	ConnsPerAddr            // more connections of one address than Config.ConnsPerAddr
	ProxyHead               // no good head of the PROXY protocol where one is required, or none in time
	HandshakeTimeout        // no TLS handshake in time
	HeaderBytes             // a head larger than allowed, CONTINUATION frames included
	HeaderFields            // a head with more fields than allowed
	HeadTimeout             // a head that did not come to its end in time
	BodyBytes               // a body larger than allowed
	BodyTimeout             // a body that stalled
	WriteTimeout            // an answer that the client did not take
	ConnTimeout             // a connection older than allowed
	Streams                 // a stream beyond those allowed at once
	Resets                  // more streams reset than allowed
	Controls                // more control frames than allowed
	reasons
)

var names = [reasons]string{
	"none", "conns", "conns_per_addr", "proxy_head", "handshake_timeout", "header_bytes", "header_fields", "head_timeout",
	"body_bytes", "body_timeout", "write_timeout", "conn_timeout", "streams", "resets", "controls",
}

// String is the reason as a label of metrics.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return names[r]
}

// Reasons are all but None.
func Reasons() []Reason {
	all := make([]Reason, 0, reasons-1)
	for r := None + 1; r < reasons; r++ {
		all = append(all, r)
	}
	return all
}
